"""The channel `voidbridge.confidence`: where a result can be trusted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from voidbridge_backend.exr import reader
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.exr.part import CONFIDENCE
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_backend.tools.report.report import Files, review
from voidbridge_protocol.operations.remove import RemoveSettings

RunShot = Callable[..., Any]
HEIGHT, WIDTH, FRAMES = 60, 90, range(1, 7)
WALL = np.random.default_rng(1).random((HEIGHT, WIDTH, 3)).astype(np.float32)
WALL = cv2.GaussianBlur(WALL, (0, 0), 1.5)


def shot(step: int) -> tuple[dict[int, bytes], dict[int, bytes], dict[int, NDArray[np.bool_]]]:
    """(plates, mattes, holes) of a bright box that moves by `step` pixels a frame."""
    plates, mattes, holes = {}, {}, {}
    for n, frame in enumerate(FRAMES):
        hole = np.zeros((HEIGHT, WIDTH), bool)
        hole[24:38, 4 + step * n : 16 + step * n] = True
        light = np.where(hole[..., None], 4, WALL).astype(np.float16)
        plates[frame] = new_file(dict(zip("RGB", np.moveaxis(light, -1, 0).copy(), strict=True)))
        mattes[frame] = new_file({"A": hole.astype(np.float16)})
        holes[frame] = hole
    return plates, mattes, holes


def removed(run_shot: RunShot, step: int, **settings: Any) -> Any:
    plates, mattes, _ = shot(step)
    chosen = {"engine": "cleanplate", "grow": 0, "soften": 0, **settings}
    return run_shot(plates, mattes, **chosen)


def test_it_is_1_where_frames_agree_and_the_picture_stays_the_same(run_shot: RunShot) -> None:
    plain = removed(run_shot, 14)
    told = removed(run_shot, 14, confidence=True)
    for frame in FRAMES:
        before, after = reader.decode(plain.results[frame]), reader.decode(told.results[frame])
        assert set(after.channels) == {*before.channels, CONFIDENCE}
        assert after.rgb().tobytes() == before.rgb().tobytes()
        assert (after.channels[CONFIDENCE] > 0.95).all()


def test_it_is_0_where_the_result_is_invented_and_1_outside_the_hole(run_shot: RunShot) -> None:
    *_, holes = shot(0)
    results = removed(run_shot, 0, confidence=True).results
    for frame in FRAMES:
        sure = reader.decode(results[frame]).channels[CONFIDENCE]
        assert (sure[holes[frame]] == 0).all()
        assert (sure[~holes[frame]] == 1).all()


def test_bars_keep_it(run_shot: RunShot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "WALL", WALL * (np.arange(HEIGHT) > 11)[:, None, None])
    results = removed(run_shot, 14, confidence=True).results
    for frame in FRAMES:
        assert (reader.decode(results[frame]).channels[CONFIDENCE] > 0.95).all()


def test_an_engine_that_does_not_know_says_so(run_shot: RunShot) -> None:
    done = removed(run_shot, 14, engine="echo", confidence=True)
    assert CONFIDENCE not in reader.decode(done.results[1]).channels
    assert any("does not tell how sure it is" in text for text in done.warnings)


@pytest.mark.parametrize("step", [0, 14], ids=["invented", "seen"])
def test_the_report_tells_its_mean_and_draws_it(
    run_shot: RunShot, tmp_path: Path, step: int
) -> None:
    plates, mattes, _ = shot(step)
    results = removed(run_shot, step, confidence=True).results
    for name, files in (("plate", plates), ("matte", mattes), ("result", results)):
        for frame, data in files.items():
            (tmp_path / f"{name}.{frame:04d}.exr").write_bytes(data)
    named = {n: Sequence.parse(tmp_path / f"{n}.%04d.exr") for n in ("result", "plate", "matte")}
    settings = RemoveSettings(grow=0, soften=0, color_space="ACEScg")
    sheet = tmp_path / "sheet.png"
    found = review(Files(**named), settings, sheet, lambda done, of: None)
    assert found.confidence == pytest.approx(1 if step else 0, abs=0.05)
    picture = cv2.imread(str(sheet)).astype(int)
    # The last row of the sheet is the plate in grey, with red where the result is invented.
    row = picture[-34 - 293 : -34, 34 + 190 : 34 + 190 + 440]
    red = (row[..., 2] > row[..., 0] + 100).mean()
    assert (red > 0.02) == (step == 0)
