"""The model's code and back: exact, unclamped, and the same for every frame of a shot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from voidbridge_backend.imaging.color import ColorPlan
from voidbridge_backend.imaging.curve import (
    KNEE_LIGHT,
    Grade,
    ModelSpace,
    ShotExposure,
    decoded,
    encoded,
)

PEAKS = [1.0, 2.0, 16.0, 200.0, 5000.0]
GRADES = [Grade(), Grade(1, 16), Grade(0.25, 4), Grade(40, 1)]


def ramp(low: float, high: float) -> NDArray[np.float32]:
    """Evenly and in stops, through zero, as [rows, columns, 3]."""
    even = np.linspace(low, high, 6000)
    stops = np.geomspace(1e-7, high, 6000)
    return (
        np.concatenate([even, stops, -stops[stops < -low]])[:9999]
        .astype(np.float32)
        .reshape(33, 101, 3)
    )


@pytest.mark.parametrize("peak", PEAKS)
def test_the_curve_is_undone_on_all_light(peak: float) -> None:
    light = ramp(-0.1, 200)
    back = decoded(encoded(light, peak), peak)
    assert (np.abs(back - light) <= 4e-6 * np.abs(light) + 1e-8).all()


@pytest.mark.parametrize("grade", GRADES, ids=str)
@pytest.mark.parametrize("declared", ["ACEScg", "ACES2065-1", "lin_rec709"])
def test_the_model_space_is_undone_on_all_light(declared: str, grade: Grade) -> None:
    """Of a pixel's largest component: a matrix mixes them, and float32 has 24 bits for the sum."""
    space = ModelSpace(ColorPlan.choose(declared).to_rec709, grade)
    light = np.stack(
        [np.random.default_rng(0).permutation(ramp(-0.1, 200).ravel()) for _ in range(3)], -1
    )
    light = light.reshape(101, -1, 3)
    back = space.from_model(space.to_model(light))
    largest = np.abs(light).max(axis=-1, keepdims=True)
    assert (np.abs(back - light) <= 1e-5 * largest + 1e-8).all()


@pytest.mark.parametrize("peak", PEAKS)
def test_below_the_knee_the_code_is_srgb(peak: float) -> None:
    light = np.linspace(0, KNEE_LIGHT, 300).astype(np.float32).reshape(10, 10, 3)
    srgb = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.allclose(encoded(light, peak), srgb, atol=2e-7)
    assert np.allclose(encoded(-light, peak), -srgb, atol=2e-7)


@pytest.mark.parametrize("peak", PEAKS)
def test_the_curve_rises_without_a_step_or_a_kink(peak: float) -> None:
    light = np.linspace(KNEE_LIGHT * 0.98, KNEE_LIGHT * 1.02, 3 * 401).reshape(-1, 1, 3)
    codes = encoded(light, peak).ravel()  # type: ignore[arg-type]  # in float64, to see the slopes
    slopes = np.diff(codes) / np.diff(light.ravel())
    assert (slopes > 0).all()
    assert slopes[: len(slopes) // 2 - 1].min() == pytest.approx(slopes.max(), rel=0.05)
    assert np.abs(np.diff(slopes) / slopes[1:]).max() < 0.01


@pytest.mark.parametrize("peak", PEAKS)
def test_the_peak_is_white_and_what_is_brighter_is_above(peak: float) -> None:
    codes = encoded(np.array([[[peak, peak * 2, 60000]]], np.float32), peak).ravel()
    assert codes[0] == pytest.approx(1, abs=1e-6)
    assert codes[0] < codes[1] < codes[2]


@given(st.floats(-50, 50, width=32), st.sampled_from(PEAKS))
def test_whatever_a_model_answers_is_finite_light(code: float, peak: float) -> None:
    light = decoded(np.full((1, 1, 3), code, np.float32), peak)
    assert np.isfinite(light).all()
    assert (light * code >= 0).all()


def exposure(*frames: NDArray[np.float32]) -> ShotExposure:
    seen = ShotExposure()
    for frame in frames:
        seen.add(frame)
    return seen


def noise(median: float, seed: int = 0) -> NDArray[np.float32]:
    """[60, 80, 3], gray, spread over a stop or two."""
    gray = median * np.exp2(np.random.default_rng(seed).normal(0, 0.7, (60, 80, 1)))
    return np.repeat(gray, 3, axis=-1).astype(np.float32)


@pytest.mark.parametrize("median", [0.02, 0.18, 0.8])
def test_an_ordinary_shot_keeps_its_exposure(median: float) -> None:
    assert exposure(noise(median)).grade().gain == 1


@pytest.mark.parametrize(("median", "becomes"), [(100, 1.0), (1e-4, 0.01)])
def test_a_shot_in_other_units_is_brought_near(median: float, becomes: float) -> None:
    grade = exposure(noise(median)).grade()
    assert median * grade.gain == pytest.approx(becomes, rel=0.1)


def test_the_peak_is_that_of_the_highlights_and_not_of_a_firefly() -> None:
    frame = noise(0.5)
    assert exposure(frame).grade().peak == pytest.approx(np.quantile(frame, 0.999), rel=0.1)
    frame[5:15, 5:15] = 30
    frame[40, 40] = 1e6
    assert exposure(frame).grade().peak == pytest.approx(30, rel=0.05)
    assert exposure(noise(0.05)).grade().peak == 1


def test_the_order_of_frames_does_not_matter() -> None:
    frames = [noise(0.1 * n, n) for n in range(1, 5)]
    whole, half, other = exposure(*frames), exposure(*frames[2:]), exposure(*frames[:2])
    half.merge(other)
    assert whole.grade() == half.grade() == exposure(*reversed(frames)).grade()


def test_what_is_not_finite_is_not_counted() -> None:
    frame = noise(0.18)
    wild = np.concatenate([frame, np.full_like(frame, np.nan), np.full_like(frame, np.inf)])
    assert exposure(wild).grade() == exposure(frame).grade()
    assert exposure(np.zeros((4, 4, 3), np.float32)).grade() == Grade()
