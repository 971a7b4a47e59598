"""From clicks to mattes to a clean plate, with a real daemon and real files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import voidbridge_shots as shots
import voidbridge_stage as stage
from numpy.typing import NDArray

FRAMES = range(1001, 1007)
HEIGHT, WIDTH, RADIUS = 72, 128, 12
LEFT, TOP = 10, 20
"""The data window begins here; the display window begins at 0,0."""
DISPLAY = shots.window(0, 0, LEFT + WIDTH - 1, TOP + HEIGHT - 1)


def center(frame: int) -> tuple[int, int]:
    return 40 + 8 * (frame - 1001), 36


def truth(frame: int) -> NDArray[np.bool_]:
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(drawn, center(frame), RADIUS, (1,), -1)
    return drawn.astype(bool)


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A red disk over a resting wall, in a data window with an origin."""
    folder = tmp_path_factory.mktemp("plate")
    random = np.random.default_rng(1)
    wall = cv2.GaussianBlur(random.random((HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), 2)
    for frame in FRAMES:
        light = wall * 0.5
        light[truth(frame)] = (1.5, 0.2, 0.1)
        channels = {name: light[..., plane].astype(np.float16) for plane, name in enumerate("RGB")}
        data = shots.exr_bytes(channels, (LEFT, TOP), displayWindow=DISPLAY)
        (folder / f"plate.{frame}.exr").write_bytes(data)
    return folder / "plate.####.exr"


def at(frame: int, x: int, y: int) -> str:
    """A click, in pixels of the display window."""
    across, down = center(frame)
    return f"{frame}:{across + x + LEFT},{down + y + TOP}"


def clicks() -> tuple[str, ...]:
    return ("--point", at(1001, 0, 0), "--point", at(1001, 6, 4), "--not", at(1001, 24, 0))


def overlap(path: Path, channel: str, frame: int) -> float:
    inside, real = shots.channels_of(path)[channel] > 0.5, truth(frame)
    return float((inside & real).sum() / (inside | real).sum())


def codes(path: Path) -> list[float]:
    values = shots.channels_of(path)["Y"].astype(np.float32) * 255
    return list(np.unique(values.round()))


def check_removed(plate: Path, folder: Path) -> None:
    """The disk is gone but for a few pixels of its rim. Everything farther than the growth is the plate's own."""
    there = shots.channels_of(folder / "clean.1003.exr")["R"]
    before = shots.channels_of(plate.with_name("plate.1003.exr"))["R"]
    assert (there[truth(1003)] >= 1).mean() < 0.04
    far = cv2.dilate(truth(1003).astype(np.uint8), np.ones((61, 61), np.uint8)) == 0
    assert far.mean() > 0.3
    np.testing.assert_array_equal(there[far], before[far])


def test_clicks_become_mattes_and_a_quadmask_in_the_plates_windows(
    plate: Path, tmp_path: Path
) -> None:
    done = stage.called("mask", plate, "-o", tmp_path, *clicks(), "--json")
    assert done.code == 0, done.err
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "mask.1001-1006.voidbridge.json",
        *(f"{name}.{frame}.exr" for name in ("object", "quadmask") for frame in FRAMES),
    }
    for frame in FRAMES:
        assert overlap(tmp_path / f"object.{frame}.exr", "A", frame) > 0.85
        assert set(codes(tmp_path / f"quadmask.{frame}.exr")) == {0, 255}
        header = shots.header_of(tmp_path / f"object.{frame}.exr")
        wanted = shots.header_of(plate.with_name(f"plate.{frame}.exr"))
        for window in ("dataWindow", "displayWindow"):
            assert np.array_equal(header[window], wanted[window])
        assert "voidbridge/version" in header
    record = json.loads((tmp_path / "mask.1001-1006.voidbridge.json").read_text())
    assert record["objects"]["object"]["role"] == "primary"
    assert list(record["objects"]["object"]["scores"]) == [str(frame) for frame in FRAMES]


def test_the_mattes_go_into_the_removal_as_they_are(plate: Path, tmp_path: Path) -> None:
    mattes, result = tmp_path / "mattes", tmp_path / "clean.####.exr"
    assert stage.called("mask", plate, "-o", mattes, *clicks()).code == 0
    done = stage.called("run", plate, mattes / "quadmask.####.exr", "-o", result)
    assert done.code == 0, done.err
    check_removed(plate, tmp_path)


