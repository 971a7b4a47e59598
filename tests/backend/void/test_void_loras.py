"""The engine `void` with LoRAs, on the tiny model."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lora_parts import layers_of, random_pairs, write
from torch import nn

from voidbridge_backend.engines.base import LoraChoice, Pixels
from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.model import adapters, lora_file
from voidbridge_backend.engines.void.model.denoiser import Text
from voidbridge_backend.engines.void.model.kernels import Linears
from voidbridge_backend.engines.void.model.lora_file import LoraRecord
from voidbridge_backend.engines.void.model.streaming import HostLanes, StreamedBlocks
from voidbridge_backend.engines.void.options import Options
from voidbridge_protocol.errors import BadLora
from voidbridge_protocol.operations.remove import RemoveSettings

SMALL = Options(height=32, width=48, window=21, steps=2, fineness=2)
SETTINGS = RemoveSettings(engine="void", prompt="a table")


@pytest.fixture(scope="module")
def show(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA with a record."""
    base = networks.fingerprints(tiny)["pass 1"]
    record = LoraRecord(show="harbour", base=base, passes=1, rank=4)
    folder = tmp_path_factory.mktemp("loras")
    return write(folder / "show.safetensors", random_pairs(layers_of(tiny)), record)


@pytest.fixture(scope="module")
def fog(tiny: Path, show: Path) -> Path:
    """A LoRA of another tool: another rank, no record."""
    pairs = random_pairs(layers_of(tiny), rank=2, seed=2)
    return write(show.with_name("fog.safetensors"), pairs, spelling="kohya")


def removed(
    engine: Void, clip: Any, said: Any, choices: Sequence[LoraChoice], passes: int = 1
) -> dict[int, Pixels]:
    settings = RemoveSettings(engine="void", prompt="a table", passes=passes)
    engine.use_loras(choices, settings, said)
    return dict(engine.remove(clip, settings, said))


def differ(one: dict[int, Pixels], other: dict[int, Pixels]) -> float:
    return max(float(np.abs(one[frame] - other[frame]).max()) for frame in one)


def chosen(path: Path, strength: float) -> LoraChoice:
    return LoraChoice(path.stem, strength, path)


def test_strength_0_is_the_base_to_the_bit_and_another_strength_loads_nothing(
    tiny: Path, show: Path, small_clip: type, said: Any
) -> None:
    engine, clip = Void(tiny, "cpu", SMALL), small_clip(5)
    base = removed(engine, clip, said, [])
    half = removed(engine, clip, said, [chosen(show, 0.55)])
    network = engine.denoiser(1).network
    none = removed(engine, clip, said, [chosen(show, 0)])
    again = removed(engine, clip, said, [chosen(show, 0.55)])
    assert engine.denoiser(1).network is network
    assert differ(base, none) == 0
    assert differ(half, again) == 0
    assert differ(base, half) > 0.01
    assert differ(base, removed(engine, clip, said, [])) == 0
    assert engine.denoiser(1).network is not network


def test_two_loras_beside_the_weights_equal_both_merged_into_them(
    tiny: Path, show: Path, fog: Path, small_clip: type, said: Any
) -> None:
    engine, clip = Void(tiny, "cpu", SMALL), small_clip(5)
    beside = removed(engine, clip, said, [chosen(show, 0.55), chosen(fog, -0.3)])
    engine.use_loras([], SETTINGS, said)
    network = engine.denoiser(1).network
    layers = adapters.layers(network)
    one, other = (lora_file.read(path, layers).pairs for path in (show, fog))
    for name, pair in one.items():
        linear = network.get_submodule(name)
        both = adapters.merged(linear.weight, [(pair, 0.55), (other[name], -0.3)])
        linear.weight = nn.Parameter(both, requires_grad=False)
    merged = dict(engine.remove(clip, SETTINGS, said))
    # Float32 rounds the two sums differently. Measured 2026-11-29: 2.3e-6.
    assert differ(beside, merged) < 1e-5


def test_the_record_of_a_result_names_each_lora_with_hash_and_strength(
    tiny: Path, show: Path, fog: Path, said: Any
) -> None:
    engine = Void(tiny, "cpu", SMALL)
    assert "loras" not in engine.describe()
    engine.use_loras([chosen(show, 0.5), chosen(fog, 1)], SETTINGS, said)
    first, second = engine.describe()["loras"]
    assert (first["show"], first["strength"], first["passes"]) == ("harbour", 0.5, 1)
    assert first["sha256"] == lora_file.read(show, layers_of(tiny)).sha256
    assert (second["show"], second["strength"]) == ("", 1)
    assert any("fog does not name its base model" in warning for warning in said.warnings)


def test_a_lora_of_one_pass_leaves_the_other_pass_alone(
    tiny: Path, show: Path, small_clip: type, said: Any
) -> None:
    engine = Void(tiny, "cpu", SMALL)
    removed(engine, small_clip(5), said, [chosen(show, 1)], passes=2)
    names = [
        any("lora_A" in name for name, _ in engine.denoiser(number).network.named_parameters())
        for number in (1, 2)
    ]
    assert names == [True, False]


