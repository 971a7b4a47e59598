"""Runs one job, from files to files. Only this module knows every step.

Bytes become arrays in `inputs` and become bytes again in `_finish`, once each.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from voidbridge_backend.engines.base import Engine, InputSpec, JobContext, Pixels
from voidbridge_backend.exr import reader, writer
from voidbridge_backend.exr.layers import Selection, choose_picture
from voidbridge_backend.imaging.color import ColorPlan
from voidbridge_backend.imaging.grain import Grain
from voidbridge_backend.imaging.matte import Verdict
from voidbridge_backend.quality.no_reference import FrameStats, Inspection
from voidbridge_protocol import __version__
from voidbridge_protocol.atomic_files import write_whole
from voidbridge_protocol.errors import JobCancelled, VoidbridgeError
from voidbridge_protocol.messages import Request, ResultFile

from .composite import Composite, Replaced, grain_of, layer_of
from .decode_limits import UNBOUNDED, DecodeLimits
from .engine_input import EngineInput, crop_for
from .inputs import InputFiles, Plates, canvas_of, model_space
from .mattes import Mattes

log = logging.getLogger(__name__)

ENCODERS = max(2, min(8, (os.cpu_count() or 2))) + 1
"""Frames encoded at once. Encoding costs as much as all other work together, and one waits for the disk."""


@dataclass(frozen=True)
class RenderJob:
    """The work, the paths of the files by their hash, and the folder for the results."""

    job: str
    request: Request
    source: Callable[[str], Path]
    folder: Path
    ocio: str = ""
    allowance: DecodeLimits = UNBOUNDED
    cancelled_future: Future[None] = field(default_factory=Future)
    """Set when the job should stop, so that code that waits for other events can wait for this as well."""

    def raise_if_cancelled(self) -> None:
        """Raises `JobCancelled` if the job should stop."""
        if self.cancelled_future.done():
            raise JobCancelled("stopped while results were written")


def run(
    order: RenderJob, engine: Engine, watch: JobContext, announce: Callable[[ResultFile], None]
) -> dict[str, Any]:
    """Removes the object and writes FRAME.exr for every requested frame. Returns and writes the provenance.

    `announce` receives each result once it is on disk, in any order, from any thread. The same order gives the
    same bytes. Raises `RequestError` or `JobError`.
    """
    settings = order.request.settings
    watch = noted = _Noted(watch)
    source = InputFiles.of(order.request, order.source, order.allowance)
    watch.step("reading headers", 0, 0)
    canvas, oddities = canvas_of(source, settings.layer)
    first = source.header("plate", order.request.first)
    picture = choose_picture(first, settings.layer)
    part = first.parts[picture.part]
    color = ColorPlan.choose(settings.color_space, part, order.ocio or None)
    mattes = Mattes(source, settings, canvas)
    verdict = _survey(mattes, source, watch)
    known = f"the plate is {color.space} ({color.how})"
    for note in (
        known,
        *_told(picture),
        *oddities,
        *color.warnings,
        verdict.text,
        *verdict.warnings,
    ):
        watch.warn(note)
    plates = Plates(source, canvas, color, settings.layer)
    view, input_spec = _view(order, engine, plates, mattes, source.frames, part.aspect)
    if view.crop.note:
        watch.warn(view.crop.note)
    composite = Composite(view, input_spec, _grain(order, view, input_spec, watch), settings)
    provenance = _provenance(order, engine, color, picture, verdict, view)
    with _Results(order, composite, plates, provenance, announce) as results:
        _remove(order, engine, view, watch, results)
    findings = results.inspection.findings()
    for warning in findings.warnings:
        watch.warn(warning)
    provenance["quality"] = findings.described()
    provenance["notes"] = noted.notes
    write_whole(order.folder / "provenance.json", _json(provenance).encode())
    return provenance


class _Noted:
    """A job context that also records its notes and warnings for the provenance."""

    def __init__(self, watch: JobContext) -> None:
        self.step = watch.step
        self.notes: list[str] = []
        self._warn = watch.warn

    def warn(self, text: str) -> None:
        self.notes.append(text)
        self._warn(text)


def _told(picture: Selection) -> list[str]:
    """Which channels are worked on, unless they are the only ones that anybody would think of."""
    if len(picture.channels) == 1:
        return [f"the plate is gray: its channel {picture.channels[0]} is worked on"]
    if picture.part or "." in picture.channels[0]:
        return [f"the plate's layer {picture.layer} is worked on ({', '.join(picture.channels)})"]
    return []


def _survey(mattes: Mattes, source: InputFiles, watch: JobContext) -> Verdict:
    done, of = 0, len(source.frames) * (len(source.paths) - 1)

    def on_frame() -> None:
        nonlocal done
        watch.step("reading mattes", done, of)
        done += 1

    verdict = mattes.survey(on_frame)
    log.info("%s", verdict.text)
    return verdict


def _view(
    order: RenderJob,
    engine: Engine,
    plates: Plates,
    mattes: Mattes,
    frames: list[int],
    pixel_aspect: float,
) -> tuple[EngineInput, InputSpec]:
    settings = order.request.settings
    plate = plates.canvas.height, plates.canvas.width
    input_spec = engine.input_spec(*plate, settings)
    crop = crop_for(mattes, frames, plate, input_spec, settings, pixel_aspect)
    input_spec = engine.input_spec(*crop.size, settings)
    model = model_space(plates, frames) if input_spec.space == "model" else None
    return EngineInput(
        plates, mattes, frames, crop, input_spec.size or crop.size, model
    ), input_spec


def _grain(
    order: RenderJob, view: EngineInput, input_spec: InputSpec, watch: JobContext
) -> Grain | None:
    settings = order.request.settings
    with_hole = any(view.has_hole(frame) for frame in view.frames)
    if input_spec.grained or settings.grain == "off" or not settings.grain_amount or not with_hole:
        return None
    watch.step("measuring the grain", 0, 0)
    grain = grain_of(view)
    if grain is None:
        watch.warn("the kept part of the plate shows no grain: none is added")
    return grain


def _remove(
    order: RenderJob, engine: Engine, view: EngineInput, watch: JobContext, results: _Results
) -> None:
    """Sends frames with a hole through the engine and all others straight to the results, in order."""
    wanted = range(order.request.first, order.request.last + 1)
    with_hole = [frame for frame in view.frames if view.has_hole(frame)]
    if not any(frame in wanted for frame in with_hole):
        watch.warn("the matte is empty in every frame: the plate is returned unchanged")
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
    """Merges, encodes and writes finished frames on threads, a bounded number at once."""

    def __init__(
        self,
        order: RenderJob,
        composite: Composite,
        plates: Plates,
        provenance: dict[str, Any],
        announce: Callable[[ResultFile], None],
    ) -> None:
        self._order = order
        self._plates = plates
        self._composite = composite
        self._header = _header(provenance)
        self._announce = announce
        self._threads = ThreadPoolExecutor(ENCODERS, "encodes")
        self._pending: list[Future[FrameStats | None]] = []
        self.inspection = Inspection()

    def __enter__(self) -> _Results:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._collect(0)
        finally:
            self._threads.shutdown(wait=True, cancel_futures=True)

    def put(self, frame: int, pixels: Pixels | None) -> None:
        """Queues a frame. `pixels` are the engine's; None returns the plate. Blocks while too many are pending."""
        self._order.raise_if_cancelled()
        self._collect(ENCODERS)
        self._pending.append(self._threads.submit(self._finish, frame, pixels))

    def _collect(self, most: int) -> None:
        while len(self._pending) > most:
            either: tuple[Future[Any], ...] = (self._pending[0], self._order.cancelled_future)
            wait(either, return_when=FIRST_COMPLETED)
            self._order.raise_if_cancelled()
            seen = self._pending.pop(0).result()
            if seen is not None:
                self.inspection.add(seen)

    def _finish(self, frame: int, pixels: Pixels | None) -> FrameStats | None:
        with _about(frame):
            source = self._plates.frame(frame)
            self._order.raise_if_cancelled()
            made = None if pixels is None else self._composite.frame(source, frame, pixels)
            self._order.raise_if_cancelled()
            data = self._encoded(source, made)
            self._order.raise_if_cancelled()
            write_whole(self._order.folder / f"{frame}.exr", data)
        digest = hashlib.sha256(data).hexdigest()
        self._announce(ResultFile(frame, digest, len(data)))
        return None if made is None else self._composite.seen(source, frame, made)

    def _encoded(self, source: reader.Frame, made: Replaced | None) -> bytes:
        if not self._order.request.settings.result_layer:
            return writer.encode(source, made.words if made else {}, self._header)
        layer = layer_of(source, made)
        again = {name for name in layer if name in source.channels}
        words = {name: layer[name].astype(source.channels[name].dtype) for name in again}
        added = {name: samples for name, samples in layer.items() if name not in again}
        return writer.encode(source, words, self._header, added)


