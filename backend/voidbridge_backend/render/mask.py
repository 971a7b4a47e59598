"""Runs the operation `mask`: plate and prompts in, one multi-part OpenEXR file for each frame out.

A result has the part `quadmask` (channel Y, codes / 255), and one part for each object (channel A, 0 to 1). All
have the plate's windows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np

from voidbridge_backend.engines.base import JobContext, Pixels
from voidbridge_backend.engines.mask_base import Clicks, Masker, Matte, Picture, Prompts
from voidbridge_backend.exr import reader
from voidbridge_backend.exr.header import Header, Window
from voidbridge_backend.exr.layers import choose_picture
from voidbridge_backend.imaging.color import ColorPlan
from voidbridge_backend.imaging.mattes.quadmask import on_window
from voidbridge_backend.sequences.patterns import compact
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.mask import (
    PERCENT,
    TOP_LEFT,
    MaskObject,
    MaskSettings,
    Point,
    key_role,
)

from .inputs import InputFiles, LruCache, Plates, canvas_of, model_space
from .job import (
    Announce,
    NotedContext,
    RenderJob,
    header_attributes,
    provenance_of,
    write_provenance,
)
from .masking.affected import Seen, offered
from .masking.object_mattes import ObjectMattes, encoded
from .matte_survey import SET, MatteSurvey
from .results import EncodedFrame, ResultWriter

PICTURES_BYTES = 64 << 20
"""Bytes of cached pictures in the engine's size."""


def run(order: RenderJob, engine: Masker, watch: JobContext, announce: Announce) -> dict[str, Any]:
    """Tracks every object and writes FRAME.exr for every requested frame. Returns and writes the provenance.

    Raises `RequestError` or `JobError`.
    """
    settings = order.request.settings
    assert isinstance(settings, MaskSettings)
    watch = noted = NotedContext(watch)
    shot = _Shot.opened(order, settings, engine, watch)
    provenance = provenance_of(order, engine)
    tracked = [
        _tracked(shot, engine, index, target, watch)
        for index, target in enumerate(settings.masked())
    ]
    for mattes in tracked:
        for note in mattes.notes():
            watch.warn(note)
    if settings.rules:
        seen = Seen(shot.picture, shot.frames, shot.size)
        tracked += offered(seen, tracked, settings.rules, watch)
    attributes = header_attributes(provenance, ("engine", "operation", "settings"))
    wanted = range(order.request.first, order.request.last + 1)
    with ResultWriter[None](order, announce) as results:
        for frame in wanted:
            watch.step("writing mattes", frame - wanted.start, len(wanted))
            results.put(
                frame,
                partial(_encoded, shot, tracked, frame, attributes, settings),
            )
    provenance["objects"] = {
        mattes.name: {
            "role": mattes.role,
            "scores": {str(frame): score for frame, score in sorted(mattes.scores.items())},
            "absent": mattes.absent,
        }
        for mattes in tracked
    }
    provenance["notes"] = noted.notes
    write_provenance(order, provenance)
    return provenance


