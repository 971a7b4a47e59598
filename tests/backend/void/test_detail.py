"""Detail is added in tiles that do not show, and only where it is asked for."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from voidbridge_backend.engines.void.engine import Void
from voidbridge_backend.engines.void.files.networks import denoiser, scheduler_config
from voidbridge_backend.engines.void.model.denoiser import Conditions, Text
from voidbridge_backend.engines.void.options import Options
from voidbridge_backend.engines.void.passes import pipeline
from voidbridge_backend.engines.void.passes.detail import (
    FINEST,
    OVERLAP,
    Place,
    Smaller,
    Tiling,
    enlarged,
    enlargement,
)
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.remove import RemoveSettings

SMALL = Options(height=32, width=48, window=21, steps=4, fineness=2)
PLAIN = RemoveSettings(engine="void", prompt="a table")
FINE = replace(PLAIN, detail=0.25)


class Heard:
    def __init__(self) -> None:
        self.stages: list[str] = []

    def step(self, stage: str, done: int, of: int) -> None:
        self.stages.append(stage)

    def warn(self, text: str) -> None: ...


def wave(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


@pytest.mark.parametrize(
    ("size", "tile"),
    [((48, 84), (48, 84)), ((96, 168), (48, 84)), ((270, 480), (48, 84)), ((50, 20), (48, 84))],
)
def test_tiles_cover_the_picture_and_overlap(size: tuple[int, int], tile: tuple[int, int]) -> None:
    places = Tiling(size, tile).places
    covered = torch.zeros(size)
    for rows, columns in places:
        covered[rows, columns] += 1
        for span, most, whole in zip((rows, columns), tile, size, strict=True):
            assert 0 <= span.start < span.stop <= whole
            assert span.stop - span.start == min(most, whole)
            assert span.start % 2 == 0 or whole % 2
    assert (covered > 0).all()
    for axis in (0, 1):
        spans = sorted({(place[axis].start, place[axis].stop) for place in places})
        for (_, stop), (start, _) in pairwise(spans):
            assert stop - start >= OVERLAP


def test_what_does_not_depend_on_the_tile_is_not_changed_by_tiles() -> None:
    field = wave(1, 4, 16, 40, 60)

    def predict(seen: Tensor, run: slice, place: Place, timestep: int) -> Tensor:
        return seen * 2 + field[:, run, :, place[0], place[1]]

    whole = Tiling((40, 60), (24, 32)).tiled(predict)
    seen = wave(1, 4, 16, 40, 60) + 1
    found = whole(seen, slice(0, 4), 500)
    torch.testing.assert_close(found, seen * 2 + field)


def test_tiles_that_disagree_fade_into_each_other() -> None:
    def predict(seen: Tensor, run: slice, place: Place, timestep: int) -> Tensor:
        return torch.full_like(seen, float(place[1].start))

    found = Tiling((32, 80), (32, 48)).tiled(predict)(torch.zeros(1, 2, 16, 32, 80), slice(0, 2), 1)
    steps = found[0, 0, 0, 0].diff()
    assert (steps >= 0).all()
    assert float(steps.max()) < 0.1 * float(found.max())


def test_one_tile_is_no_tile(tiny: Path) -> None:
    network = denoiser(tiny, 1, torch.float32)
    known = Conditions(wave(1, 6, 16, 4, 6), wave(1, 6, 16, 4, 6))
    arguments: Any = (
        network,
        scheduler_config(tiny),
        known,
        wave(1, 6, 16, 4, 6),
        Text(wave(1, 226, 16)),
        replace(pipeline.FIRST, steps=4, window=21, strength=0.5),
        lambda done, of: None,
    )
    plain = pipeline.denoised(*arguments)
    for tile in ((4, 6), (48, 84)):
        assert torch.equal(pipeline.denoised(*arguments, tiling=Tiling((4, 6), tile)), plain)
    # What it starts from is the plate unless it is said.
    assert torch.equal(pipeline.denoised(*arguments, start=known.plate), plain)
    assert not torch.equal(pipeline.denoised(*arguments, start=known.plate + 1), plain)


def test_without_detail_nothing_is_other_than_before(tiny: Path, small_clip: type) -> None:
    engine, heard = Void(tiny, "cpu", SMALL), Heard()
    assert engine.input_spec(500, 900, PLAIN).size == (32, 48)
    list(engine.remove(small_clip(2), PLAIN, heard))
    assert not {"enlarging", "adding detail"} & set(heard.stages)


def test_detail_is_added_at_a_whole_multiple_of_the_model_s_size(
    tiny: Path, small_clip: type
) -> None:
    engine, heard = Void(tiny, "cpu", SMALL), Heard()
    assert engine.input_spec(60, 90, FINE).size == (64, 96)
    assert engine.input_spec(90, 60, FINE).size == (96, 64)
    clip = small_clip(3, height=64, width=96)
    found = dict(engine.remove(clip, FINE, heard))
    assert list(found) == [1001, 1002, 1003]
    assert all(pixels.shape == (64, 96, 3) for pixels in found.values())
    assert all(np.isfinite(pixels).all() for pixels in found.values())
    assert {"removing", "enlarging", "adding detail", "finishing"} <= set(heard.stages)
    again = dict(engine.remove(clip, FINE, Heard()))
    assert all(np.array_equal(found[frame], again[frame]) for frame in found)
    stronger = dict(engine.remove(clip, replace(FINE, detail=0.9), Heard()))
    assert not np.array_equal(found[1001], stronger[1001])


@pytest.mark.parametrize(
    ("region", "times"),
    [((384, 672), 1), ((300, 500), 1), ((385, 672), 2), ((1080, 1920), 3), ((4320, 7680), FINEST)],
)
def test_the_enlargement_reaches_the_plate_s_resolution(
    region: tuple[int, int], times: int
) -> None:
    assert enlargement(region, (384, 672)) == times


def test_the_small_clip_is_the_large_one_averaged_and_its_hole_is_no_smaller(
    small_clip: type,
) -> None:
    clip = small_clip(2, height=64, width=96)
    small = Smaller(clip, 2)
    assert (small.height, small.width, list(small.frames)) == (32, 48, [1001, 1002])
    expected = clip.plate(1001)[:2, :2].mean(axis=(0, 1))
    np.testing.assert_allclose(small.plate(1001)[0, 0], expected, rtol=1e-6)
    assert small.plate(1001).dtype == np.float32
    large = clip.quadmask(1001)
    for code in (0, 127):
        wide = np.kron(small.quadmask(1001) <= code, np.ones((2, 2), bool))
        assert (wide | (large > code)).all()


def test_frames_are_enlarged_only_where_they_are_smaller() -> None:
    frame = wave(1, 3, 1, 8, 12)
    assert next(enlarged(iter([frame]), (8, 12))) is frame
    large = next(enlarged(iter([torch.full((1, 3, 1, 8, 12), 0.5)]), (16, 24)))
    torch.testing.assert_close(large, torch.full((1, 3, 1, 16, 24), 0.5))


@pytest.mark.parametrize("detail", [-0.1, 1.0, float("nan")])
def test_a_detail_that_cannot_be_is_refused(detail: float) -> None:
    with pytest.raises(BadSetting, match="detail"):
        RemoveSettings(detail=detail)
