"""The engine `corridorkey` on a small network: its consent, its sizes, and what it makes of a drawn shot."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch
from voidbridge_screen_scene import HIGHLIGHT, ScreenFrame, ScreenScene

from voidbridge_backend.engines import registry
from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.corridorkey.engine import CorridorKey
from voidbridge_backend.engines.corridorkey.hiera import Layout
from voidbridge_backend.engines.corridorkey.network import KeyNetwork
from voidbridge_backend.engines.corridorkey.terms import TERMS as terms
from voidbridge_backend.engines.corridorkey.tiles import blended, tiles_of
from voidbridge_backend.engines.key_base import Alpha, Matrix
from voidbridge_backend.quality.matte_scores import recomposite_error
from voidbridge_protocol.errors import ModelMissing, PaidUse, TermsNotAccepted
from voidbridge_protocol.operations.key import KeySettings

SMALL = Layout(embed=16, heads=2, stages=(1, 2, 3, 2), size=64, refiner=False)


class Clip:
    frames = range(1, 3)
    to_rec709: Matrix = np.eye(3)

    def __init__(self, hinted: bool) -> None:
        scene = ScreenScene(height=60, width=100)
        self.drawn = {frame: scene.frame(frame) for frame in self.frames}
        self.hinted = hinted

    def plate(self, frame: int) -> Pixels:
        return self.drawn[frame].plate

    def hint(self, frame: int) -> Alpha | None:
        return self.drawn[frame].hint if self.hinted else None

    def clean_screen(self, frame: int) -> Pixels | None:
        return None


class Said:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def step(self, stage: str, done: int, of: int) -> None: ...

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(2)
    path = tmp_path_factory.mktemp("models") / "CorridorKey.pth"
    torch.save(KeyNetwork(SMALL).state_dict(), path)
    return path


@pytest.mark.parametrize("hinted", [True, False], ids=["hint", "own-hint"])
def test_every_frame_recomposites_and_keeps_its_highlights(weights: Path, hinted: bool) -> None:
    clip, said = Clip(hinted), Said()
    engine = CorridorKey(weights, "cpu", SMALL)
    settings = KeySettings(engine="corridorkey", quality="512", despill=0.0, core=2)
    for frame, keyed in engine.key(clip, clip.frames[:1], settings, said):
        drawn: ScreenFrame = clip.drawn[frame]
        assert keyed.alpha.min() >= 0
        assert keyed.alpha.max() <= 1
        error = recomposite_error(drawn.plate, keyed.alpha, keyed.foreground, keyed.screen)
        assert error <= 1 / 255
        if hinted:
            solid = keyed.alpha == 1
            assert drawn.plate[solid].max() > HIGHLIGHT / 2
            assert np.allclose(keyed.foreground[solid], drawn.plate[solid], atol=1e-5)
    assert any("CorridorKey" in text for text in said.warnings)
    assert engine.describe()["network"] == "CorridorKey"


def test_another_quality_loads_the_network_at_that_size(weights: Path) -> None:
    engine = CorridorKey(weights, "cpu", SMALL)
    for quality in ("512", "1024"):
        assert engine._loaded(int(quality)).layout.size == int(quality)


def test_terms_are_asked_for_once_and_again_if_they_change(tmp_path: Path) -> None:
    with pytest.raises(TermsNotAccepted, match="nobody has accepted"):
        registry.make("key", "corridorkey", models=tmp_path)
    path = terms.accept(tmp_path, date(2026, 1, 2))
    record = json.loads(path.read_text())
    assert record["accepted"] == "2026-01-02"
    assert record["terms_sha256"] == terms.sha256()
    with pytest.raises(
        ModelMissing, match=r"neither CorridorKey\.safetensors nor CorridorKey\.pth"
    ):
        registry.make("key", "corridorkey", models=tmp_path)
    path.write_text(json.dumps({**record, "terms_sha256": "0" * 64}))
    with pytest.raises(TermsNotAccepted, match="they have changed since"):
        registry.make("key", "corridorkey", models=tmp_path)


def test_a_daemon_that_bills_refuses(tmp_path: Path) -> None:
    terms.accept(tmp_path, date(2026, 1, 2))
    with pytest.raises(PaidUse, match="bills its users"):
        registry.make("key", "corridorkey", models=tmp_path, bills=True)
    assert registry.make("key", "chroma", models=tmp_path, bills=True).name == "chroma"


@pytest.mark.parametrize(("height", "width", "side"), [(50, 90, 32), (32, 32, 32), (20, 70, 32)])
def test_tiles_cover_a_picture_and_join_without_a_seam(height: int, width: int, side: int) -> None:
    picture = np.random.default_rng(3).random((height, width, 4)).astype(np.float32)
    boxes = tiles_of(height, width, side)
    parts = [picture[box] for box in boxes]
    assert all(part.shape[0] <= side and part.shape[1] <= side for part in parts)
    assert np.abs(blended(boxes, parts, height, width) - picture).max() < 1e-6