def test_loras_of_other_weights_or_another_pass_or_given_twice_are_refused(
    tiny: Path, show: Path, said: Any
) -> None:
    engine = Void(tiny, "cpu", SMALL)
    pairs = random_pairs(layers_of(tiny))
    wrong = write(show.with_name("wrong.safetensors"), pairs, LoraRecord(base="0" * 64, passes=1))
    second = write(show.with_name("second.safetensors"), pairs, LoraRecord(base="0" * 64, passes=2))
    for choices, words in [
        ([chosen(wrong, 1)], "trained on the weights 000000000000"),
        ([chosen(second, 1)], "belongs to pass 2"),
        ([chosen(show, 1), chosen(show, 0.5)], "given twice"),
        ([LoraChoice("nobody", 1.0)], "no LoRA 'nobody'; it has none"),
        ([LoraChoice("../show", 1.0)], "no LoRA '../show'"),
    ]:
        with pytest.raises(BadLora, match=words):
            engine.use_loras(choices, SETTINGS, said)


def test_a_name_means_a_file_in_the_models_folder(
    tiny: Path, show: Path, tmp_path: Path, said: Any
) -> None:
    models = tmp_path / "models"
    shutil.copytree(tiny, models)
    (models / "loras").mkdir()
    shutil.copy(show, models / "loras" / "harbour.safetensors")
    engine = Void(models, "cpu", SMALL)
    engine.use_loras([LoraChoice("harbour", 0.55)], SETTINGS, said)
    assert engine.describe()["loras"][0]["name"] == "harbour"


def test_8_bit_layers_keep_a_lora_beside_them(tiny: Path, show: Path, said: Any) -> None:
    """A change in strength acts as much as in full precision, although 8 bits move the picture."""
    moved = {}
    for linears in ("full", "fp8"):
        options = Options(height=32, width=48, window=21, steps=2, linears=linears)
        engine = Void(tiny, "cpu", options)
        answers = []
        for strength in (0.0, 0.55):
            engine.use_loras([chosen(show, strength)], SETTINGS, said)
            answers.append(answer(engine))
        moved[linears] = answers[1] - answers[0]
    error = (moved["fp8"] - moved["full"]).norm() / moved["full"].norm()
    # Measured 2026-11-29: 0.08. A LoRA merged into 8 bits would lose much more.
    assert error < 0.15


def answer(engine: Void) -> torch.Tensor:
    denoiser = engine.denoiser(1)
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        found: torch.Tensor = denoiser.network(
            hidden_states=torch.randn(1, 2, 48, 4, 6, generator=draw),
            encoder_hidden_states=torch.randn(1, 226, 16, generator=draw),
            timestep=torch.tensor([500]),
            image_rotary_emb=denoiser.positions(2, 4, 6),
            return_dict=False,
        )[0]
    return found


def test_streamed_blocks_bring_a_lora_with_them_to_the_bit(
    tiny: Path, show: Path, said: Any
) -> None:
    engine = Void(tiny, "cpu", SMALL)
    engine.use_loras([chosen(show, 0.55)], SETTINGS, said)
    resident = answer(engine)
    blocks = StreamedBlocks(engine.denoiser(1).network, pinned=False)
    with blocks.streaming(torch.device("cpu"), HostLanes()):
        streamed = answer(engine)
        engine.use_loras([chosen(show, 0)], SETTINGS, said)
        without = answer(engine)
    assert torch.equal(resident, streamed)
    engine.use_loras([], SETTINGS, said)
    assert torch.equal(without, answer(engine))


@pytest.mark.filterwarnings("default::DeprecationWarning")  # torch's compiler has some.
@pytest.mark.parametrize("linears", ["full", "fp8"])
def test_compiled_blocks_follow_every_strength_to_the_bit_and_compile_for_the_second_one_only(
    tiny: Path, show: Path, fog: Path, said: Any, full: bool, linears: Linears
) -> None:
    """A backend that runs each traced graph as it is counts how often torch's compiler calls it."""
    if linears == "full" and not full:
        pytest.skip("seconds of tracing, and less happens than in 8 bits: --full")
    engine = Void(tiny, "cpu", Options(height=32, width=48, window=21, steps=2, linears=linears))
    traced = []

    def counting(graph: Any, inputs: Any) -> Any:
        traced.append(graph)
        return graph.forward

    def velocity(strength: float) -> torch.Tensor:
        engine.use_loras([chosen(show, strength), chosen(fog, -strength)], SETTINGS, said)
        denoiser = engine.denoiser(1)
        draw = torch.Generator().manual_seed(5)
        latents, known = (torch.randn(1, 2, n, 4, 6, generator=draw) for n in (16, 32))
        text = Text(torch.randn(1, 226, 16, generator=draw))
        return denoiser.velocity(latents, known, text, 500, 1.0)

    plain = [velocity(strength) for strength in (0.55, 0.3, 0.0, 0.7, 0.3)]
    network = engine.denoiser(1).network
    torch.compiler.reset()
    engine.denoiser(1).compiled.begin(said, backend=counting)
    after = [velocity(0.55), velocity(0.3)]
    # The second strength tells the compiler that this number changes. It compiles once more, and then never.
    compiled = len(traced)
    after += [velocity(0.0), velocity(0.7), velocity(0.3)]
    assert compiled > 0
    assert len(traced) == compiled
    assert engine.denoiser(1).compiled.is_on
    assert engine.denoiser(1).network is network
    assert all(torch.equal(a, b) for a, b in zip(after, plain, strict=True))
    torch.compiler.reset()
