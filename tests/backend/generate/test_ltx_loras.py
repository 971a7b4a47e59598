"""LoRAs of `ltx`: they change the picture by their strength, and a wrong one is a typed error."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("diffusers")

import torch
from safetensors.torch import save_file

from voidbridge_backend.engines.ltx import weights
from voidbridge_backend.engines.ltx.engine import Ltx
from voidbridge_protocol.errors import BadLora, BadSetting
from voidbridge_protocol.operations.generate import GenerateSettings


class Gray:
    """One gray frame."""

    frames = (1,)
    to_rec709 = np.eye(3)
    pixel_aspect = 1.0
    frames_per_second = 24.0

    def picture(self, frame: int) -> NDArray[np.float32]:
        return np.full((32, 32, 3), 0.2, np.float32)


class Notes:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def step(self, stage: str, done: int, of: int) -> None:
        pass

    def warn(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture(scope="module")
def models(tiny_ltx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The LoRA of the mode hdr once more, under a name of its own, and two wrong files."""
    folder = tmp_path_factory.mktemp("models")
    (folder / weights.BASE).symlink_to(tiny_ltx / weights.BASE)
    loras = folder / weights.LORAS
    loras.mkdir()
    shutil.copy(tiny_ltx / weights.HDR, loras / "hero.v2.safetensors")
    save_file({"other.weight": torch.zeros(2)}, loras / "other.safetensors")
    (loras / "half.safetensors").write_bytes((tiny_ltx / weights.HDR).read_bytes()[:100])
    wide = {
        f"transformer.transformer_blocks.0.attn1.to_q.lora_{part}.weight": torch.zeros(shape)
        for part, shape in (("A", (2, 99)), ("B", (99, 2)))
    }
    save_file(wide, loras / "wide.safetensors")
    return folder


def made(engine: Ltx, lora: str) -> tuple[NDArray[np.float32], list[str]]:
    notes = Notes()
    settings = GenerateSettings(
        engine="ltx", mode="from-frame", schedule="full", steps=2, prompt="a", lora=lora
    )
    frames = dict(engine.generate(Gray(), [2, 3], settings, notes))
    return frames[3], notes.texts


def test_a_lora_changes_the_picture_by_its_strength_and_goes_again(models: Path) -> None:
    engine = Ltx(models, "cpu")
    plain, _ = made(engine, "")
    whole, notes = made(engine, "hero.v2")
    half, _ = made(engine, "hero.v2:0.5")
    none, _ = made(engine, "hero.v2:0")
    again, _ = made(engine, "")
    assert not np.array_equal(plain, whole)
    assert not np.array_equal(whole, half)
    assert none == pytest.approx(plain, abs=1e-5)
    assert np.array_equal(plain, again)
    assert any(text.startswith("LoRA hero.v2 at 1, SHA-256 ") for text in notes)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody", "is not there"),
        ("other", "is not a LoRA"),
        ("half", "is not a LoRA"),
        ("wide", "is not a LoRA"),
    ],
)
def test_a_wrong_lora_is_a_typed_error(models: Path, name: str, said: str) -> None:
    with pytest.raises(BadLora, match=said):
        made(Ltx(models, "cpu"), name)


@pytest.mark.parametrize("text", ["../hero", "hero:5", "hero:", ".hero", "a/b:1"])
def test_a_word_that_is_no_name_with_a_strength_is_refused(text: str) -> None:
    with pytest.raises(BadSetting, match="is not a name with a strength"):
        GenerateSettings(lora=text)
