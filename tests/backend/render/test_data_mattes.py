"""Mattes are data: what color management did to a quadmask is refused, or undone where that is wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from voidbridge_backend.exr import reader
from voidbridge_backend.exr.new.file import new_file
from voidbridge_protocol.errors import BadMatte

RunShot = Callable[..., Any]
CODES = np.full((20, 24), 255.0)
CODES[4:10, 4:10], CODES[4:10, 10:13], CODES[10:14, 4:10] = 0, 63, 127
PLATE = new_file({name: np.full(CODES.shape, 0.5, np.float16) for name in "RGB"})


def srgb_decoded(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def srgb_encoded(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.0031308, v * 12.92, 1.055 * v ** (1 / 2.4) - 0.055)


TRANSFORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "read as sRGB": srgb_decoded,
    "written as sRGB": srgb_encoded,
    "read with a gamma of 2.2": lambda v: v**2.2,
    "read with a gamma of 2.4": lambda v: v**2.4,
}


def matte(name: str) -> bytes:
    return new_file({"Y": TRANSFORMS[name](CODES / 255).astype(np.float16)})


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_quadmask_that_was_transformed_is_refused_with_a_way_out(
    run_shot: RunShot, name: str
) -> None:
    with pytest.raises(BadMatte, match=name) as refusal:
        run_shot({1: PLATE}, {1: matte(name)})
    assert "--matte-color undo" in refusal.value.hint


@pytest.mark.parametrize("name", TRANSFORMS)
def test_what_was_done_to_a_quadmask_is_undone(run_shot: RunShot, name: str) -> None:
    plain = new_file({"Y": (CODES / 255).astype(np.float16)})
    wanted = run_shot({1: PLATE}, {1: plain}, grow=0, soften=0)
    done = run_shot({1: PLATE}, {1: matte(name)}, grow=0, soften=0, matte_color="undo")
    found = reader.decode(done.results[1]).rgb()
    assert found.tobytes() == reader.decode(wanted.results[1]).rgb().tobytes()
    assert done.provenance["matte"]["kind"] == "quadmask"
    assert any(name in warning and "undone" in warning for warning in done.warnings)


def test_a_frame_that_is_only_affected_is_a_hole_after_undoing(run_shot: RunShot) -> None:
    only = np.where(CODES == 127, 127, 255) / 255
    mattes = {1: matte("read as sRGB"), 2: new_file({"Y": srgb_decoded(only).astype(np.float16)})}
    done = run_shot({1: PLATE, 2: PLATE}, mattes, grow=0, soften=0, matte_color="undo", seed=1)
    changed = reader.decode(done.results[2]).rgb()[..., 0] != 0.5
    assert np.array_equal(changed, CODES == 127)


def test_a_quadmask_as_it_should_be_is_left_alone(run_shot: RunShot) -> None:
    plain = new_file({"Y": (CODES / 255).astype(np.float16)})
    one, two = (
        run_shot({1: PLATE}, {1: plain}, matte_color=choice) for choice in ("refuse", "undo")
    )
    same = [reader.decode(done.results[1]).rgb().tobytes() for done in (one, two)]
    assert same[0] == same[1]
    assert not any("undone" in warning for warning in two.warnings)


def test_a_frame_without_the_matte_s_channel_is_named(run_shot: RunShot) -> None:
    set_ = np.full(CODES.shape, 0.0, np.float16)
    set_[4:10, 4:10] = 1
    mattes = {1: new_file({"A": set_}), 2: new_file({"R": set_}), 3: new_file({"A": set_})}
    with pytest.raises(BadMatte, match="matte frame 2 lacks the channel A"):
        run_shot(dict.fromkeys((1, 2, 3), PLATE), mattes)
