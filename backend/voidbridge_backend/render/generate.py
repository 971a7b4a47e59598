"""Runs the operation `generate`: photographed frames around a gap in, one OpenEXR file for each new frame out.

A new frame is made like the nearest frame of the plate: its windows, channels, types and metadata. Only the picture
is new; other channels are that frame's own, and the time code goes on from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from voidbridge_backend.engines.base import JobContext, Pixels
from voidbridge_backend.engines.generate_base import Generator, MakesSound
from voidbridge_backend.exr import reader, writer
from voidbridge_backend.exr.header import Header
from voidbridge_backend.exr.layers import choose_picture
from voidbridge_backend.formats.synthetic import later, packed_time_code, time_code
from voidbridge_backend.formats.wav import SAMPLE, wav
from voidbridge_backend.imaging.color import ColorPlan, Matrix
from voidbridge_backend.imaging.grain import Grain, Sample
from voidbridge_backend.imaging.mattes.quadmask import on_window
from voidbridge_backend.sequences.patterns import compact
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.generate import MOST_FRAMES, GenerateSettings
from voidbridge_protocol.transfer.atomic_files import write_whole
from voidbridge_protocol.wire.values import ResultFile

from .inputs import InputFiles, Plates, canvas_of
from .job import (
    Announce,
    NotedContext,
    RenderJob,
    credentials,
    header_attributes,
    provenance_of,
    write_provenance,
)
from .results import EncodedFrame, ResultWriter

HALF_MOST = 65504.0
"""Largest finite half."""
LOUDEST = 2**23 - 1
"""Of a sample of 24 bits."""


def run(
    order: RenderJob, engine: Generator, watch: JobContext, announce: Announce
) -> dict[str, Any]:
    """Makes the frames of the request, and writes FRAME.exr for each. Returns the provenance, also written.

    Raises `RequestError` or `JobError`.
    """
    settings = order.request.settings
    assert isinstance(settings, GenerateSettings)
    watch = noted = NotedContext(watch)
    wanted = order.request.pictures
    if len(wanted) > MOST_FRAMES:
        raise BadSetting(
            f"{len(wanted)} new frames are asked for; one job makes up to {MOST_FRAMES}",
            "Make a long stretch in several jobs.",
        )
    source = InputFiles.of(order.request, order.source, order.allowance)
    watch.step("reading headers", 0, 0)
    canvas, odd = canvas_of(source, settings.layer)
    color = _color(order, source, settings)
    for note in (*color.notes, *odd):
        watch.warn(note)
    plates, tails = (Plates(source, canvas, color, settings.layer, r) for r in ("plate", "tail"))
    footage = _GapClip.of(source, plates, tails, wanted, settings.mode)
    _check_place(footage, settings, wanted)
    frames = _Frames(
        order, plates, _grain(footage, settings, watch), wanted, settings.mode == "hdr"
    )
    made_from = {"frames": compact(list(wanted)), "from": _seen(footage, settings)}
    provenance = {**provenance_of(order, engine), "color": color.describe(), "generated": made_from}
    frames.attributes = header_attributes(
        provenance, ("engine", "operation", "settings", "generated")
    )
    held = frames.held_channels()
    if held:
        watch.warn(f"only the picture is new; these channels repeat the nearest frame: {held}")
    if frames.repeats_time_code():
        watch.warn("the time code repeats the nearest frame's, as the file names no frame rate")
    written: dict[int, ResultFile] = {}

    def on_result(file: ResultFile) -> None:
        written[file.frame] = file
        announce(file)

    with ResultWriter[None](order, on_result) as results:
        for frame, picture in engine.generate(footage, wanted, settings, watch):
            results.put(frame, partial(frames.encoded, frame, picture))
    if order.request.sound is not None:
        provenance["sound"] = _heard(order, engine, announce)
    provenance["notes"] = noted.notes
    provenance["credentials"] = credentials(
        order.request, provenance["engine"], made_from["from"], written
    )
    write_provenance(order, provenance)
    return provenance


def _heard(order: RenderJob, engine: Generator, announce: Announce) -> dict[str, Any]:
    """Writes the sound as the job's last result, and tells about it. Raises `BadSetting` if there is none."""
    if not isinstance(engine, MakesSound):
        raise BadSetting(f"{engine.name} makes no sound", "Leave out --sound.")
    number, sound = order.request.last, engine.sound()
    whole = np.rint(np.clip(sound.samples.T, -1, 1) * LOUDEST).astype("<i4")
    three = np.ascontiguousarray(whole[..., None]).view(np.uint8)[..., :SAMPLE]
    data = wav(three.tobytes(), sound.samples.shape[0], sound.rate)
    write_whole(order.folder / f"{number}.exr", data)
    digest = hashlib.sha256(data).hexdigest()
    announce(ResultFile(number, digest, len(data)))
    channels, samples = sound.samples.shape
    return {"sha256": digest, "rate": sound.rate, "channels": channels, "samples": samples}


