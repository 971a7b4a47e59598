"""Turns an engine's pixels into a frame of the plate: seam, grain, merge.

The engine's pixels are used only under the hole, and no other pixel is computed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.base import InputSpec, Pixels
from voidbridge_backend.exr import reader
from voidbridge_backend.exr.part import CONFIDENCE, LAYER
from voidbridge_backend.imaging.bounds import bounded
from voidbridge_backend.imaging.color import sanitize
from voidbridge_backend.imaging.grain import Grain, Sample
from voidbridge_backend.imaging.mattes.quadmask import Weights
from voidbridge_backend.imaging.merge import merge
from voidbridge_backend.imaging.region import Region
from voidbridge_backend.imaging.seam import margin, membrane
from voidbridge_backend.quality.no_reference import MARGIN, FrameStats, frame_stats, step_for
from voidbridge_protocol.operations.remove import RemoveSettings

from .engine_input import EngineInput


@dataclass(frozen=True)
class Replaced:
    """A frame's new picture, and the area in which it differs from the plate.

    `words` the picture's channels over the whole data window, in the file's own types. `box` the rectangle of
    the frame's arrays that contains the hole. `alpha` [height, width] of the box: the weight of the result.
    `result` [height, width, 3] of the box: the generated picture alone, float32, in the file's values.
    `confidence` [height, width] of the box: how sure the engine is, 0 to 1; None if it does not tell.
    """

    words: dict[str, reader.Samples]
    box: Region
    alpha: Weights
    result: Pixels
    confidence: Weights | None = None


CONTENT_ROWS = 256
"""Rows of a picture by which it is told from others."""
REPEATS = 4
"""Frames that are looked through for one that is not the same again."""


class Composite:
    """Composites the frames of one shot, in any order and from any thread."""

    def __init__(
        self,
        view: EngineInput,
        input_spec: InputSpec,
        grain: Grain | None,
        settings: RemoveSettings,
    ) -> None:
        """`grain` is the plate's grain, or None to add none."""
        self._view = view
        self._input_spec = input_spec
        self._grain = grain
        self._settings = settings

    def frame(self, source: reader.Frame, frame: int, pixels: Pixels) -> Replaced | None:
        """Composites a frame. `pixels` are in the space and size of the engine's `InputSpec`. None if no pixel
        is replaced.
        """
        own, region = _own(source, self._view), self._view.region(frame)
        alpha = self._view.mattes.hole(frame).alpha
        visible = _only(alpha, own.overlap(region))
        box = Region.of(visible > 0)
        if box is None:
            return None
        light = self._light(frame, pixels[..., :3], visible > 0, box)
        result = self._view.plates.color.from_scene(light)
        place = box.within(own)
        weights = box.cut(visible)
        if self._grain is not None:
            seed, amount = self._settings.seed, self._settings.grain_amount
            result = self._grain.added(result, weights, seed, _content(source), amount)
        words = {}
        for name, plane in source.planes(result):
            samples = source.channels[name].copy()
            part = place.cut(samples)
            part[...] = merge(np.ascontiguousarray(part), np.ascontiguousarray(plane), weights)
            words[name] = samples
        sure = None
        if self._input_spec.confident:
            sure = box.within(region).cut(region.from_engine(pixels)[..., 3])
        return Replaced(words, place, weights, result, sure)

    def seen(self, source: reader.Frame, frame: int, made: Replaced) -> FrameStats:
        """Returns statistics of the result around its hole, for an `Inspection`."""
        whole = Region.whole((source.window.height, source.window.width))
        around = made.box.wider(MARGIN).overlap(whole)
        assert around is not None, "the hole lies in the frame"
        alpha = np.zeros(around.size, np.float32)
        made.box.within(around).paste(alpha, made.alpha)
        own = _own(source, self._view)
        differing = 0
        picture = np.empty((*around.size, 3), np.float32)
        gray = len(source.rgb_names) == 1
        for plane, name in enumerate(source.rgb_names):
            before, after = around.cut(source.channels[name]), around.cut(made.words[name])
            differing += int(
                np.count_nonzero((reader.bits(before) != reader.bits(after)) & (alpha == 0))
            )
            planes = slice(None) if gray else slice(plane, plane + 1)
            picture[..., planes] = after[..., None]
        light = bounded(sanitize(self._view.plates.color.to_scene(picture)))
        corner = around.top + own.top, around.left + own.left
        step = step_for(self._view.plates.canvas.height, self._view.plates.canvas.width)
        return frame_stats(frame, light, alpha, corner, step, differing)

    def _light(self, frame: int, pixels: Pixels, hole: NDArray[np.bool_], box: Region) -> Pixels:
        """Returns the engine's picture over `box` of the canvas, scene-linear, matched to the plate around the
        hole.
        """
        region = self._view.region(frame)
        code = region.from_engine(pixels)
        if self._input_spec.joins:
            return self._view.from_code(box.within(region).cut(code))
        high, wide = region.height / pixels.shape[0], region.width / pixels.shape[1]
        scale = max(high, wide)
        wider = box.wider(margin(scale)).overlap(region)
        assert wider is not None, "the hole lies in the region"
        picture = wider.within(region).cut(code)
        around = self._view.code(wider.cut(self._view.plates.scene(frame)))
        joined = picture + membrane(around, picture, wider.cut(hole), scale)
        return self._view.from_code(box.within(wider).cut(joined))


