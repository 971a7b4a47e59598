"""A quadmask from mattes that are there, and PNG files beside the results. No daemon is started."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import voidbridge_shots as shots
import voidbridge_stage as stage
from numpy.typing import NDArray

FRAMES = range(1001, 1004)
HEIGHT, WIDTH, LEFT, TOP = 64, 112, 6, 4
DISPLAY = shots.window(0, 0, LEFT + WIDTH - 1, TOP + HEIGHT - 1)
BALL = np.s_[10:30, 20:40]
SHADE = np.s_[25:35, 30:60]


def drawn(place: tuple[slice, slice]) -> NDArray[np.float16]:
    matte = np.zeros((HEIGHT, WIDTH), np.float16)
    matte[place] = 1
    return matte


@pytest.fixture
def shot(tmp_path: Path) -> Path:
    gray = np.full((HEIGHT, WIDTH), 0.2, np.float16)
    files = {
        "plate": dict.fromkeys("RGB", gray),
        "ball": {"A": drawn(BALL)},
        "shade": {"A": drawn(SHADE)},
    }
    for frame in FRAMES:
        for name, channels in files.items():
            data = shots.exr_bytes(channels, (LEFT, TOP), displayWindow=DISPLAY)
            (tmp_path / f"{name}.{frame}.exr").write_bytes(data)
    return tmp_path


def combined(shot: Path, *words: object) -> stage.Finished:
    return stage.called("mask", shot / "plate.####.exr", "-o", shot / "out", *words)


def of(shot: Path, role: str, name: str) -> tuple[str, str]:
    return "--combine", f"{role}={shot / name}.####.exr"


def codes(path: Path) -> NDArray[np.float32]:
    return np.asarray(np.rint(shots.channels_of(path)["Y"].astype(np.float32) * 255), np.float32)


def test_mattes_become_a_quadmask_by_the_models_rules(shot: Path) -> None:
    done = combined(shot, *of(shot, "primary", "ball"), *of(shot, "affected", "shade"))
    assert done.code == 0, done.err
    assert set(np.unique(codes(shot / "out/quadmask.1001.exr"))) == {0, 255}
    later = codes(shot / "out/quadmask.1002.exr")
    assert (later[BALL][:15] == 0).all()
    assert (later[25:30, 30:40] == 63).all(), "both: to the pixel"
    rows, columns = np.nonzero(later == 127)
    assert (rows.min(), rows.max()) == (24, 39), "whole cells of 8 pixels"
    assert columns.max() == 63
    header = shots.header_of(shot / "out/quadmask.1002.exr")
    wanted = shots.header_of(shot / "plate.1002.exr")
    for window in ("dataWindow", "displayWindow"):
        assert np.array_equal(header[window], wanted[window])
    record = json.loads((shot / "out/quadmask.1001-1003.voidbridge.json").read_text())
    assert [one["role"] for one in record["combined"]] == ["primary", "affected"]


def test_an_object_is_dropped_without_tracking_and_without_asking(shot: Path) -> None:
    ball, shade = of(shot, "primary", "ball"), of(shot, "affected", "shade")
    assert combined(shot, *ball, *shade).code == 0
    done = combined(shot, *ball)
    assert done.code == 0, done.err
    assert set(np.unique(codes(shot / "out/quadmask.1002.exr"))) == {0, 255}


def test_pngs_hold_the_codes_in_the_display_window(shot: Path) -> None:
    ball, shade = of(shot, "belonging", "ball"), of(shot, "affected", "shade")
    assert combined(shot, *ball, *shade, "--png").code == 0
    png = cv2.imread(str(shot / "out/quadmask.1003.png"), cv2.IMREAD_UNCHANGED)
    assert (png.dtype, png.shape) == (np.uint8, (TOP + HEIGHT, LEFT + WIDTH))
    np.testing.assert_array_equal(png[TOP:, LEFT:], codes(shot / "out/quadmask.1003.exr"))
    assert (png[:TOP] == 255).all()
    assert combined(shot, *ball, *shade, "--png").code == 0, "its own files are replaced"


def test_a_png_of_somebody_else_is_kept(shot: Path) -> None:
    (shot / "out").mkdir()
    cv2.imwrite(str(shot / "out/quadmask.1002.png"), np.zeros((4, 4), np.uint8))
    done = combined(shot, *of(shot, "primary", "ball"), "--png")
    assert (done.code, "quadmask.1002.png exists" in done.err) == (2, True), done.err
    assert not list((shot / "out").glob("*.exr"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--combine", "ball.####.exr"), "cannot be read"),
        (("--combine", "other={}/ball.####.exr"), "the roles are primary"),
        (("--combine", "affected={}/shade.####.exr"), "no matte says what to remove"),
        (("--combine", "primary={}/gone.####.exr"), "gone"),
        (("--combine", "primary={}/ball.####.exr", "--point", "1001:9,9"), "and prompts are given"),
        (("--combine", "primary={}/old.####.exr"), "is a quadmask"),
    ],
)
def test_mattes_that_cannot_be_combined_are_named(
    shot: Path, words: tuple[str, ...], said: str
) -> None:
    quadmask = np.full((HEIGHT, WIDTH), 1, np.float16)
    quadmask[SHADE] = 127 / 255
    for frame in FRAMES:
        data = shots.exr_bytes({"Y": quadmask}, (LEFT, TOP), displayWindow=DISPLAY)
        (shot / f"old.{frame}.exr").write_bytes(data)
    done = combined(shot, *(word.format(shot) for word in words))
    assert done.code == 2, done.err
    assert said in done.err