def _color(order: RenderJob, source: InputFiles, settings: GenerateSettings) -> ColorPlan:
    header = source.header("plate", source.frames[0])
    part = header.parts[choose_picture(header, settings.layer).part]
    return ColorPlan.choose(settings.color_space, part, order.ocio or None)


@dataclass(frozen=True)
class _GapClip:
    """`engines.generate_base.GapClip`: the plate outside the new frames, and the tail, numbered on from them."""

    frames: Sequence[int]
    plates: Plates
    tails: Plates
    offset: int | None
    """A footage number less the tail's own number; None without a tail."""
    first_of_tail: int

    @classmethod
    def of(
        cls, source: InputFiles, plates: Plates, tails: Plates, wanted: range, mode: str
    ) -> _GapClip:
        tail = sorted(source.paths.get("tail", {}))
        behind = wanted.stop
        plate = [
            frame
            for frame in source.frames
            if frame < wanted.start or (frame >= behind and not tail) or mode == "hdr"
        ]
        offset = behind - tail[0] if tail else None
        numbered = [frame + offset for frame in tail] if offset is not None else []
        return cls((*plate, *numbered), plates, tails, offset, behind)

    def file(self, frame: int) -> reader.Frame:
        plates, number = self._place(frame)
        return plates.frame(number)

    def picture(self, frame: int) -> Pixels:
        plates, number = self._place(frame)
        return plates.scene(number)

    @property
    def to_rec709(self) -> Matrix:
        return self.plates.color.to_rec709

    @property
    def pixel_aspect(self) -> float:
        return self.file(self.frames[0]).part.pixel_aspect

    @property
    def frames_per_second(self) -> float | None:
        rate = self.file(self.frames[0]).part.frames_per_second
        return float(rate) if rate else None

    def _place(self, frame: int) -> tuple[Plates, int]:
        if self.offset is not None and frame >= self.first_of_tail:
            return self.tails, frame - self.offset
        return self.plates, frame


def _seen(footage: _GapClip, settings: GenerateSettings) -> str:
    """The frames that the engine was shown."""
    if settings.mode == "text":
        return ""
    return compact(
        list(footage.frames)[-1:] if settings.mode == "from-frame" else list(footage.frames)
    )


def _check_place(footage: _GapClip, settings: GenerateSettings, wanted: range) -> None:
    """Raises `BadSetting` where the mode does not fit the frames that are there."""
    before = any(frame < wanted.start for frame in footage.frames)
    behind = any(frame >= wanted.stop for frame in footage.frames)
    asked = compact(list(wanted))
    if not footage.frames:
        raise BadSetting(
            f"no frame is left around {asked}", "Give frames of the plate beside the new ones."
        )
    if settings.mode == "hdr":
        lacking = [frame for frame in wanted if frame not in {*footage.frames}]
        if lacking:
            raise BadSetting(
                f"hdr makes frames of the plate again, and it lacks {compact(lacking)}",
                "Give every frame of the range.",
            )
        return
    if settings.mode in ("extend", "text", "from-frame") and before and behind:
        raise BadSetting(
            f"{asked} has frames of the plate on both sides, so nothing is extended",
            "Use `retake` for frames inside a clip and `bridge` between two clips.",
        )
    if settings.mode == "from-frame" and not before:
        raise BadSetting(f"from-frame needs the frame before {asked}", "Give it as the plate.")
    if settings.mode in ("bridge", "retake") and not (before and behind):
        side = "before" if not before else "behind"
        raise BadSetting(
            f"{settings.mode} needs frames on both sides of {asked}, and none is {side} it",
            "Leave at least one frame of the clip there, or use `extend`.",
        )


