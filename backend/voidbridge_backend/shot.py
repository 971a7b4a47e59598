"""One job, from files to files. The only module that knows every step.

Bytes become arrays once and arrays become bytes once: in `footage` on the way in, in `_finish` on the way out.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from voidbridge_protocol.errors import VoidbridgeError
from voidbridge_protocol.files import write_whole
from voidbridge_protocol.messages import Request, ResultFile

from .engine.base import Engine, Pixels, Watch
from .footage import Mattes, Plates, Source, View, canvas_of, model_space, region_for
from .plate import exr
from .plate.color import ColorPlan
from .plate.header import plate_part
from .plate.matte import Verdict
from .plate.merge import merge
from .plate.quadmask import Hole, Weights
from .plate.region import Region

log = logging.getLogger(__name__)

ENCODERS = max(2, min(8, (os.cpu_count() or 2)))
"""Frames encoded at once: encoding costs as much as everything else together."""


@dataclass(frozen=True)
class Order:
    """What to do, where the files are by their hash, and where the results go."""

    job: str
    request: Request
    source: Callable[[str], Path]
    folder: Path
    ocio: str = ""


def run(
    order: Order, engine: Engine, watch: Watch, announce: Callable[[ResultFile], None]
) -> dict[str, Any]:
    """Removes, and writes FRAME.exr for every frame asked for. Returns the provenance, also written.

    `announce` hears of each result when it is on disk, in any order, from any thread. The same order gives
    the same bytes. Raises `RequestError` or `JobError`.
    """
    settings = order.request.settings
    source = Source.of(order.request, order.source)
    watch.step("reading headers", 0, 0)
    canvas = canvas_of(source)
    first = source.header("plate", order.request.first)
    part = first.parts[plate_part(first)]
    color = ColorPlan.choose(settings.color_space, part, order.ocio or None)
    mattes = Mattes(source, settings, canvas)
    verdict = _survey(mattes, source, watch)
    known = f"the plate is {color.space} ({color.how})"
    for note in (known, *color.warnings, verdict.text, *verdict.warnings):
        watch.warn(note)
    plates = Plates(source, canvas, color)
    view = _view(order, engine, plates, mattes, source.frames)
    provenance = _provenance(order, engine, color, verdict, view)
    with _Results(order, plates, mattes, view, provenance, announce) as results:
        _remove(order, engine, view, watch, results)
    write_whole(order.folder / "provenance.json", _json(provenance).encode())
    return provenance


def _survey(mattes: Mattes, source: Source, watch: Watch) -> Verdict:
    done, of = 0, len(source.frames) * (len(source.paths) - 1)

    def on_frame() -> None:
        nonlocal done
        watch.step("reading mattes", done, of)
        done += 1

    verdict = mattes.survey(on_frame)
    log.info("%s", verdict.text)
    return verdict


def _view(order: Order, engine: Engine, plates: Plates, mattes: Mattes, frames: list[int]) -> View:
    plate = plates.canvas.height, plates.canvas.width
    sight = engine.sight(*plate, order.request.settings)
    region = region_for(mattes, frames, plate, sight)
    sight = engine.sight(*region.size, order.request.settings)
    model = model_space(plates, frames) if sight.space == "model" else None
    return View(plates, mattes, frames, region, sight.size or region.size, model)


def _remove(order: Order, engine: Engine, view: View, watch: Watch, results: _Results) -> None:
    """Frames with a hole go through the engine, the others straight to the results, all in order."""
    wanted = range(order.request.first, order.request.last + 1)
    with_hole = [frame for frame in view.frames if view.has_hole(frame)]
    if not any(frame in wanted for frame in with_hole):
        watch.warn("the matte is empty in every frame: the plate comes back as it was")
        with_hole = []
    for frame in wanted:
        if frame not in with_hole:
            watch.step("copying frames without a hole", frame - wanted.start, len(wanted))
            results.put(frame, None)
    if with_hole:
        for frame, pixels in engine.remove(view, order.request.settings, watch):
            if frame in wanted:
                results.put(frame, pixels)


class _Results:
    """Finished frames on their way to disk: merged and encoded on threads, a bounded number at once."""

    def __init__(
        self,
        order: Order,
        plates: Plates,
        mattes: Mattes,
        view: View,
        provenance: dict[str, Any],
        announce: Callable[[ResultFile], None],
    ) -> None:
        self._order = order
        self._plates = plates
        self._mattes = mattes
        self._view = view
        self._header = _header(provenance)
        self._announce = announce
        self._threads = ThreadPoolExecutor(ENCODERS, "encodes")
        self._pending: list[Future[None]] = []

    def __enter__(self) -> _Results:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is None:
            self._collect(0)

    def put(self, frame: int, pixels: Pixels | None) -> None:
        """`pixels` are the engine's; None gives the plate back. Waits while too many are pending."""
        self._collect(ENCODERS)
        self._pending.append(self._threads.submit(self._finish, frame, pixels))

    def _collect(self, most: int) -> None:
        while len(self._pending) > most:
            self._pending.pop(0).result()

    def _finish(self, frame: int, pixels: Pixels | None) -> None:
        with _about(frame):
            source = self._plates.frame(frame)
            words = {} if pixels is None else self._merged(source, frame, pixels)
            data = exr.encode(source, words, self._header)
            write_whole(self._order.folder / f"{frame}.exr", data)
        digest = hashlib.sha256(data).hexdigest()
        self._announce(ResultFile(frame, digest, len(data)))

    def _merged(self, source: exr.Frame, frame: int, pixels: Pixels) -> dict[str, exr.Samples]:
        hole, place = _on_frame(self._mattes.hole(frame), self._view, source)
        if place is None:
            return {}
        result = self._plates.color.from_scene(place.result.cut(self._view.to_canvas(pixels)))
        words = {}
        for plane, name in enumerate(source.rgb_names):
            samples = source.channels[name].copy()
            part = place.frame.cut(samples)
            part[...] = merge(
                np.ascontiguousarray(part), np.ascontiguousarray(result[..., plane]), hole
            )
            words[name] = samples
        return words


