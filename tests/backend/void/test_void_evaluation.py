"""The engine `void` evaluates a LoRA on held-out pairs, on the tiny model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from lora_parts import layers_of, random_pairs, write
from training_parts import show_pair

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.model.lora_file import LoraRecord
from voidbridge_backend.engines.void.options import Options
from voidbridge_backend.engines.void_evaluation.engine import VoidEvaluator
from voidbridge_backend.engines.void_lora.pairs import PairRecord, pair_bytes, read_pair
from voidbridge_backend.render import evaluate
from voidbridge_backend.render.job import RenderJob
from voidbridge_backend.tools.dataset.clips import MemoryClip
from voidbridge_backend.tools.dataset.encode import PairEncoder
from voidbridge_protocol.errors import BadLora, BadPair, EngineFailed
from voidbridge_protocol.operations.evaluate import EvaluateSettings
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.messages import FrameFile, Request

SMALL = Options(height=32, width=48, window=21, steps=2, fineness=2)
FRAMES = 21
SETTINGS = EvaluateSettings(show="harbour", strengths="0,0.5,1", seed=3)


@pytest.fixture(scope="module")
def evaluator(tiny: Path) -> VoidEvaluator:
    return VoidEvaluator(Void(tiny, "cpu", SMALL))


@pytest.fixture(scope="module")
def lora(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    record = LoraRecord("harbour", networks.fingerprints(tiny)["pass 1"], passes=1, rank=4)
    path = tmp_path_factory.mktemp("loras") / "harbour.safetensors"
    return write(path, random_pairs(layers_of(tiny)), record)


@pytest.fixture(scope="module")
def pair(tiny: Path, small_clip: type, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair that was encoded from pictures."""
    encoder = PairEncoder(tiny, "cpu", 1)
    encoder.options = SMALL
    clip = small_clip(FRAMES)
    shown = MemoryClip(
        [clip.plate(frame) for frame in clip.frames],
        [clip.quadmask(frame) for frame in clip.frames],
    )
    record = PairRecord("A010", "pasted", prompt="a table", rights="ours", consent="given")
    made = encoder.encoded(shown, [picture * 0.5 for picture in shown.pictures], record, seed=3)
    path = tmp_path_factory.mktemp("pairs") / "held.safetensors"
    path.write_bytes(pair_bytes(made))
    return path


def removals(
    evaluator: VoidEvaluator, pair: Path, lora: Path, settings: EvaluateSettings, said: Any
) -> dict[float | None, list[Pixels]]:
    found = evaluator.removals([pair], lora, settings, said)
    return {removal.strength: list(removal.frames) for removal in found}


def test_a_pair_gives_the_very_frames_of_a_removal_of_its_clip(
    evaluator: VoidEvaluator, tiny: Path, pair: Path, lora: Path, small_clip: type, said: Any
) -> None:
    found = removals(evaluator, pair, lora, replace(SETTINGS, strengths="0.5"), said)
    settings = RemoveSettings(engine="void", prompt="a table", seed=3)
    removed = dict(Void(tiny, "cpu", SMALL).remove(small_clip(FRAMES), settings, said))
    assert len(found[None]) == FRAMES
    assert all(np.array_equal(removed[1001 + n], found[None][n]) for n in range(FRAMES))
    assert not np.array_equal(found[0.5][10], found[None][10])


def test_strength_0_equals_the_base_to_the_bit_and_no_strength_loads_a_network(
    evaluator: VoidEvaluator, pair: Path, lora: Path, said: Any
) -> None:
    frames: dict[float | None, list[Pixels]] = {}
    loaded = set()
    for removal in evaluator.removals([pair], lora, SETTINGS, said):
        frames[removal.strength] = list(removal.frames)
        loaded.add(id(evaluator.void.denoiser(1).network))
    assert list(frames) == [None, 0.0, 0.5, 1.0]
    assert all(np.array_equal(a, b) for a, b in zip(frames[None], frames[0.0], strict=True))
    assert len(loaded) == 2  # The base alone, and the base with the LoRA beside it.


def test_both_passes_are_run_for_a_lora_of_pass_2(
    evaluator: VoidEvaluator, tiny: Path, pair: Path, tmp_path: Path, said: Any
) -> None:
    base = networks.fingerprints(tiny)["pass 2"]
    second = write(
        tmp_path / "second.safetensors",
        random_pairs(layers_of(tiny)),
        LoraRecord("harbour", base, passes=2, rank=4),
    )
    settings = replace(SETTINGS, strengths="1", pass_number=2, steps=1)
    found = removals(evaluator, pair, second, settings, said)
    assert not np.array_equal(found[None][10], found[1.0][10])
    assert "refining" in said.stages