@contextmanager
def _about(frame: int) -> Iterator[None]:
    """Adds the frame number to an error, once."""
    try:
        yield
    except VoidbridgeError as error:
        if f"frame {frame}" in error.text:
            raise
        raise type(error)(f"frame {frame}: {error.text}", error.hint) from error


def _provenance(
    order: RenderJob,
    engine: Engine,
    color: ColorPlan,
    picture: Selection,
    verdict: Verdict,
    view: EngineInput,
) -> dict[str, Any]:
    """Returns how the result was made. It holds no times or machine names, so the same job gives the same bytes."""
    request = order.request
    canvas, (height, width) = view.plates.canvas, view.crop.size
    ways = [view.region(frame) for frame in view.frames]
    return {
        "generator": "voidbridge",
        "version": __version__,
        "job": order.job,
        "frames": [request.first, request.last],
        "engine": engine.describe(),
        "settings": asdict(request.settings),
        "preview": request.settings.is_preview,
        "plate": {"layer": picture.layer, "channels": list(picture.channels)},
        "matte": {"kind": verdict.kind, "decided": verdict.text, **view.mattes.described()},
        "color": color.describe(),
        "region": {
            "from": [ways[0].left + canvas.xmin, ways[0].top + canvas.ymin],
            "to": [ways[-1].left + canvas.xmin, ways[-1].top + canvas.ymin],
            "width": width,
            "height": height,
            "seen_at": [view.width, view.height],
        },
        "sources": {file.role + "/" + str(file.frame): file.sha256 for file in request.files},
    }


def _header(provenance: dict[str, Any]) -> dict[str, str]:
    """Returns the string attributes of a result, enough to tell generated pixels from photographed ones."""
    short = {key: provenance[key] for key in ("engine", "settings", "plate", "matte", "color")}
    return {
        "voidbridge/version": provenance["version"],
        "voidbridge/job": provenance["job"],
        "voidbridge/provenance": _json(short),
    }


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
