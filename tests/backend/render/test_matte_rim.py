"""The corners of a matte are the object's, however small it is: nothing of them stays where no frame shows more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from voidbridge_backend.engines.cleanplate.engine import Cleanplate
from voidbridge_backend.exr import reader
from voidbridge_backend.exr.new.file import new_file

RunShot = Callable[..., Any]


@pytest.mark.parametrize("radius", [4, 6, 11])
@pytest.mark.parametrize(("grow", "soften"), [(8, 8), (2, 1)])
def test_no_pixel_of_the_object_is_taken_for_growth(
    run_shot: RunShot, radius: float, grow: int, soften: int
) -> None:
    rows, columns = np.indices((96, 128))
    marker = np.hypot(rows - 40, columns - 60) < radius
    noise = 0.006 * np.random.default_rng(1).standard_normal((96, 128))
    light = np.where(marker, 0.9, 0.1 + noise).astype(np.float16)
    plates = {1: new_file(dict.fromkeys("RGB", light))}
    mattes = {1: new_file({"A": marker.astype(np.float16)})}
    done = run_shot(plates, mattes, Cleanplate(), grow=grow, soften=soften)
    assert reader.decode(done.results[1]).rgb()[marker].max() < 0.2
