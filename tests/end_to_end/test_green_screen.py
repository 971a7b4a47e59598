"""A green screen with grain, through the command line: nobody is told that there is none, and progress ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from voidbridge_shots import Shot, channels_of
from voidbridge_stage import called

FRAMES = range(1001, 1007)
HEIGHT, WIDTH = 144, 192
SCREEN, GRAIN = (0.05, 0.35, 0.08), 0.006
COLOR = ("--color-space", "ACEScg")


def marker(frame: int) -> NDArray[np.bool_]:
    """A tracking marker that moves on."""
    rows, columns = np.indices((HEIGHT, WIDTH))
    return np.hypot(rows - 40, columns - 40 - 18 * (frame - FRAMES[0])) < 6


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Shot:
    made = Shot(tmp_path_factory.mktemp("screen"), FRAMES)
    for frame in FRAMES:
        light = np.full((HEIGHT, WIDTH, 3), SCREEN)
        light[60:, 70:120] = (0.4, 0.3, 0.25)
        light[marker(frame)] = (0.9, 0.9, 0.9)
        light += GRAIN * np.random.default_rng(frame).standard_normal(light.shape)
        made.write(
            "plate", frame, {n: light[..., i].astype(np.float16) for i, n in enumerate("RGB")}
        )
        made.write("matte", frame, {"A": marker(frame).astype(np.float16)})
    return made


def test_a_marker_goes_and_the_grain_stays(shot: Shot, daemon: Any, tmp_path: Path) -> None:
    words = ("run", shot.plate, shot.matte, "-o", tmp_path / "r.%04d.exr", *COLOR)
    done = called(*words, "--daemon", daemon.address, "--json")
    assert done.code == 0, done.err
    assert not [text for text in done.event("done")["warnings"] if "grain" in text]
    removing = [event for event in done.events if event.get("stage") == "removing"]
    assert (removing[-1]["step"], removing[-1]["of"]) == (len(FRAMES), len(FRAMES))
    for frame in FRAMES:
        green = channels_of(tmp_path / f"r.{frame}.exr")["G"].astype(np.float32)[marker(frame)]
        assert green.mean() == pytest.approx(SCREEN[1], abs=0.003)
        assert green.std() == pytest.approx(GRAIN, rel=0.35)


def test_a_key_says_nothing_of_grain(shot: Shot, daemon: Any, tmp_path: Path) -> None:
    words = ("key", shot.plate, "-o", tmp_path / "k.%04d.exr", *COLOR)
    done = called(*words, "--daemon", daemon.address, "--json")
    assert done.code == 0, done.err
    assert not [text for text in done.event("done")["warnings"] if "grain" in text]
