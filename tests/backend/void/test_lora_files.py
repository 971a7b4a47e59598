"""Files of LoRAs: two spellings, and every way in which a file can be wrong."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lora_parts import Layers, layers_of, random_pairs, write
from safetensors.torch import load_file, save_file

from voidbridge_backend.engines.void.model import lora_file
from voidbridge_backend.engines.void.model.lora_file import LoraRecord, Spelling
from voidbridge_protocol.errors import BadLora


@pytest.fixture(scope="module")
def layers(tiny: Path) -> Layers:
    return layers_of(tiny)


@pytest.mark.parametrize("spelling", ["diffusers", "kohya"])
def test_a_file_comes_back_to_the_bit_in_both_spellings(
    layers: Layers, tmp_path: Path, spelling: Spelling
) -> None:
    record = LoraRecord(show="harbour", base="b" * 64, passes=1, rank=4, steps=7, clips=({"a": 1},))
    pairs = random_pairs(layers)
    found = lora_file.read(write(tmp_path / "a.safetensors", pairs, record, spelling), layers)
    assert found.record == record
    assert found.pairs.keys() == pairs.keys()
    for name, pair in found.pairs.items():
        assert torch.equal(pair.down, pairs[name].down)
        assert torch.equal(pair.up, pairs[name].up)


def test_the_same_lora_gives_the_same_bytes(layers: Layers) -> None:
    pairs = random_pairs(layers)
    assert lora_file.written(pairs, LoraRecord()) == lora_file.written(pairs, LoraRecord())


def test_an_alpha_of_kohya_scales_the_addition(layers: Layers, tmp_path: Path) -> None:
    pairs = random_pairs(layers)
    path = write(tmp_path / "a.safetensors", pairs, spelling="kohya")
    halved = {k: v / 2 if k.endswith(".alpha") else v for k, v in load_file(path).items()}
    save_file(halved, path)
    found = lora_file.read(path, layers)
    assert all(torch.equal(pair.up, pairs[name].up / 2) for name, pair in found.pairs.items())


def test_an_alpha_in_the_metadata_of_diffusers_scales_the_addition(
    layers: Layers, tmp_path: Path
) -> None:
    pairs = random_pairs(layers)
    path = write(tmp_path / "a.safetensors", pairs)
    save_file(load_file(path), path, {lora_file.ADAPTER: json.dumps({"lora_alpha": 2, "r": 4})})
    found = lora_file.read(path, layers)
    assert all(torch.equal(pair.up, pairs[name].up / 2) for name, pair in found.pairs.items())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"lora": [1.0]}))


def torch_archive(path: Path) -> None:
    torch.save({"lora": torch.ones(2)}, path)


def changed(**tensors: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        state = load_file(path)
        for part, tensor in tensors.items():
            state[f"transformer.transformer_blocks.0.attn1.to_q.lora_{part}.weight"] = tensor
        save_file(state, path)

    return change


def foreign_key(path: Path) -> None:
    save_file({**load_file(path), "text_model.bias": torch.ones(3)}, path)


def another_layer(path: Path) -> None:
    state = {k.replace("to_q", "to_x"): v for k, v in load_file(path).items()}
    save_file(state, path)


def half_a_pair(path: Path) -> None:
    state = {k: v for k, v in load_file(path).items() if not k.endswith("to_q.lora_B.weight")}
    save_file(state, path)


def another_rank(path: Path) -> None:
    save_file(load_file(path), path, {lora_file.RECORD: json.dumps({"rank": 16})})


def foreign_record(path: Path) -> None:
    save_file(load_file(path), path, {lora_file.RECORD: json.dumps({"shoe": "size"})})


def deep_record(path: Path) -> None:
    save_file(load_file(path), path, {lora_file.RECORD: "[" * 100_000})


def adapter(text: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        save_file(load_file(path), path, {lora_file.ADAPTER: text})

    return change


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "not a whole safetensors file"),
        (pickled, "is a pickle"),
        (torch_archive, "is a pickle"),
        (changed(A=torch.ones(3, 32)), "whose ranks differ"),
        (changed(A=torch.ones(4, 40)), "this model has 32 x 32"),
        (changed(B=torch.full((32, 4), torch.inf)), "not finite"),
        (foreign_key, "not a part of a LoRA"),
        (another_layer, "this model does not have"),
        (half_a_pair, "one matrix of two"),
        (another_rank, "says rank 16"),
        (foreign_record, "does not know"),
        (deep_record, "metadata that are not JSON"),
        (adapter('{"a":' * 100_000), "metadata that are not JSON"),
        (adapter('{"lora_alpha": [1]}'), "has the alpha"),
        (adapter('{"lora_alpha": 1' + "0" * 400 + "}"), "has the alpha"),
        (adapter('{"lora_alpha": NaN}'), "not finite"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_the_reason(
    layers: Layers, tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    path = write(tmp_path / "a.safetensors", random_pairs(layers))
    lora_file.read(path, layers)
    damage(path)
    with pytest.raises(BadLora, match=words):
        lora_file.read(path, layers)


def test_a_file_that_is_absent_is_refused(layers: Layers, tmp_path: Path) -> None:
    with pytest.raises(BadLora, match=r"gone\.safetensors"):
        lora_file.read(tmp_path / "gone.safetensors", layers)