@dataclass(frozen=True)
class _Shot:
    """The plate as the engine sees it, and the mapping of prompts to its pixels."""

    source: InputFiles
    header: Header
    canvas: Window
    frames: list[int]
    first: int
    """The first frame of the result, which has no affected area."""
    picture: Callable[[int], Picture]
    size: tuple[int, int]
    part: int
    origin: str
    """Of the prompts' pixels, as in the settings."""

    @classmethod
    def opened(
        cls, order: RenderJob, settings: MaskSettings, engine: Masker, watch: JobContext
    ) -> _Shot:
        source = InputFiles.of(order.request, order.source, order.allowance)
        watch.step("reading headers", 0, 0)
        canvas, notes = canvas_of(source, settings.layer)
        header = source.checked_header("plate", order.request.first)
        chosen = choose_picture(header, settings.layer)
        color = ColorPlan.choose(
            settings.color_space, header.parts[chosen.part], order.ocio or None
        )
        for note in (*color.notes, *notes):
            watch.warn(note)
        plates = Plates(source, canvas, color, settings.layer)
        size = engine.size(canvas.height, canvas.width)
        cache: LruCache[Picture] = LruCache(PICTURES_BYTES, lambda picture: picture.nbytes)
        lights: LruCache[Pixels] = LruCache(PICTURES_BYTES, lambda light: light.nbytes)

        def reduced(frame: int) -> Pixels:
            small = cv2.resize(plates.scene(frame), size[::-1], interpolation=cv2.INTER_AREA)
            return np.asarray(small, np.float32)

        model = model_space(plates, source.frames, lambda frame: lights.get(frame, reduced))

        def made(frame: int) -> Picture:
            code = model.to_model(lights.get(frame, reduced))
            return np.round(np.clip(code, 0, 1) * 255).astype(np.uint8)

        return cls(
            source,
            header,
            canvas,
            source.frames,
            order.request.first,
            lambda frame: cache.get(frame, made),
            size,
            chosen.part,
            settings.origin,
        )

    def place(self, x: float, y: float) -> tuple[float, float]:
        """A place in pixels of the display window's top left corner as the nearest in the engine's picture."""
        height, width = self.size
        across, down = self._scaled(x, y)
        return min(max(across, 0.0), width - 1.0), min(max(down, 0.0), height - 1.0)

    def click(self, name: str, point: Point) -> tuple[float, float]:
        """A click for the object `name` in the engine's picture. Raises `BadSetting` for one outside of it."""
        height, width = self.size
        across, down = self._scaled(point.x, point.y)
        if not (0 <= across <= width and 0 <= down <= height):
            display = self.header.parts[self.part].display_window
            left, top = self.canvas.xmin - display.xmin, self.canvas.ymin - display.ymin
            raise BadSetting(
                f"the click {point.x:g},{point.y:g} for {name} on frame {point.frame} is outside the "
                f"picture, which has {self.canvas.width} x {self.canvas.height} pixels from {left},{top} on",
                f"Count from the {self.origin} of the plate's display window.",
            )
        return min(across, width - 1.0), min(down, height - 1.0)

    def _scaled(self, x: float, y: float) -> tuple[float, float]:
        display = self.header.parts[self.part].display_window
        if self.origin == PERCENT:
            x, y = x * display.width / 100, y * display.height / 100
        if self.origin != TOP_LEFT:
            y = display.height - y
        height, width = self.size
        return (
            (x + display.xmin - self.canvas.xmin) * width / self.canvas.width,
            (y + display.ymin - self.canvas.ymin) * height / self.canvas.height,
        )

    def keys(self, role: str) -> dict[int, Matte]:
        """The artist's mattes in the engine's size, by frame; outside their data windows they are 0.

        Raises `UnclearLayer`, `BadMatte`.
        """
        frames = sorted(self.source.paths.get(role, {}))
        if not frames:
            return {}
        survey = MatteSurvey(self.source, self.canvas, SET)
        choice, seen = survey.choice(role, "", lambda: None)
        found, unit = choice.candidate, np.float32(seen[choice.candidate].evidence.unit)
        return {frame: self._small(survey.read(role, frame, found), unit) for frame in frames}

    def _small(self, read: reader.Frame, unit: np.float32) -> Matte:
        values = read.channels[read.selected[0]].astype(np.float32) / unit
        placed = on_window(values, read.window, self.canvas, 0.0)
        small = cv2.resize(placed, self.size[::-1], interpolation=cv2.INTER_AREA)
        return np.asarray(np.clip(small, 0, 1), np.float32)


def _tracked(
    shot: _Shot, engine: Masker, index: int, target: MaskObject, watch: JobContext
) -> ObjectMattes:
    mattes = ObjectMattes(target.name, target.role, shot.size)
    prompts = _prompts(shot, index, target)
    of, done = len(shot.frames), 0

    def heartbeat() -> None:
        watch.step(f"tracking {target.name}", min(done, of), of)

    for frame, matte, score in engine.track(shot.picture, shot.frames, prompts, heartbeat):
        done += 1
        mattes.add(frame, matte, score)
    return mattes


def _prompts(shot: _Shot, index: int, target: MaskObject) -> Prompts:
    outside = [frame for frame in target.frames if frame not in shot.frames]
    if outside:
        raise BadSetting(
            f"a prompt of {target.name} is on frame {outside[0]}; "
            f"the plate's frames are {compact(shot.frames)}",
            "Give prompts on frames of the plate, by their own numbers.",
        )
    clicked = {p.frame for p in target.points} | {b.frame for b in target.boxes}
    role = key_role(index)
    return Prompts(
        {frame: _clicks(shot, target, frame) for frame in sorted(clicked)},
        shot.keys(role),
        target.noun,
    )


def _clicks(shot: _Shot, target: MaskObject, frame: int) -> Clicks:
    here = [point for point in target.points if point.frame == frame]
    boxes = [box for box in target.boxes if box.frame == frame]
    box = None
    if boxes:
        last = boxes[-1]
        corners = shot.place(last.left, last.top), shot.place(last.right, last.bottom)
        (left, right), (top, bottom) = map(sorted, zip(*corners, strict=True))
        box = left, top, right, bottom
        if box[0] >= box[2] or box[1] >= box[3]:
            raise BadSetting(
                f"the box of {target.name} on frame {frame} lies outside the picture",
                "Count pixels from the top left corner of the plate's display window.",
            )
    return Clicks(
        tuple(shot.click(target.name, p) for p in here if p.label),
        tuple(shot.click(target.name, p) for p in here if not p.label),
        box,
    )


def _encoded(
    shot: _Shot,
    tracked: list[ObjectMattes],
    frame: int,
    attributes: dict[str, str],
    settings: MaskSettings,
) -> EncodedFrame[None]:
    size = shot.canvas.height, shot.canvas.width
    mattes = {found.name: (found.role, found.matte(frame, size)) for found in tracked}
    like, is_first = shot.header.parts[shot.part], frame == shot.first
    data = encoded(
        mattes,
        like,
        shot.canvas,
        attributes,
        is_first=is_first,
        grid=settings.grid,
        layered=settings.layered,
    )
    return EncodedFrame(data)