def _grain(footage: _GapClip, settings: GenerateSettings, watch: JobContext) -> Grain | None:
    if settings.grain == "off":
        return None
    watch.step("measuring the grain", 0, 0)
    sample = Sample()
    for one, other in zip(footage.frames, footage.frames[1:], strict=False):
        light, there = footage.file(one), footage.file(other)
        if other == one + 1 and light.window == there.window:
            sample.add(light.rgb(), np.ones(light.rgb().shape[:2], bool), there.rgb())
    grain = sample.measured()
    if grain is None:
        watch.warn("the plate shows no grain: none is added")
    return grain


class _Frames:
    """Makes the files of results from the nearest frame of the plate."""

    def __init__(
        self,
        order: RenderJob,
        plates: Plates,
        grain: Grain | None,
        wanted: range,
        keeps_wanted: bool,
    ) -> None:
        """`keeps_wanted`: a new frame is made like the plate's frame of its number."""
        self._order = order
        self._plates = plates
        self._grain = grain
        own = {file.frame for file in order.request.files if file.role == "plate"}
        self._own = sorted(own if keeps_wanted else own - set(wanted)) or sorted(own)
        self.attributes: dict[str, str] = {}

    def held_channels(self) -> str:
        """The channels that are not made anew, at most five named."""
        like = self._plates.frame(self._own[0])
        names = [name for name in like.channels if name not in like.rgb_names]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        return ", ".join(names[:5]) + more

    def repeats_time_code(self) -> bool:
        """Whether there is a time code, and no frame rate to count it on by."""
        part = self._plates.frame(self._own[0]).part
        return part.time_code is not None and not part.frames_per_second

    def encoded(self, frame: int, picture: Pixels) -> EncodedFrame[None]:
        nearest = min(self._own, key=lambda own: (abs(own - frame), own))
        like = self._plates.frame(nearest)
        self._order.raise_if_cancelled()
        values = self._plates.color.from_scene(picture)
        if self._grain is not None:
            whole = np.ones(values.shape[:2], np.float32)
            values = self._grain.added(values, whole, 0, frame)
        canvas = self._plates.canvas
        words = {}
        for plane, name in enumerate(like.rgb_names):
            samples = values[..., plane]
            if like.window != canvas:
                samples = on_window(samples, canvas, like.window, 0.0)
            dtype = like.channels[name].dtype
            if dtype == np.float16:
                samples = np.clip(samples, -HALF_MOST, HALF_MOST)
            words[name] = np.ascontiguousarray(samples.astype(dtype))
        moved = replace(like, header=_at(like.header, like.index, frame - nearest))
        return EncodedFrame(writer.encode(moved, words, self.attributes))


def _at(header: Header, index: int, frames: int) -> Header:
    """The header so many frames later: its time code goes on, where it has one and a frame rate."""
    part = header.parts[index]
    code, rate = part.time_code, part.frames_per_second
    if code is None or not rate or round(rate) < 1:
        return header
    user = part.find("timeCode", "timecode")
    bits = int.from_bytes(user.value[4:8], "little") if user else 0
    renewed = time_code(packed_time_code(later(code, frames, round(rate))), bits)
    attributes = tuple(renewed if one.name == "timeCode" else one for one in part.attributes)
    parts = list(header.parts)
    parts[index] = replace(part, attributes=attributes)
    return replace(header, parts=tuple(parts))
