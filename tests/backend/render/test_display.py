"""Pictures for looking at: the cube shows what the config's own view would show."""

from __future__ import annotations

import numpy as np
import PyOpenColorIO as ocio
import pytest

from voidbridge_backend.imaging.color import BUILTIN, ColorPlan
from voidbridge_backend.imaging.display import shown, views

DISPLAY = "sRGB - Display"


def ramp() -> np.ndarray:
    """[64, 256, 3]: colors of film over 12 stops, none outside of the gamut of a display."""
    light = np.exp2(np.linspace(-8, 4, 256, dtype=np.float32))[None, :, None]
    tint = np.random.default_rng(5).uniform(0.6, 1, (64, 1, 3)).astype(np.float32)
    return np.ascontiguousarray(light * tint)


@pytest.mark.parametrize("view", ["ACES 2.0 - SDR 100 nits (Rec.709)", "Un-tone-mapped"])
def test_the_cube_is_close_to_the_exact_view(view: str) -> None:
    light, color = ramp(), ColorPlan.choose("ACEScg")
    config = ocio.Config.CreateFromBuiltinConfig(BUILTIN)
    transform = ocio.DisplayViewTransform(src="ACEScg", display=DISPLAY, view=view)
    exact = light.copy()
    config.getProcessor(transform).getDefaultCPUProcessor().applyRGB(exact)
    error = np.abs(shown(light, color, DISPLAY, view) - 255 * exact.clip(0, 1))
    assert error.mean() < 0.5
    assert error.max() < 4


def test_one_stop_is_twice_the_light() -> None:
    light, color = ramp(), ColorPlan.choose("ACEScg")
    brighter = shown(light, color, DISPLAY, "Un-tone-mapped", exposure=1.0)
    assert (
        np.abs(brighter - shown(2 * light, color, DISPLAY, "Un-tone-mapped").astype(int)).max() <= 1
    )


def test_gamma_lifts_the_middle_and_keeps_the_ends() -> None:
    light = np.array([[[0, 0, 0], [0.18, 0.18, 0.18], [40, 40, 40]]], np.float32)
    color = ColorPlan.choose("ACEScg")
    plain, lifted = (shown(light, color, DISPLAY, "Un-tone-mapped", gamma=g) for g in (1.0, 1.5))
    assert lifted[0, 0].max() == 0
    assert lifted[0, 2].min() >= 254
    assert (lifted[0, 1] > plain[0, 1] + 20).all()


def test_values_that_are_no_light_are_shown_and_not_raised() -> None:
    light = np.array([[[np.nan, np.inf, -np.inf], [-1, 1e30, 0]]], np.float32)
    codes = shown(light, ColorPlan.choose("ACEScg"), DISPLAY, "Un-tone-mapped")
    assert codes.shape == (1, 2, 3)


def test_a_log_plate_is_shown_as_its_light() -> None:
    log, linear = ColorPlan.choose("ACEScct"), ColorPlan.choose("ACEScg")
    encoded = log.from_scene(ramp())
    codes = shown(log.to_scene(encoded), log, DISPLAY, "Un-tone-mapped")
    assert np.abs(codes - shown(ramp(), linear, DISPLAY, "Un-tone-mapped").astype(int)).max() <= 1


def test_the_configs_default_view_comes_first() -> None:
    found = views()
    assert next(iter(found)) == DISPLAY
    assert found[DISPLAY][0] == "ACES 2.0 - SDR 100 nits (Rec.709)"
    assert "Raw" in found[DISPLAY]
