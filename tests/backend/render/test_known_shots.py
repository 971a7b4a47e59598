"""Whole jobs on small shots with a known truth: at least so many decibels in the hole."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
LEAST = {
    "doubled": (79, 70),
    "fade": (54, 46),
    "flicker": (61, 52),
    "cut": (71, 62),
    "parallax": (43, 38),
    "slope": (41.5, 40),
}
"""By shot: decibels over all frames, and in every frame; a decibel or two below what is reached."""
MIDDLE = {"parallax": slice(5, 11)}
"""The frames that are asked of a shot that takes long; the others are handles. With --full it is made whole."""

_spec = importlib.util.spec_from_file_location("known_truth", BENCHMARKS / "known_truth.py")
assert _spec
assert _spec.loader
known_truth = importlib.util.module_from_spec(_spec)
sys.modules["known_truth"] = known_truth
_spec.loader.exec_module(known_truth)


@pytest.mark.parametrize("name", LEAST)
def test_the_background_comes_back(name: str, cases: Path, tmp_path: Path, full: bool) -> None:
    (shot,) = known_truth.shots(cases, [name])
    part = slice(None) if full else MIDDLE.get(name, slice(None))
    found = known_truth.removed(shot, tmp_path, part)
    parts = {role: getattr(shot, role)[part] for role in ("plate", "truth", "matte")}
    mean, worst = known_truth.quality(replace(shot, **parts), found)
    assert mean > LEAST[name][0]
    assert worst > LEAST[name][1]


def test_what_is_never_seen_is_continued_without_streaks_and_stays(
    cases: Path, tmp_path: Path
) -> None:
    (shot,) = known_truth.shots(cases, ["still"])
    result = known_truth.removed(shot, tmp_path)
    assert result[0].tobytes() == result[-1].tobytes()
    mean, _ = known_truth.quality(shot, result)
    other, _ = known_truth.quality(shot, known_truth.telea(shot))
    assert mean > other - 1
    inside = shot.matte[0] > 0.5
    across, down = (np.square(np.diff(result[0].mean(-1), axis=axis)) for axis in (1, 0))
    energy = [float(across[inside[:, 1:]].mean()), float(down[inside[1:]].mean())]
    # A streak is smooth along one way and not along the other.
    assert max(energy) < 3 * min(energy)
    ring = cv2.dilate(inside.view(np.uint8), np.ones((41, 41))) > 0
    ring &= cv2.dilate(inside.view(np.uint8), np.ones((17, 17))) == 0
    assert 0.75 < detail(result[0], inside) / detail(shot.truth[0], ring) < 1.25


def detail(picture: NDArray[np.floating], inside: NDArray[np.bool_]) -> float:
    """The energy of the gradient."""
    across, down = np.diff(picture, axis=1)[:-1], np.diff(picture, axis=0)[:, :-1]
    whole = inside[:-1, :-1] & inside[1:, :-1] & inside[:-1, 1:]
    return float((np.square(across) + np.square(down)).sum(-1)[whole].mean())
