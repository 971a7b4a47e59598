"""A picture from a model's space comes back as light that meets the plate, in place."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import OpenEXR
import pytest
from numpy.typing import NDArray

from voidbridge_backend.engines.base import Clip, InputSpec, JobContext, Pixels
from voidbridge_backend.exr import reader
from voidbridge_backend.exr.new.file import new_file
from voidbridge_protocol.operations.remove import RemoveSettings

RunShot = Callable[..., Any]
HEIGHT, WIDTH = 96, 160


@dataclass
class Dreamer:
    """Stands in for a model: sees a picture small, in 8 bits, and returns it `gain` times as bright.

    It never answers more than code 1, and paints `paint` where the object was, if given.
    """

    size: tuple[int, int] | None = None
    gain: float = 1.0
    paint: float | None = None
    name: str = "dreamer"

    def input_spec(self, height: int, width: int, settings: RemoveSettings) -> InputSpec:
        return InputSpec("model", self.size, grained=True)

    def describe(self) -> dict[str, Any]:
        return {"engine": self.name}

    def remove(
        self,
        clip: Clip,
        settings: RemoveSettings,
        watch: JobContext,
        wanted: Collection[int] | None = None,
    ) -> Iterator[tuple[int, Pixels]]:
        for frame in clip.frames:
            if clip.has_hole(frame):
                code = np.clip(clip.plate(frame) * np.float32(self.gain), 0, 1)
                if self.paint is not None:
                    code[clip.quadmask(frame) != 255] = self.paint
                yield frame, (np.round(code * 255) / 255).astype(np.float32)


def files(light: Pixels, hole: NDArray[np.bool_]) -> tuple[bytes, bytes]:
    plate = {name: light[..., i].astype(np.float16) for i, name in enumerate("RGB")}
    return new_file(plate), new_file({"A": hole.astype(np.float16)})


def middle() -> NDArray[np.bool_]:
    hole = np.zeros((HEIGHT, WIDTH), bool)
    hole[36:60, 60:100] = True
    return hole


def slope(low: float, high: float) -> Pixels:
    steps = np.geomspace(low, high, WIDTH, dtype=np.float32)
    return np.broadcast_to(steps[None, :, None], (HEIGHT, WIDTH, 3)).copy()


def test_a_sky_of_40_that_the_model_fills_with_white_comes_back_as_one(run_shot: RunShot) -> None:
    sky = slope(30, 50)
    plate, matte = files(sky, middle())
    done = run_shot({1: plate}, {1: matte}, Dreamer(paint=0.97), grow=2, soften=2)
    result = reader.decode(done.results[1]).rgb()
    assert (np.abs(result / sky - 1)[middle()] < 0.25).all()
    rim = middle() & ~cv2.erode(middle().astype(np.uint8), np.ones((5, 5))).astype(bool)
    assert np.abs((result / sky)[rim].mean() - 1) < 0.15


@pytest.mark.parametrize("gain", [0.95, 1.05])
@pytest.mark.parametrize("low", [0.02, 0.2, 3.0])
def test_a_picture_that_is_too_dark_or_too_bright_shows_no_edge(
    run_shot: RunShot, gain: float, low: float
) -> None:
    light = slope(low, 2 * low)
    plate, matte = files(light, middle())
    done = run_shot({1: plate}, {1: matte}, Dreamer(gain=gain), grow=0, soften=0)
    result = reader.decode(done.results[1]).rgb()
    assert np.abs(result / light - 1)[middle()].max() < 0.04


@pytest.mark.parametrize("region", ["union", "track", "full"])
def test_what_goes_in_comes_back_in_place_for_every_region(run_shot: RunShot, region: str) -> None:
    """Soft stripes both ways, seen at two thirds of their size, the hole walking along."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    light = 0.3 + 0.1 * np.sin(x * 0.35) + 0.1 * np.sin(y * 0.3)
    light = np.repeat(light[..., None], 3, axis=-1).astype(np.float32)
    plates, mattes = {}, {}
    for frame in range(995, 1003):
        hole = np.roll(middle(), 4 * (frame - 999), axis=1)
        plates[frame], mattes[frame] = files(light, hole)
    size = {"union": (48, 80), "track": (40, 66), "full": (64, 106)}[region]
    done = run_shot(plates, mattes, Dreamer(size), grow=0, soften=0, region=region)
    for frame in plates:
        result = reader.decode(done.results[frame]).rgb()
        hole = np.roll(middle(), 4 * (frame - 999), axis=1)
        assert shift(light[..., 0], result[..., 0], hole) == pytest.approx((0, 0), abs=0.02)
    assert done.provenance["region"]["seen_at"] == list(size[::-1])