def _content(source: reader.Frame) -> int:
    """A number that is the same for frames whose pictures are: a frame that is repeated repeats its grain."""
    rows = max(1, source.window.height // CONTENT_ROWS)
    digest = hashlib.blake2b(digest_size=4)
    for name in source.rgb_names:
        digest.update(np.ascontiguousarray(source.channels[name][::rows]).tobytes())
    return int.from_bytes(digest.digest(), "big")


def _own(source: reader.Frame, view: EngineInput) -> Region:
    """Returns the place of a frame's arrays on the canvas."""
    canvas, window = view.plates.canvas, source.window
    return Region(window.xmin - canvas.xmin, window.ymin - canvas.ymin, window.width, window.height)


def _only(alpha: Weights, selected: Region | None) -> Weights:
    """Returns `alpha` of the canvas inside `selected`, 0 elsewhere."""
    visible = np.zeros_like(alpha)
    if selected is not None:
        selected.paste(visible, selected.cut(alpha))
    return visible


def layer_of(source: reader.Frame, made: Replaced | None) -> dict[str, reader.Samples]:
    """Returns the result as channels of the layer `voidbridge`: not premultiplied, 0 outside the hole.

    R, G and B have the types of the picture's, the matte A is half; of a gray picture all three are the same. For
    artists who merge themselves.
    """
    size = source.window.height, source.window.width
    layer: dict[str, reader.Samples] = {f"{LAYER}.A": np.zeros(size, np.float16)}
    owners = source.rgb_names * 3 if len(source.rgb_names) == 1 else source.rgb_names
    for plane, (name, own) in enumerate(zip("RGB", owners, strict=True)):
        samples = np.zeros(size, source.channels[own].dtype)
        if made is not None:
            part = made.box.cut(samples)
            shown = 1 if len(source.rgb_names) == 1 else plane
            alone = np.ascontiguousarray(made.result[..., shown])
            whole = (made.alpha > 0).astype(np.float32)
            part[...] = merge(np.zeros_like(part), alone, whole)
        layer[f"{LAYER}.{name}"] = samples
    if made is not None:
        made.box.paste(layer[f"{LAYER}.A"], made.alpha.astype(np.float16))
    return layer


def confidence_of(source: reader.Frame, made: Replaced | None) -> dict[str, reader.Samples]:
    """Returns the channel `voidbridge.confidence`, half: 1 outside the hole and where the engine is sure."""
    sure = np.ones((source.window.height, source.window.width), np.float16)
    if made is not None and made.confidence is not None:
        inside = np.where(made.alpha > 0, made.confidence, 1)
        made.box.paste(sure, inside.astype(np.float16))
    return {CONFIDENCE: sure}


def grain_of(view: EngineInput, most: int = 5) -> tuple[Grain | None, bool]:
    """The plate's grain, from the kept pixels of frames spread over the shot, or None; whether it lacks room.

    Grain is what differs between a frame and the next other one: a shot whose frames are all the same has none.
    """
    sample = Sample()
    frames = view.frames
    for index in range(0, len(frames), max(1, -(-len(frames) // most))):
        source = view.plates.frame(frames[index])
        free = _own(source, view).cut(view.mattes.hole(frames[index]).alpha) == 0
        if len(frames) == 1:
            sample.add(source.rgb(), free)
        for other in _others(view, index):
            both = free & (_own(source, view).cut(view.mattes.hole(other).alpha) == 0)
            there = view.plates.frame(other)
            if there.window == source.window and not _same(source, there):
                sample.add(source.rgb(), both, there.rgb())
                break
    return sample.measured(), sample.lacks_room


def _others(view: EngineInput, index: int) -> list[int]:
    """Frames near the one at `index`, those after it first."""
    near = view.frames[index + 1 : index + 1 + REPEATS]
    return [*near, *reversed(view.frames[max(index - REPEATS, 0) : index])]


def _same(one: reader.Frame, two: reader.Frame) -> bool:
    """Whether a frame is there twice, as in a retimed shot."""
    return all(
        np.array_equal(reader.bits(one.channels[a]), reader.bits(two.channels[b]))
        for a, b in zip(one.rgb_names, two.rgb_names, strict=True)
    )
