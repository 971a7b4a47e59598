"""`mask --one-file`: the form of the hosts, their ways to count pixels, and tracking again from a frame on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
import pytest
import voidbridge_shots as shots
import voidbridge_stage as stage
from numpy.typing import NDArray

FRAMES = range(1001, 1007)
HEIGHT, WIDTH, RADIUS = 72, 128, 12


def center(frame: int) -> tuple[int, int]:
    return 40 + 8 * (frame - 1001), 30


def truth(frame: int) -> NDArray[np.bool_]:
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(drawn, center(frame), RADIUS, (1,), -1)
    return drawn.astype(bool)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Any]:
    with stage.daemon() as found:
        yield found


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plate")
    wall = np.random.default_rng(1).random((HEIGHT, WIDTH, 3)).astype(np.float32)
    wall = 0.5 * cv2.GaussianBlur(wall, (0, 0), 2)
    for frame in FRAMES:
        light = np.where(truth(frame)[..., None], np.float32((1.5, 0.2, 0.1)), wall)
        channels = {name: light[..., plane].astype(np.float16) for plane, name in enumerate("RGB")}
        (folder / f"plate.{frame}.exr").write_bytes(shots.exr_bytes(channels, (0, 0)))
    return folder / "plate.####.exr"


def tracked(daemon: Any, plate: Path, result: Path, *words: object) -> Any:
    options = ("--one-file", "-o", result, "--daemon", daemon.address, "--frames", "1001-1006")
    return stage.called("mask", plate, *options, *words)


def at(frame: int, x: float = 0, y: float = 0, percent: bool = False) -> str:
    """A click by the object's center, counted from the bottom left corner."""
    across, down = center(frame)
    across, up = across + x, HEIGHT - down + y
    if percent:
        across, up = 100 * across / WIDTH, 100 * up / HEIGHT
    return f"{frame}:{across:g},{up:g}"


def overlap(path: Path, frame: int) -> float:
    inside, real = shots.channels_of(path)["A"] > 0.5, truth(frame)
    return float((inside & real).sum() / (inside | real).sum())


@pytest.mark.parametrize("origin", ["bottom-left", "bottom-left-percent"])
def test_a_frame_has_one_file_and_pixels_count_as_in_the_host(
    daemon: Any, plate: Path, tmp_path: Path, origin: str
) -> None:
    words = ["--origin", origin]
    for option, x, y in (("--point", 0, 0), ("--point", 6, 4), ("--not", 24, 0)):
        words += [option, at(1001, x, y, percent=origin.endswith("percent"))]
    done = tracked(daemon, plate, tmp_path / "mattes.####.exr", *words, "--json")
    assert done.code == 0, done.err
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "mattes.1001-1006.voidbridge.json",
        *(f"mattes.{frame}.exr" for frame in FRAMES),
    }
    for frame in FRAMES:
        path = tmp_path / f"mattes.{frame}.exr"
        found = shots.channels_of(path)
        assert overlap(path, frame) > 0.85
        assert np.array_equal(found["A"], found["B"])
        assert not found["R"].any()
        assert np.array_equal(found["G"] < 0.5, found["A"] > 0.5)
        with OpenEXR.File(str(path)) as file:
            assert [part.name() for part in file.parts] == ["rgba", "object"]


def test_a_box_from_the_bottom_left_and_an_affected_object(
    daemon: Any, plate: Path, tmp_path: Path
) -> None:
    (x, y), result = center(1001), tmp_path / "mattes.####.exr"
    box = f"1001:{x - 15},{HEIGHT - y - 15},{x + 15},{HEIGHT - y + 15}:shade"
    words = ("--origin", "bottom-left", "--box", box, "--role", "shade=affected")
    done = tracked(daemon, plate, result, *words, "--point", at(1001), "--point", at(1001, 6, 4))
    assert done.code == 0, done.err
    found = shots.channels_of(tmp_path / "mattes.1004.exr")
    assert ((found["R"] > 0.5) & truth(1004)).sum() > 0.85 * truth(1004).sum()


def test_tracking_again_keeps_the_frames_before_it(
    daemon: Any, plate: Path, tmp_path: Path
) -> None:
    first, again = tmp_path / "first.####.exr", tmp_path / "again.####.exr"
    clicks = ("--origin", "bottom-left", "--point", at(1001), "--point", at(1001, 6, 4))
    assert tracked(daemon, plate, first, *clicks).code == 0
    corner = f"1004:{WIDTH - 20},12,{WIDTH - 4},28"  # a correction that leads to another place
    words = (*clicks, "--box", corner, "--again-from", "1004", "--earlier", first, "--json")
    done = tracked(daemon, plate, again, *words)
    assert done.code == 0, done.err
    for frame in FRAMES:
        one, two = ((tmp_path / f"{name}.{frame}.exr").read_bytes() for name in ("first", "again"))
        assert (one == two) == (frame < 1004), frame
    record = json.loads((tmp_path / "again.1001-1006.voidbridge.json").read_text())
    assert record["again_from"] == 1004
    last = json.loads(done.out.splitlines()[-1])
    assert (last["event"], last["frames"]) == ("done", [1001, 1006])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--png",), "neither --png nor --combine"),
        (("--again-from", "1003"), "belong together"),
        (("--affected", "none.####.exr"), "have no frame of the range"),
        (("--again-from", "1001", "--earlier", "none.####.exr"), "nothing can be tracked again"),
        (("--point", "1001:500,10"), "Count from the bottom-left"),
    ],
)
def test_what_cannot_be_done_is_told_with_the_next_step(
    daemon: Any, plate: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    clicks = ("--origin", "bottom-left", "--point", at(1001))
    done = tracked(daemon, plate, tmp_path / "mattes.####.exr", *clicks, *words)
    assert (done.code, said in done.err) == (2, True), done.err