def order(
    folder: Path, held: list[Path], lora: Path, settings: EvaluateSettings = SETTINGS
) -> RenderJob:
    named = [*(("held", n, path) for n, path in enumerate(held, 1)), ("lora", 1, lora)]
    files = [
        FrameFile(role, n, hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
        for role, n, path in named
    ]
    by_sum = {file.sha256: path for file, (*_, path) in zip(files, named, strict=True)}
    request = Request(1, 1, settings, tuple(files), operation="evaluate")
    return RenderJob("job", request, by_sum.__getitem__, folder)


def test_an_evaluation_has_figures_for_each_strength_and_a_sheet(
    evaluator: VoidEvaluator, pair: Path, lora: Path, tmp_path: Path, said: Any
) -> None:
    results: list[Any] = []
    record = evaluate.run(order(tmp_path, [pair], lora), evaluator, said, results.append)
    rows = {row["name"]: row for row in record["evaluation"]["rows"]}
    assert list(rows) == ["wanted", "base", "0", "0.5", "1"]
    assert rows["wanted"]["hole_ssim"] == 1
    assert {**rows["0"], "name": "", "strength": None} == {**rows["base"], "name": ""}
    assert rows["1"]["hole_psnr_db"] != rows["base"]["hole_psnr_db"]
    (one,) = record["evaluation"]["pairs"]
    assert (one["name"], one["rows"]) == ("A010", record["evaluation"]["rows"])
    assert json.loads((tmp_path / "provenance.json").read_text())["evaluation"]
    data = np.frombuffer((tmp_path / "1.exr").read_bytes(), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape[1] > 6 * 200
    assert [result.frame for result in results] == [1]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda pair, lora: pair.write_bytes(b"nothing"), BadPair, "cannot be read"),
        (lambda pair, lora: lora.write_bytes(lora.read_bytes()[:-9]), BadLora, "not a whole"),
    ],
)
def test_damaged_files_are_refused_with_a_reason(
    evaluator: VoidEvaluator,
    pair: Path,
    lora: Path,
    tmp_path: Path,
    said: Any,
    change: Callable[[Path, Path], None],
    error: type[Exception],
    words: str,
) -> None:
    copies = [tmp_path / path.name for path in (pair, lora)]
    for copy, path in zip(copies, (pair, lora), strict=True):
        copy.write_bytes(path.read_bytes())
    change(*copies)
    with pytest.raises(error, match=words):
        removals(evaluator, copies[0], copies[1], SETTINGS, said)


def changed(pair: Path, folder: Path, **parts: Any) -> Path:
    """The pair with other tensors, or with another `record`."""
    path = folder / "changed.safetensors"
    path.write_bytes(pair_bytes(replace(read_pair(pair), **parts)))
    return path


@pytest.mark.parametrize("part", ["target", "plate"])
def test_numbers_beyond_any_picture_are_a_typed_error(
    evaluator: VoidEvaluator, pair: Path, lora: Path, tmp_path: Path, said: Any, part: str
) -> None:
    wild = changed(pair, tmp_path, **{part: torch.full_like(read_pair(pair).target, 3e38)})
    with pytest.raises(EngineFailed, match="non-finite pixels after decoding the pair"):
        removals(evaluator, wild, lora, replace(SETTINGS, strengths="1"), said)


def test_a_pair_without_a_hole_has_no_figures(
    evaluator: VoidEvaluator, pair: Path, lora: Path, tmp_path: Path, said: Any
) -> None:
    none = changed(pair, tmp_path, hole=torch.zeros_like(read_pair(pair).hole))
    once = replace(SETTINGS, strengths="1", steps=1)
    made = evaluate.run(order(tmp_path, [none], lora, once), evaluator, said, lambda _: None)
    assert {row["hole_psnr_db"] for row in made["evaluation"]["rows"]} == {None}


def test_a_pair_with_another_number_of_words_is_refused(
    evaluator: VoidEvaluator, pair: Path, lora: Path, tmp_path: Path, said: Any
) -> None:
    text = torch.zeros(8, read_pair(pair).text.shape[1])
    few = changed(pair, tmp_path, text=text, no_text=text.clone())
    with pytest.raises(BadPair, match=r"embeddings of \[8, "):
        removals(evaluator, few, lora, SETTINGS, said)


def test_a_wrong_lora_is_refused_before_any_removal(
    evaluator: VoidEvaluator, pair: Path, tmp_path: Path, tiny: Path, said: Any
) -> None:
    record = LoraRecord("harbour", "0" * 64, passes=1, rank=4)
    other = write(tmp_path / "x.safetensors", random_pairs(layers_of(tiny)), record)
    with pytest.raises(BadLora, match="was trained on the weights 0000"):
        next(evaluator.removals([pair], other, SETTINGS, said))


@pytest.mark.parametrize(
    ("clips", "is_known"),
    [
        ([{"name": "A010 1", "sources": {"A010": "ab"}, "held": False}], True),
        ([{"name": "A010 1", "sources": {"A010": "ab"}, "held": True}], False),
        ([{"name": "B020 1", "sources": {"B020": "cd", "A010": "ab"}, "held": False}], False),
        ([None, 3, {"sources": 5, "held": False}], False),
    ],
)
def test_a_pair_whose_clip_the_lora_learned_from_is_told(
    evaluator: VoidEvaluator,
    tiny: Path,
    tmp_path: Path,
    said: Any,
    clips: list[Any],
    is_known: bool,
) -> None:
    base = networks.fingerprints(tiny)["pass 1"]
    record = LoraRecord("harbour", base, passes=1, rank=4, clips=tuple(clips))
    taught = write(tmp_path / "x.safetensors", random_pairs(layers_of(tiny)), record)
    small = show_pair(1, networks.vae_weights(tiny).fingerprint())
    own = replace(small.record, name="A010 2", sources={"A010": "ab", "lime": "ef"})
    held = tmp_path / "held.safetensors"
    held.write_bytes(pair_bytes(replace(small, record=own)))
    with pytest.raises(BadPair, match="has 2 latents; with a window of 21 frames it has 6"):
        removals(evaluator, held, taught, SETTINGS, said)
    told = [text for text in said.warnings if "say nothing about other shots" in text]
    assert bool(told) == is_known


def test_a_pair_of_another_autoencoder_is_refused(
    evaluator: VoidEvaluator, lora: Path, tmp_path: Path, said: Any
) -> None:
    path = tmp_path / "held.safetensors"
    path.write_bytes(pair_bytes(show_pair(1, "another")))
    with pytest.raises(BadPair, match="another autoencoder"):
        removals(evaluator, path, lora, SETTINGS, said)