def test_one_command_goes_from_clicks_to_a_clean_plate(plate: Path, tmp_path: Path) -> None:
    done = stage.called("run", plate, "-o", tmp_path / "clean.####.exr", *clicks())
    assert done.code == 0, done.err
    check_removed(plate, tmp_path)
    assert len(list(tmp_path.glob("*.exr"))) == len(FRAMES)
    assert done.err.count("done in") == 1, "tracking is a step of it"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "neither a matte nor a prompt"),
        (("m.####.exr", *clicks()), "a matte and prompts"),
        (("m.####.exr", "--find", "shadow"), "--find looks around objects with prompts"),
    ],
)
def test_a_removal_has_either_a_matte_or_prompts(
    plate: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = stage.called("run", plate, *words, "-o", tmp_path / "clean.####.exr")
    assert (done.code, said in done.err) == (2, True), done.err


def test_a_key_matte_and_roles_make_an_affected_area(plate: Path, tmp_path: Path) -> None:
    key = {"A": truth(1003).astype(np.float16)}
    (tmp_path / "roto.exr").write_bytes(shots.exr_bytes(key, (LEFT, TOP), displayWindow=DISPLAY))
    words = ("--key", f"1003={tmp_path / 'roto.exr'}:shade", "--role", "shade=affected", *clicks())
    done = stage.called("mask", plate, "-o", tmp_path / "out", *words)
    assert done.code == 0, done.err
    found = shots.channels_of(tmp_path / "out/shade.1003.exr")["A"]
    assert np.array_equal(found > 0.5, truth(1003))
    first, later = (set(codes(tmp_path / f"out/quadmask.{frame}.exr")) for frame in (1001, 1003))
    assert 127 not in first
    assert {63, 127} <= later


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "0 objects are named"),
        (("--point", "1001:1"), "cannot be read"),
        (("--point", "900:1,1"), "on frame 900; the plate's frames are 1001-1006"),
        (("--frames", "1002-1003", "--point", "1001:1,1"), "the plate's frames are 1002-1003"),
        (
            ("--point", "1002:10,900"),
            "the click 10,900 for object on frame 1002 is outside the picture",
        ),
        (("--box", "1002:900,0,999,9"), "the box of object on frame 1002 lies outside"),
        (("--not", "1001:1,1"), "no click on it"),
        (("--key", "1001=nowhere.exr"), "nowhere.exr, cannot be read"),
        (("--point", "1001:50,56", "--find", "dust"), "no rule finds 'dust'"),
    ],
)
def test_bad_prompts_say_what_to_do(
    plate: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = stage.called("mask", plate, "-o", tmp_path / "out", *words)
    assert done.code == 2
    assert said in done.err
    assert not list(tmp_path.rglob("*.exr"))
    if "the plate's frames" in said:  # seen before a daemon is asked
        assert not (tmp_path / "out").exists()


def test_a_rule_adds_the_shadow_as_an_affected_object(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    wall = cv2.GaussianBlur(random.random((HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), 2)
    shades = {}
    for frame in FRAMES:
        light = 0.3 * wall + 0.2
        shades[frame] = np.roll(truth(frame), (16, 6), axis=(0, 1)) & ~truth(frame)
        light[shades[frame]] *= 0.4
        light[truth(frame)] = (1.2, 0.2, 0.1)
        channels = {name: light[..., plane].astype(np.float16) for plane, name in enumerate("RGB")}
        data = shots.exr_bytes(channels, (LEFT, TOP), displayWindow=DISPLAY)
        (tmp_path / f"plate.{frame}.exr").write_bytes(data)
    words = ("--point", at(1001, 0, 0), "--point", at(1001, -6, 0), "--not", at(1001, 4, 20))
    done = stage.called(
        "mask",
        tmp_path / "plate.####.exr",
        "-o",
        tmp_path / "out",
        *words,
        "--find",
        "shadow",
        "--png",
    )
    assert done.code == 0, done.err
    found = shots.channels_of(tmp_path / "out/shadow.1003.exr")["A"] > 0.5
    assert (found & shades[1003]).sum() > 0.6 * shades[1003].sum()
    png = cv2.imread(str(tmp_path / "out/shadow.1003.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(png[TOP:, LEFT:] > 127, found)
    assert 127 in codes(tmp_path / "out/quadmask.1003.exr")
    assert 127 not in codes(tmp_path / "out/quadmask.1001.exr")
    record = json.loads((tmp_path / "out/mask.1001-1006.voidbridge.json").read_text())
    assert record["objects"]["shadow"]["role"] == "affected"
