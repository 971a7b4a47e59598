"""A models folder has to hold certain files, and is read in a certain way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from voidbridge_backend.engines.void import make
from voidbridge_backend.engines.void.files import networks, weights
from voidbridge_backend.engines.void.files.weights import BASE, PASSES, PATCH
from voidbridge_backend.engines.void.tiny import make_tiny
from voidbridge_protocol.errors import ModelMissing


@pytest.fixture
def models(tiny: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(tiny, tmp_path / "models"))


def base_file(models: Path) -> Path:
    return models / BASE / "transformer" / "diffusion_pytorch_model.safetensors"


def test_a_complete_folder_lacks_nothing(tiny: Path) -> None:
    assert weights.missing(tiny) == []


def test_an_empty_folder_lacks_all_that_is_needed(tmp_path: Path) -> None:
    lacking = weights.missing(tmp_path)
    assert f"{BASE}/tokenizer/spiece.model" in lacking
    assert f"{BASE}/vae/diffusion_pytorch_model.safetensors" in lacking
    assert set(PASSES.values()) <= set(lacking)
    assert PASSES[2] not in weights.missing(tmp_path, passes=1)


def test_the_error_names_every_file_that_is_not_there(models: Path) -> None:
    (models / PASSES[1]).unlink()
    (models / BASE / "vae" / "config.json").unlink()
    with pytest.raises(ModelMissing, match=r"vae/config\.json.*void_pass1\.safetensors"):
        make("cpu", models)
    with pytest.raises(ModelMissing, match="no models folder"):
        make("cpu", None)


def test_a_pickle_is_refused_and_named(models: Path) -> None:
    (models / PASSES[1]).rename(models / "void_pass1.pt")
    with pytest.raises(ModelMissing, match=r"void_pass1\.pt.*not opened"):
        weights.require(models, 1)


def test_the_base_transformer_is_not_read_beside_a_whole_checkpoint(models: Path) -> None:
    base_file(models).unlink()
    assert weights.missing(models) == []
    state = networks.denoiser(models, 1, torch.float32).network.state_dict()
    expected = load_file(models / PASSES[1])
    assert all(torch.equal(tensor, expected[name].float()) for name, tensor in state.items())


def test_without_a_checkpoint_the_base_is_widened(models: Path) -> None:
    state = networks.denoiser(models, None, torch.float32).network.state_dict()
    base = load_file(base_file(models))
    assert torch.equal(state[PATCH], weights.adapted(base[PATCH].float()))
    assert all(torch.equal(state[name], base[name].float()) for name in base if name != PATCH)


def test_a_checkpoint_of_33_channels_lies_on_the_widened_base(models: Path) -> None:
    checkpoint = {name: tensor + 1 for name, tensor in load_file(base_file(models)).items()}
    save_file(checkpoint, models / PASSES[1])
    state = networks.denoiser(models, 1, torch.float32).network.state_dict()
    base = load_file(base_file(models))[PATCH].float()
    assert torch.equal(state[PATCH], weights.narrow_over(checkpoint[PATCH].float(), base))
    assert torch.equal(state[PATCH][:, 128:256], weights.adapted(base)[:, 128:256])
    assert torch.equal(state["proj_out.weight"], checkpoint["proj_out.weight"].float())


def damaged(tensors: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    name = "decoder.conv_in.conv.weight"
    if how == "missing":
        return {key: tensor for key, tensor in tensors.items() if key != name}
    if how == "foreign":
        return tensors | {"something.else": torch.zeros(2)}
    return tensors | {name: tensors[name][:1].contiguous()}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("missing", r"1 tensors are missing, decoder\.conv_in\.conv\.weight"),
        ("foreign", r"1 tensors belong to another network, something\.else"),
        ("shape", r"decoder\.conv_in\.conv\.weight is \[1, .*\] instead of"),
    ],
)
def test_tensors_that_do_not_fit_are_named(models: Path, how: str, said: str) -> None:
    path = models / BASE / "vae" / "diffusion_pytorch_model.safetensors"
    save_file(damaged(load_file(path), how), path)
    with pytest.raises(ModelMissing, match=said):
        networks.vae(models, torch.float32)


def test_all_that_is_wrong_is_said_without_reading_weights(models: Path) -> None:
    assert networks.problems(models) == []
    path = models / BASE / "vae" / "diffusion_pytorch_model.safetensors"
    save_file(damaged(load_file(path), "shape"), path)
    (models / PASSES[2]).write_bytes(b"no model")
    said = networks.problems(models)
    assert [line.split(":")[0] for line in said] == [f"{BASE}/vae", PASSES[2]]
    (models / PASSES[1]).unlink()
    assert networks.problems(models) == [f"{PASSES[1]} is missing"]


def test_a_file_of_whole_numbers_is_no_model(models: Path) -> None:
    path = models / PASSES[1]
    save_file({name: tensor.to(torch.int8) for name, tensor in load_file(path).items()}, path)
    with pytest.raises(ModelMissing, match="I8"):
        networks.denoiser(models, 1, torch.float32)


@pytest.mark.parametrize("kept", [0, 5, 1000])
def test_a_file_that_was_cut_short_is_an_error(models: Path, kept: int) -> None:
    path = models / PASSES[1]
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelMissing, match=r"void_pass1\.safetensors"):
        networks.denoiser(models, 1, torch.float32)


def in_shards(path: Path) -> tuple[Path, Path]:
    """Split a file of tensors into two with an index, as the published text encoder is."""
    tensors = load_file(path)
    names = sorted(tensors)
    parts = (names[::2], names[1::2])
    files = tuple(path.with_name(f"{path.stem}-0000{n}-of-00002.safetensors") for n in (1, 2))
    for file, part in zip(files, parts, strict=True):
        save_file({name: tensors[name] for name in part}, file)
    index = {name: file.name for file, part in zip(files, parts, strict=True) for name in part}
    path.with_name(f"{path.name}.index.json").write_text(json.dumps({"weight_map": index}))
    path.unlink()
    return files[0], files[1]


def test_shards_are_read_as_one(models: Path) -> None:
    whole = networks.text_encoder(models, torch.float32).state_dict()
    in_shards(models / BASE / "text_encoder" / "model.safetensors")
    shards = networks.text_encoder(models, torch.float32).state_dict()
    assert weights.missing(models) == []
    assert all(torch.equal(tensor, shards[name]) for name, tensor in whole.items())


def test_a_missing_shard_is_named(models: Path) -> None:
    _, second = in_shards(models / BASE / "text_encoder" / "model.safetensors")
    second.unlink()
    with pytest.raises(ModelMissing, match=second.name):
        networks.text_encoder(models, torch.float32)
    assert any(second.name in name for name in weights.missing(models))


def test_an_index_cannot_point_out_of_its_folder(models: Path) -> None:
    folder = models / BASE / "text_encoder"
    (folder / "model.safetensors").rename(models / "model.safetensors")
    index = {"weight_map": {"shared.weight": "../../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelMissing, match="missing shards"):
        weights.find(folder, "model")


def test_networks_are_made_without_drawing_weights(tiny: Path) -> None:
    before = torch.random.get_rng_state()
    networks.denoiser(tiny, 1, torch.float32)
    networks.vae(tiny, torch.float32)
    networks.text_encoder(tiny, torch.float32)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_fingerprint_tells_files_apart_and_reads_samples_of_large_ones(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(bytes(1000))
    two.write_bytes(bytes(999) + b"x")
    assert weights.fingerprint(one) != weights.fingerprint(two)
    assert weights.fingerprint(one, samples=4, sample=10) != weights.fingerprint(
        two, samples=4, sample=10
    )
    two.write_bytes(bytes(500) + b"x" + bytes(499))
    assert weights.fingerprint(one, samples=4, sample=10) == weights.fingerprint(
        two, samples=4, sample=10
    )


def test_a_tiny_model_is_the_same_for_the_same_seed(tiny: Path, tmp_path: Path) -> None:
    again, other = make_tiny(tmp_path / "again"), make_tiny(tmp_path / "other", seed=1)
    files = sorted(
        path.relative_to(tiny)
        for path in tiny.rglob("*")
        if path.is_file() and path.suffix != ".tmp"
    )
    for file in files:
        if file.parts[0] != "prompts":
            assert (tiny / file).read_bytes() == (again / file).read_bytes(), file
    assert (other / PASSES[1]).read_bytes() != (again / PASSES[1]).read_bytes()
