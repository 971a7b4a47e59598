"""Each measure sees its own fault and no other, and says so in words with frames."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from voidbridge_backend.exr import reader
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.quality.no_reference import Findings, Inspection, frame_stats, step_for

Pixels = NDArray[np.float32]
RunShot = Callable[..., Any]
HEIGHT, WIDTH = 160, 240
HOLE = np.zeros((HEIGHT, WIDTH), np.float32)
HOLE[60:110, 80:150] = 1
FRAMES = range(1010, 1018)


def plate(frame: int) -> Pixels:
    """A soft landscape that a camera pans over by a pixel and a half a frame, with grain."""
    rng = np.random.default_rng(1)
    ground = cv2.GaussianBlur(rng.random((HEIGHT, WIDTH * 2), np.float32), (0, 0), 6)
    ground = 0.2 + 4 * (ground - ground.mean())
    pan = np.array([[1, 0, -1.5 * (frame - FRAMES.start)], [0, 1, 0]], np.float32)
    seen = cv2.warpAffine(ground, pan, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
    grain = np.random.default_rng(frame).normal(0, 0.004, (HEIGHT, WIDTH, 3))
    return (np.maximum(seen, 0.02)[..., None] + grain).astype(np.float32)


def inspected(change: Callable[[int, Pixels], Pixels], alpha: Pixels = HOLE) -> Findings:
    inspection = Inspection()
    for frame in FRAMES:
        light = plate(frame)
        result = np.where(alpha[..., None] > 0, change(frame, light.copy()), light)
        seen = frame_stats(frame, result, alpha, (0, 0), step_for(HEIGHT, WIDTH), 0)
        inspection.add(seen)
    return inspection.findings()


def own_grain(frame: int, light: Pixels) -> Pixels:
    """The true plate, with other grain of the same kind."""
    noise = np.random.default_rng(5000 + frame).normal(0, 0.004, light.shape)
    smooth = cv2.GaussianBlur(light, (0, 0), 1.2)
    return (smooth + noise).astype(np.float32)


def test_a_good_removal_gives_no_warning() -> None:
    found = inspected(own_grain)
    assert found.warnings == ()
    assert found.frames == len(FRAMES)
    assert found.hole_pixels == len(FRAMES) * 50 * 70
    assert 0.5 < found.seam_energy < 1.5
    assert 0.6 < found.grain_match < 1.6
    assert found.flicker < 0.005


def test_a_step_at_the_edge_is_an_edge_that_shows() -> None:
    found = inspected(lambda frame, light: own_grain(frame, light) * np.float32(0.5))
    assert found.seam_energy > 2
    assert any("an edge shows" in w and "1010-1017" in w for w in found.warnings)
    assert not any("shadow" in w for w in found.warnings)


def test_a_plate_that_is_darker_all_around_is_a_shadow() -> None:
    found = inspected(lambda frame, light: own_grain(frame, light) * np.float32(1.5))
    assert any("shadow may reach beyond the matte" in w for w in found.warnings)


def test_a_pulse_is_flicker_in_its_frames() -> None:
    def pulsing(frame: int, light: Pixels) -> Pixels:
        return own_grain(frame, light) * np.float32(1.15 if frame == 1013 else 1)

    found = inspected(pulsing)
    assert found.flicker > 3 * inspected(own_grain).flicker
    assert any("brightness jumps" in w and "1013-1014" in w for w in found.warnings)


def test_boiling_is_another_motion_than_the_plates() -> None:
    def boiling(frame: int, light: Pixels) -> Pixels:
        rough = np.random.default_rng(frame).normal(0, 1, (HEIGHT, WIDTH, 1)).astype(np.float32)
        soft = cv2.GaussianBlur(rough, (0, 0), 3)[..., None]
        return light * (1 + 2 * soft)

    found = inspected(boiling)
    assert found.warp_error > 3 * found.warp_error_outside
    assert any("moves differently" in w for w in found.warnings)


def test_a_smooth_fill_looks_painted() -> None:
    found = inspected(lambda frame, light: cv2.GaussianBlur(light, (0, 0), 4))
    assert found.grain_match < 0.5
    assert any("painted" in w for w in found.warnings)


def test_what_cannot_be_measured_is_null() -> None:
    nothing = Inspection().findings()
    assert math.isnan(nothing.seam_energy)
    assert nothing.described()["seam_energy"] is None
    tiny = inspected(own_grain, np.pad(np.ones((2, 2), np.float32), ((79, 79), (119, 119))))
    assert tiny.described()["grain_match"] is None
    everything = inspected(own_grain, np.ones((HEIGHT, WIDTH), np.float32))
    assert everything.described()["seam_energy"] is None


@pytest.mark.parametrize("corner", [(0, 0), (7, 13), (160, 41)])
def test_rectangles_that_move_are_compared_where_they_overlap(corner: tuple[int, int]) -> None:
    """The same pictures as part of a larger frame, shown a little different from frame to frame."""
    inspection = Inspection()
    for frame in FRAMES:
        down, right = frame % 3, frame % 4
        cut = np.s_[down : HEIGHT - 8 + down, right : WIDTH - 8 + right]
        light = plate(frame)
        shown = np.where(HOLE[..., None] > 0, own_grain(frame, light), light)
        at = corner[0] + down, corner[1] + right
        alpha = np.ascontiguousarray(HOLE[cut])
        inspection.add(frame_stats(frame, np.ascontiguousarray(shown[cut]), alpha, at, 2, 0))
    found = inspection.findings()
    assert found.warnings == ()
    assert found.warp_error < 3 * found.warp_error_outside


def test_every_job_tells_its_quality(run_shot: RunShot) -> None:
    matte = new_file({"A": HOLE.astype(np.float16)})
    plates = {
        frame: new_file(
            {name: plate(frame)[..., i].astype(np.float16) for i, name in enumerate("RGB")}
        )
        for frame in FRAMES
    }
    done = run_shot(plates, dict.fromkeys(FRAMES, matte), grow=0, soften=0)
    quality = json.loads(json.dumps(done.provenance["quality"], allow_nan=False))
    assert quality["frames"] == len(FRAMES)
    assert quality["outside_differing"] == 0
    assert quality["hole_pixels"] == len(FRAMES) * 50 * 70
    assert quality["seam_energy"] > 2
    assert any("an edge shows" in warning for warning in done.warnings)
    assert reader.decode(done.results[FRAMES.start]).rgb()[0, 0].tolist() == pytest.approx(
        plate(FRAMES.start)[0, 0].tolist(), abs=1e-3
    )


def test_a_shot_with_nothing_to_remove_has_nothing_to_measure(run_shot: RunShot) -> None:
    even = new_file({name: np.full((8, 8), 0.5, np.float16) for name in "RGB"})
    done = run_shot({1: even}, {1: new_file({"A": np.zeros((8, 8), np.float16)})})
    assert done.provenance["quality"]["frames"] == 0
    assert done.provenance["quality"]["flicker"] is None