class _Place(NamedTuple):
    """Where a frame's hole lies: in the frame's own arrays, and in the engine's region."""

    frame: Region
    result: Region


def _on_frame(hole: Hole, view: View, source: exr.Frame) -> tuple[Weights, _Place | None]:
    """The weights around a frame's hole, and where that is. Only there is anything computed."""
    canvas, window, region = view.plates.canvas, source.window, view.region
    visible = np.zeros_like(hole.alpha)
    frame = Region(
        window.xmin - canvas.xmin, window.ymin - canvas.ymin, window.width, window.height
    )
    both = _overlap(frame, region)
    if both is not None:
        both.paste(visible, both.cut(hole.alpha))
    box = Region.of(visible > 0)
    if box is None:
        return visible, None
    return box.cut(visible), _Place(_moved(box, frame), _moved(box, region))


def _overlap(a: Region, b: Region) -> Region | None:
    left, top = max(a.left, b.left), max(a.top, b.top)
    right = min(a.left + a.width, b.left + b.width)
    bottom = min(a.top + a.height, b.top + b.height)
    return Region(left, top, right - left, bottom - top) if left < right and top < bottom else None


def _moved(box: Region, origin: Region) -> Region:
    return Region(box.left - origin.left, box.top - origin.top, box.width, box.height)


@contextmanager
def _about(frame: int) -> Iterator[None]:
    """Says in which frame an error happened, once."""
    try:
        yield
    except VoidbridgeError as error:
        if f"frame {frame}" in error.text:
            raise
        raise type(error)(f"frame {frame}: {error.text}", error.hint) from error


def _provenance(
    order: Order, engine: Engine, color: ColorPlan, verdict: Verdict, view: View
) -> dict[str, Any]:
    """What the result was made with. No times and no machine: the same job gives the same bytes."""
    request = order.request
    region = view.region
    return {
        "generator": "voidbridge",
        "version": version("voidbridge"),
        "job": order.job,
        "frames": [request.first, request.last],
        "engine": engine.describe(),
        "settings": asdict(request.settings),
        "matte": {"kind": verdict.kind, "decided": verdict.text},
        "color": color.describe(),
        "region": {
            "left": region.left + view.plates.canvas.xmin,
            "top": region.top + view.plates.canvas.ymin,
            "width": region.width,
            "height": region.height,
            "seen_at": [view.width, view.height],
        },
        "sources": {file.role + "/" + str(file.frame): file.sha256 for file in request.files},
    }


def _header(provenance: dict[str, Any]) -> dict[str, str]:
    """The string attributes of a result: enough to tell generated pixels from photographed ones."""
    short = {key: provenance[key] for key in ("engine", "settings", "matte", "color")}
    return {
        "voidbridge/version": provenance["version"],
        "voidbridge/job": provenance["job"],
        "voidbridge/provenance": _json(short),
    }


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
