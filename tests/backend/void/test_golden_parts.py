"""Parts of the model against stored outputs of the published code: tables, masks, the autoencoder, weights."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import interpolate

from voidbridge_backend.engines.void.files import networks, weights
from voidbridge_backend.engines.void.model.denoiser import Conditions, Text
from voidbridge_backend.engines.void.model.vae import decode_chunks, encode_chunks
from voidbridge_backend.engines.void.passes import pipeline, sampling
from voidbridge_backend.engines.void.passes.conditioning import mask_levels
from voidbridge_backend.engines.void.passes.timeline import latents_of, mirrored, padded, windows

ATOL = 5e-5
LOADED = {1.0: 0.0, 0.752941: 0.0, 0.501961: 0.50196075, 0.0: 1.0}
"""Levels of the published loader, and the values that its pipeline then gives the autoencoder."""


def stored(folder: Path) -> dict[str, Tensor]:
    return {
        name: tensor
        for path in folder.glob("*.safetensors")
        for name, tensor in load_file(path).items()
    }


def about(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "README.json").read_text())
    return found


def kind(folder: Path) -> str:
    """Which test a stored case belongs to, by what it holds."""
    names = set(stored(folder))
    script = str(about(folder).get("script", ""))
    if "init/latents" in names and script:
        return "pass"
    if "cond/mask_latents" in names and about(folder).get("error"):
        return "longer than a window"
    if any(name.startswith("T") and name.endswith("/moments") for name in names):
        return "autoencoder"
    if any(name.startswith(("padding/", "sched/")) for name in names):
        return "tables"
    if any(name.startswith("base33/") for name in names):
        return "adaptation"
    if {"area", "mask_float"} <= names:
        return "mask"
    return "unknown"


def folders(golden: Path) -> list[Path]:
    return sorted(path.parent for path in (golden / "void").glob("*/README.json"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("parametrize")
    if "folder" not in metafunc.fixturenames or marker is not None:
        return
    golden = Path(metafunc.config.getoption("--golden")).resolve()
    wanted = KIND_OF_TEST[metafunc.function.__name__]
    cases: list[Path | None] = [path for path in folders(golden) if kind(path) == wanted]
    metafunc.parametrize(
        "folder", cases or [None], ids=lambda case: case.name if case else "none-found"
    )


@pytest.fixture(autouse=True)
def _found(golden: Path, request: pytest.FixtureRequest) -> None:
    if "folder" in request.fixturenames and request.getfixturevalue("folder") is None:
        pytest.skip(f"no such case in {golden / 'void'}")


KIND_OF_TEST = {
    "test_the_autoencoder_codes_as_published": "autoencoder",
    "test_tables_are_the_published_ones": "tables",
    "test_the_patch_embedding_is_widened_as_published": "adaptation",
    "test_averaged_masks_fall_into_the_published_levels": "mask",
    "test_a_second_pass_longer_than_its_window_is_done_in_windows": "longer than a window",
}


def test_every_stored_case_has_a_test(golden: Path) -> None:
    unknown = [folder.name for folder in folders(golden) if kind(folder) == "unknown"]
    assert not unknown


def chunk_of(pixels: Tensor, span: slice) -> Tensor:
    return pixels[:, :, span]


def test_the_autoencoder_codes_as_published(folder: Path) -> None:
    tensors = stored(folder)
    vae = networks.vae(folder.parent / "model", torch.float32)
    for length in sorted({name.split("/")[0] for name in tensors}):
        pixels, latents = tensors[f"{length}/x"], tensors[f"{length}/z"]
        read = partial(chunk_of, pixels)
        encoded = torch.cat(list(vae.encode(read, pixels.shape[2])), dim=2)
        decoded = torch.cat(list(vae.decode(latents * vae.scale)), dim=2)
        expected = tensors[f"{length}/moments"][:, : vae.channels] * vae.scale
        assert (encoded - expected).abs().max() <= ATOL
        assert (decoded - tensors[f"{length}/y"]).abs().max() <= ATOL
    for length, chunks in about(folder).get("chunks", {}).items():
        assert [span.stop - span.start for span in encode_chunks(int(length))] == chunks[
            "encode_chunks"
        ]
        frames = latents_of(int(length))
        assert [span.stop - span.start for span in decode_chunks(frames)] == chunks["decode_chunks"]


def test_tables_are_the_published_ones(folder: Path) -> None:
    tensors, said = stored(folder), about(folder)
    codes = torch.arange(256)
    assert torch.equal(mask_levels(codes, "tri"), tensors["mask/vae_input_pass1"])
    assert torch.equal(mask_levels(codes, "reference"), tensors["mask/vae_input_pass2"])

    for name, lengths in tensors.items():
        if name.startswith("padding/") and name.endswith("lengths_for_n_1_to_210"):
            least, most = (int(part[3:]) for part in name.split("/")[1].split("_"))
            for count, length in enumerate(lengths.tolist(), start=1):
                if padded(count, least) <= most and count <= most:
                    assert padded(count, least) == length
                    source = tensors.get(f"padding/min{least}_max{most}/source_index")
                    if source is not None:
                        assert mirrored(count, length) == source[count - 1, :length].tolist()

    config = networks.scheduler_config(folder.parent / "model")
    for name, values in tensors.items():
        if name.startswith("sched/"):
            ours = sampling.scheduler("ddim" if "Origin" in name else "cogvideox-ddim", config)
            if name.endswith("alphas_cumprod"):
                assert ours.alphas_cumprod.dtype == values.dtype
                assert (ours.alphas_cumprod - values).abs().max() < 1e-6
            else:
                assert sampling.timesteps(ours, len(values)) == values.tolist()

    for latents, runs in said["windows_for_latent_frames_85_window"].items():
        assert [[run.start, run.stop] for run in windows(int(latents)).runs] == runs


def test_the_patch_embedding_is_widened_as_published(folder: Path) -> None:
    tensors = {name.split("/")[0]: tensor.float() for name, tensor in stored(folder).items()}
    assert torch.equal(weights.adapted(tensors["base33"]), tensors["vae_mask48"])
    assert torch.equal(
        weights.narrow_over(tensors["ckpt33"], tensors["base33"]), tensors["ckpt33_on_48"]
    )


def test_averaged_masks_fall_into_the_published_levels(folder: Path) -> None:
    tensors = stored(folder)
    masks, loaded = tensors["input/quadmask_u8"].float()[None], tensors["mask_float"]
    averaged = interpolate(masks, size=tuple(loaded.shape[-2:]), mode="area")
    assert (averaged - tensors["area"]).abs().max() <= ATOL
    ours = mask_levels(averaged)[None]
    for level, expected in LOADED.items():
        here = (loaded - level).abs() < 1e-5
        assert here.any()
        assert (ours[here] - expected).abs().max() < 1e-6


def test_a_second_pass_longer_than_its_window_is_done_in_windows(folder: Path) -> None:
    """The published script fails on this clip. Here it is done, each window as it would be on its own."""
    tensors, settings = stored(folder), about(folder)["settings"]
    models = folder.parent / "model"
    conditions = Conditions(
        *(
            tensors[f"cond/{name}_latents"].permute(0, 2, 1, 3, 4)
            for name in ("mask", "masked_video")
        )
    )
    method = pipeline.Method(
        "cogvideox-ddim",
        steps=1,
        guidance=settings["guidance_scale"],
        window=settings["temporal_window_size"],
    )
    denoiser, config = (
        networks.denoiser(models, 2, torch.float32),
        networks.scheduler_config(models),
    )
    text = Text(*torch.randn((2, 1, 226, 32), generator=torch.Generator().manual_seed(0)))
    noise = sampling.noise(7, conditions.latents, *conditions.plate.shape[3:])

    found = pipeline.denoised(denoiser, config, conditions, noise, text, method, lambda *_: None)

    total, weight = torch.zeros_like(noise), torch.zeros(conditions.latents)
    runs = windows(conditions.latents, method.window).runs
    assert len(runs) > 1
    for run in runs:
        part = Conditions(conditions.mask[:, run], conditions.plate[:, run])
        alone = pipeline.denoised(
            denoiser, config, part, noise[:, run], text, method, lambda *_: None
        )
        ramp = torch.ones(part.latents)
        if run.start:
            ramp[:4] = torch.tensor([0.2, 0.4, 0.6, 0.8])
        if run.stop < conditions.latents:
            ramp[-4:] = torch.tensor([0.8, 0.6, 0.4, 0.2])
        total[:, run] += alone * ramp[:, None, None, None]
        weight[run] += ramp
    assert (found - total / weight[:, None, None, None]).abs().max() <= ATOL

    vae = networks.vae(models, torch.float32)
    frames = pipeline.decoded(vae, found, settings["frames_in"], None, lambda *_: None)
    assert torch.cat(list(frames), dim=2).shape == (
        1,
        3,
        settings["frames_in"],
        *settings["size_hw"],
    )


def test_networks_of_the_real_configurations_have_the_real_shapes(golden: Path) -> None:
    configs, listed = golden / "void" / "real_configs", golden / "void" / "real_shapes.json"
    if not configs.is_dir() or not listed.is_file():
        pytest.skip(f"no real configurations in {golden / 'void'}")
    real = json.loads(listed.read_text())
    ours = networks.shapes(configs)
    names = {"transformer": "void_pass1_pass2_48ch", "vae": "vae", "text_encoder": "text_encoder"}
    for part, name in names.items():
        count = real["counts"][name]
        assert len(ours[part]) == count["tensors"]
        assert sum(math.prod(shape) for shape in ours[part].values()) == count["params"]
        for tensor, shape in real["shapes"].get(name, {}).items():
            assert list(ours[part][tensor]) == shape
    config = sampling.scheduler(
        "ddim", json.loads((configs / "scheduler" / "scheduler_config.json").read_text())
    )
    assert float(config.alphas_cumprod[-1]) == 0