@pytest.mark.parametrize("region", ["union", "full"])
@pytest.mark.parametrize("name", ["checkerboard", "fine lines"])
def test_sharp_patterns_do_not_move_either(run_shot: RunShot, name: str, region: str) -> None:
    """Squares of 7 pixels, lines of one; after a blur of both, as aliases of a shrunk line are no shift."""
    y, x = np.mgrid[:288, :480].astype(np.float32)
    light = {
        "checkerboard": 0.2 + 0.2 * ((x // 7 + y // 7) % 2),
        "fine lines": 0.2 + 0.2 * ((x % 11 == 3) | (y % 11 == 7)),
    }[name]
    hole = np.zeros(light.shape, bool)
    hole[6:282, 10:470] = True
    plate, matte = files(np.repeat(light[..., None], 3, axis=-1), hole)
    done = run_shot({1: plate}, {1: matte}, Dreamer((190, 317)), grow=0, soften=0, region=region)
    result = reader.decode(done.results[1]).rgb()[..., 0]
    soft = [cv2.GaussianBlur(one.astype(np.float64), (0, 0), 2) for one in (light, result)]
    inner = cv2.erode(hole.astype(np.uint8), np.ones((17, 17), np.uint8)) > 0
    assert shift(soft[0], soft[1], inner) == pytest.approx((0, 0), abs=0.02)


def shift(before: NDArray[Any], after: NDArray[Any], hole: NDArray[np.bool_]) -> tuple[float, ...]:
    """(x, y) that best explains `after` as a moved `before` inside the hole: Lucas and Kanade."""
    down, across = np.gradient(before.astype(np.float64))
    slopes = np.stack([across[hole], down[hole]], axis=-1)
    moved, *_ = np.linalg.lstsq(slopes, (before - after)[hole].astype(np.float64), rcond=None)
    return tuple(moved.tolist())


def test_the_measure_of_the_shift_sees_a_twentieth_of_a_pixel() -> None:
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    before, after = np.sin(x * 0.35) + np.sin(y * 0.3), np.sin((x - 0.05) * 0.35) + np.sin(y * 0.3)
    assert shift(before, after, middle()) == pytest.approx((0.05, 0), abs=0.005)


def test_a_whole_frame_for_a_large_object_is_said(run_shot: RunShot) -> None:
    hole = np.zeros((HEIGHT, WIDTH), bool)
    hole[40:50, 2:158] = True
    plate, matte = files(slope(0.2, 0.3), hole)
    done = run_shot({1: plate}, {1: matte}, Dreamer((64, 64)), grow=0, soften=0)
    assert any("sees the whole frame" in warning for warning in done.warnings)
    assert done.provenance["region"]["width"] == WIDTH


def test_an_anamorphic_plate_is_seen_with_square_pixels(run_shot: RunShot) -> None:
    light = slope(0.2, 0.3)
    data = []
    for channels in (
        {name: light[..., i].astype(np.float16) for i, name in enumerate("RGB")},
        {"A": middle().astype(np.float16)},
    ):
        file = io.BytesIO()
        header = {
            "compression": OpenEXR.ZIP_COMPRESSION,
            "type": OpenEXR.scanlineimage,
            "pixelAspectRatio": 2.0,
        }
        OpenEXR.File(header, channels).write(file)
        data.append(file.getvalue())
    done = run_shot({1: data[0]}, {1: data[1]}, Dreamer((32, 32)), grow=0, soften=0)
    region = done.provenance["region"]
    assert region["width"] * 2 == pytest.approx(region["height"], abs=2)
