"""A shot as an engine sees it: `engines.base.Clip`, cropped, resampled and encoded to match its `InputSpec`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from voidbridge_backend.engines.base import InputSpec, Paint, Pixels, Quadmask
from voidbridge_backend.imaging.crop import Crop, moving, still, whole
from voidbridge_backend.imaging.curve import ModelSpace
from voidbridge_backend.imaging.mattes.quadmask import KEEP
from voidbridge_backend.imaging.region import Region, resampled
from voidbridge_protocol.operations.remove import RemoveSettings

from .inputs import Plates
from .mattes import Mattes
from .painted import PaintedFrames


@dataclass(frozen=True)
class EngineInput:
    """Frames in the engine's size and code, and the mapping back onto the canvas."""

    plates: Plates
    mattes: Mattes
    frames: Sequence[int]
    crop: Crop
    size: tuple[int, int]
    model: ModelSpace | None
    """None for an engine that works in scene-linear light."""
    paints: PaintedFrames | None = None

    @property
    def height(self) -> int:
        return self.size[0]

    @property
    def width(self) -> int:
        return self.size[1]

    def region(self, frame: int) -> Region:
        """Returns the part of the canvas that the engine sees in this frame."""
        return self.crop.regions[frame]

    def plate(self, frame: int) -> Pixels:
        region = self.region(frame)
        pixels = self.code(region.cut(self.plates.scene(frame)))
        return pixels if self.size == region.size else resampled(pixels, self.size)

    def quadmask(self, frame: int) -> Quadmask:
        return self.region(frame).classes_to_engine(self.mattes.hole(frame).codes, self.size)

    @property
    def painted(self) -> Sequence[int]:
        return self.paints.frames if self.paints else ()

    def paint(self, frame: int) -> Paint:
        assert self.paints is not None
        region, whole = self.region(frame), self.paints.paint(frame)
        light, weight = self.code(region.cut(whole.light)), region.cut(whole.weight)
        if self.size != region.size:
            light = resampled(light, self.size)
            weight = resampled(np.repeat(weight[..., None], 3, 2), self.size)[..., 0]
        return replace(whole, light=light, weight=weight)

    def has_hole(self, frame: int) -> bool:
        return self.mattes.has_hole(frame)

    def code(self, scene: Pixels) -> Pixels:
        """Converts scene-linear light to the engine's code."""
        return self.model.to_model(scene) if self.model else scene

    def from_code(self, pixels: Pixels) -> Pixels:
        """Inverse of `code`."""
        return self.model.from_model(pixels) if self.model else pixels


def crop_for(
    mattes: Mattes,
    frames: list[int],
    plate: tuple[int, int],
    input_spec: InputSpec,
    settings: RemoveSettings,
    pixel_aspect: float,
) -> Crop:
    """Returns the crop of a canvas of (height, width) for an engine.

    An engine of no fixed size sees everything. Others see square pixels: `pixel_aspect` is the plate's.
    """
    if input_spec.size is None or settings.region == "full":
        return whole(frames, plate)
    holes = {frame: _hole(mattes, frame) for frame in frames}
    high, wide = input_spec.size
    choose = moving if settings.region == "track" else still
    return choose(holes, plate, wide / high / pixel_aspect)


def _hole(mattes: Mattes, frame: int) -> Region | None:
    return Region.of(mattes.hole(frame).codes != KEEP) if mattes.has_hole(frame) else None
