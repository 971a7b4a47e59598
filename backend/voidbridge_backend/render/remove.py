"""Runs the operation `remove`, from files to files. Only this module knows every step.

Bytes become arrays in `inputs` and become bytes again in `_encoded`, once each.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from voidbridge_backend.engines.base import (
    Engine,
    InputSpec,
    JobContext,
    LoraChoice,
    Pixels,
    SharesSurvey,
    TakesLoras,
)
from voidbridge_backend.exr import reader, writer
from voidbridge_backend.exr.layers import Selection, choose_picture
from voidbridge_backend.imaging.color import ColorPlan
from voidbridge_backend.imaging.grain import Grain
from voidbridge_backend.imaging.mattes.matte import Verdict
from voidbridge_backend.quality.no_reference import FrameStats, Inspection
from voidbridge_backend.sequences.patterns import compact
from voidbridge_protocol import __version__
from voidbridge_protocol.errors import BadSetting, BadSurvey
from voidbridge_protocol.operations.remove import OPERATION, SURVEY_SETTINGS, RemoveSettings

from .composite import Composite, Replaced, confidence_of, grain_of, layer_of
from .engine_input import EngineInput, crop_for
from .inputs import MATTES, InputFiles, Plates, canvas_of, model_space
from .job import (
    Announce,
    NotedContext,
    RenderJob,
    check_files,
    header_attributes,
    provenance_of,
    write_provenance,
)
from .mattes import Mattes
from .painted import PaintedFrames
from .results import EncodedFrame, ResultWriter

log = logging.getLogger(__name__)
ROLES = tuple(role.name for role in OPERATION.roles)
SURVEY = "survey"
"""The role of a file that `survey` made."""
MOST_SURVEY = 1 << 30
"""Bytes of a survey; a frame takes some 12 thousand."""


def run(order: RenderJob, engine: Engine, watch: JobContext, announce: Announce) -> dict[str, Any]:
    """Removes the object and writes FRAME.exr for every requested frame. Returns and writes the provenance.

    The same job gives the same bytes. Raises `RequestError` or `JobError`.
    """
    settings = _settings(order)
    watch = noted = NotedContext(watch)
    shot = _prepared(order, engine, watch)
    view, input_spec, paints = shot.view, shot.input_spec, shot.paints
    _use_survey(order, engine, shot, watch)
    if view.crop.note:
        watch.warn(view.crop.note)
    if paints.frames and not input_spec.paints:
        watch.warn(f"the engine {settings.engine} takes no painted frames: they are not used")
    composite = Composite(view, input_spec, _grain(order, view, input_spec, watch), settings)
    provenance = _provenance(order, engine, shot.color, shot.picture, shot.verdict, view)
    if settings.confidence and not input_spec.confident:
        watch.warn(
            f"the engine {settings.engine} does not tell how sure it is: no confidence is written"
        )
    frames = _Frames(order, composite, view.plates, provenance, input_spec.confident)
    is_off = settings.grain == "off" or not settings.grain_amount
    inspection = Inspection(tells_missing_grain=is_off and not input_spec.grained)
    if paints.frames:
        provenance["clean"] = paints.described()
    with ResultWriter(order, announce, inspection.add) as results:
        _remove(order, engine, view, watch, frames, results)
    findings = inspection.findings()
    for warning in (*frames.notes(), *findings.warnings):
        watch.warn(warning)
    provenance["quality"] = findings.described()
    provenance["notes"] = noted.notes
    write_provenance(order, provenance)
    return provenance


def survey(order: RenderJob, engine: Engine, watch: JobContext) -> bytes:
    """Returns what the engine finds by looking at the whole shot, for jobs of ranges of it.

    Raises `BadSetting` for an engine without a survey, and what `run` raises.
    """
    if not isinstance(engine, SharesSurvey):
        raise _no_survey(_settings(order).engine)
    shot = _prepared(order, engine, watch)
    fits = _fits(order, engine, shot)
    return engine.survey(shot.view, _settings(order), watch, fits)


def _use_survey(order: RenderJob, engine: Engine, shot: _Prepared, watch: JobContext) -> None:
    files = [file for file in order.request.files if file.role == SURVEY]
    if isinstance(engine, SharesSurvey):
        check_files(order, lambda done, of: watch.step("checking the survey", done, of), (SURVEY,))
        data = _survey_data(order.source(files[0].sha256)) if files else None
        engine.use_survey(data, _fits(order, engine, shot))
    elif files:
        raise _no_survey(_settings(order).engine)


def _survey_data(path: Path) -> bytes:
    if (size := path.stat().st_size) > MOST_SURVEY:
        raise BadSurvey(f"the survey cannot be read: it has {size} bytes, more than {MOST_SURVEY}")
    return path.read_bytes()


def _no_survey(name: str) -> BadSetting:
    return BadSetting(f"the engine {name} has no survey", "Choose cleanplate, or leave it out.")


def _fits(order: RenderJob, engine: Engine, shot: _Prepared) -> dict[str, str]:
    """All that a survey depends on: files, settings, colors and versions, but not the range."""
    files: dict[str, list[object]] = {role: [] for role in ROLES if role != SURVEY}
    for file in order.request.files:
        if file.role != SURVEY:
            files[file.role].append([file.frame, file.sha256, file.index])
    named = {
        **{f"{role} files": found for role, found in files.items()},
        **{_option(name): getattr(_settings(order), name) for name in SURVEY_SETTINGS},
        "color of the plate": shot.color.describe(),
        "engine": engine.describe(),
        "release of Voidbridge": __version__,
    }
    return {name: _digest(value) for name, value in named.items()}


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class _Prepared:
    """A shot before its engine is asked."""

    picture: Selection
    color: ColorPlan
    verdict: Verdict
    view: EngineInput
    input_spec: InputSpec
    paints: PaintedFrames


def _prepared(order: RenderJob, engine: Engine, watch: JobContext) -> _Prepared:
    settings = _settings(order)
    source = InputFiles.of(order.request, order.source, order.allowance)
    watch.step("reading headers", 0, 0)
    canvas, oddities = canvas_of(source, settings.layer)
    first = source.checked_header("plate", order.request.first)
    picture = choose_picture(first, settings.layer)
    part = first.parts[picture.part]
    color = ColorPlan.choose(settings.color_space, part, order.ocio or None)
    mattes = Mattes(source, settings, canvas)
    verdict = _survey(mattes, source, watch)
    for note in (*color.notes, *oddities, verdict.text, *verdict.warnings):
        watch.warn(note)
    plates = Plates(source, canvas, color, settings.layer)
    paints = PaintedFrames.checked(source, plates, settings, order.ocio or None)
    use_loras(order, engine, settings, watch)
    view, input_spec = _view(order, engine, plates, mattes, source.frames, part.aspect)
    return _Prepared(picture, color, verdict, replace(view, paints=paints), input_spec, paints)


def use_loras(
    order: RenderJob, engine: object, settings: RemoveSettings, watch: JobContext
) -> None:
    """Sets the LoRAs of this job, none included. Raises `BadLora`, `BadSetting`."""
    if isinstance(engine, TakesLoras):
        # Frames are checked while they are decoded, LoRAs here.
        check_files(order, lambda done, of: watch.step("checking the LoRAs", done, of), ("lora",))
        engine.use_loras(lora_choices(order, settings), settings, watch)
    elif settings.loras:
        raise BadSetting(
            f"the engine {settings.engine} takes no LoRA",
            "Choose the engine void, or leave --lora out.",
        )


def lora_choices(order: RenderJob, settings: RemoveSettings) -> list[LoraChoice]:
    """Returns the LoRAs of a request in order. Raises `BadSetting` for a number without a file."""
    files = {file.frame: file for file in order.request.files if file.role == "lora"}
    found = []
    for name, strength in settings.loras:
        path = None
        if name.startswith("@"):
            number = int(name[1:]) if len(name) < 10 and name[1:].isdecimal() else 0
            if number not in files:
                raise BadSetting(f"the LoRA {name[:80]!r} has no file in this job")
            path, name = order.source(files[number].sha256), f"lora frame {number}"
        found.append(LoraChoice(name, strength, path))
    return found


def _settings(order: RenderJob) -> RemoveSettings:
    settings = order.request.settings
    assert isinstance(settings, RemoveSettings)
    return settings


def _survey(mattes: Mattes, source: InputFiles, watch: JobContext) -> Verdict:
    done, of = 0, len(source.frames) * sum(role in source.paths for role in MATTES)

    def on_frame() -> None:
        nonlocal done
        done += 1
        watch.step("reading mattes", done, of)

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
    settings = _settings(order)
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
    settings = _settings(order)
    with_hole = any(view.has_hole(frame) for frame in view.frames)
    if input_spec.grained or settings.grain == "off" or not settings.grain_amount or not with_hole:
        return None
    watch.step("measuring the grain", 0, 0)
    grain, lacks_room = grain_of(view)
    if grain is None and lacks_room:
        watch.warn(
            "too little of the plate is kept in one piece to measure its grain: none is added. "
            "Less growth leaves more of it"
        )
    elif grain is None:
        watch.warn("the kept part of the plate shows no grain: none is added")
    return grain


def _remove(
    order: RenderJob,
    engine: Engine,
    view: EngineInput,
    watch: JobContext,
    frames: _Frames,
    results: ResultWriter[FrameStats],
) -> None:
    """Sends frames with a hole through the engine and all others straight to the results, in order."""
    wanted = range(order.request.first, order.request.last + 1)
    with_hole = [frame for frame in view.frames if view.has_hole(frame)]
    if not any(frame in wanted for frame in with_hole):
        watch.warn("the matte is empty in every frame: the plate is returned unchanged")
        with_hole = []
    if gaps := _gaps(wanted, with_hole):
        watch.warn(
            f"the matte is empty in {compact(gaps)}, between frames in which it is not: these frames "
            "are returned unchanged"
        )
    for frame in wanted:
        if frame not in with_hole:
            watch.step("copying frames without a hole", frame - wanted.start + 1, len(wanted))
            results.put(frame, partial(frames.encoded, frame, None))
    if with_hole:
        for frame, pixels in engine.remove(view, _settings(order), watch, wanted):
            if frame in wanted:
                results.put(frame, partial(frames.encoded, frame, pixels))


def _gaps(frames: range, with_hole: list[int]) -> list[int]:
    """The wanted frames without a hole that lie between two with one."""
    if not with_hole:
        return []
    between, known = range(with_hole[0], with_hole[-1]), set(with_hole)
    return [frame for frame in frames if frame in between and frame not in known]


class _Frames:
    """Makes the files of results: the plate's own, with what was generated merged in."""

    def __init__(
        self,
        order: RenderJob,
        composite: Composite,
        plates: Plates,
        provenance: dict[str, Any],
        confident: bool,
    ) -> None:
        self._order = order
        self._composite = composite
        self._plates = plates
        self._confident = confident
        self._with_alpha: set[int] = set()
        self._header = header_attributes(
            provenance, ("engine", "settings", "plate", "matte", "color")
        )

    def encoded(self, frame: int, pixels: Pixels | None) -> EncodedFrame[FrameStats]:
        """`pixels` are the engine's; None gives the plate back."""
        source = self._plates.frame(frame)
        self._order.raise_if_cancelled()
        made = None if pixels is None else self._composite.frame(source, frame, pixels)
        self._order.raise_if_cancelled()
        data = self._encoded(source, made)
        if made is None:
            return EncodedFrame(data)
        if _is_transparent(source, made):
            self._with_alpha.add(frame)
        return EncodedFrame(data, partial(self._composite.seen, source, frame, made))

    def notes(self) -> list[str]:
        """Returns warnings about the rendered frames."""
        if not self._with_alpha:
            return []
        return [
            f"the plate's alpha is not 1 in the hole of {compact(self._with_alpha)}: it is kept, and what "
            "is premultiplied by it does not fit it there"
        ]

    def _encoded(self, source: reader.Frame, made: Replaced | None) -> bytes:
        settings = _settings(self._order)
        layer = layer_of(source, made) if settings.result_layer else {}
        if self._confident:
            layer |= confidence_of(source, made)
        again = {name for name in layer if name in source.channels}
        words = dict(made.words) if made and not settings.result_layer else {}
        words |= {name: layer[name].astype(source.channels[name].dtype) for name in again}
        added = {name: samples for name, samples in layer.items() if name not in again}
        return writer.encode(source, words, self._header, added)


def _is_transparent(source: reader.Frame, made: Replaced) -> bool:
    """Whether the alpha of the plate's picture is other than 1 on a replaced pixel."""
    name = source.rgb_names[0]
    alpha = source.channels.get(name[: name.rfind(".") + 1] + "A")
    if alpha is None or alpha.shape != source.channels[name].shape:
        return False
    return bool(np.any((made.box.cut(alpha) != 1) & (made.alpha > 0)))


def _provenance(
    order: RenderJob,
    engine: Engine,
    color: ColorPlan,
    picture: Selection,
    verdict: Verdict,
    view: EngineInput,
) -> dict[str, Any]:
    canvas, (height, width) = view.plates.canvas, view.crop.size
    ways = [view.region(frame) for frame in view.frames]
    return {
        **provenance_of(order, engine),
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
    }
