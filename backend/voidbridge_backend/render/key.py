"""The operation `key`, from files to files. The only module that knows every step of it.

Bytes become arrays once and arrays become bytes once: in `_Clip` on the way in, in `_Frames` on the way out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from voidbridge_backend.engines.base import JobContext, Pixels
from voidbridge_backend.engines.key_base import Alpha, Keyed, KeyEngine, Matrix
from voidbridge_backend.exr import reader, writer
from voidbridge_backend.exr.header import Window
from voidbridge_backend.exr.layers import Selection, choose_picture, layer_of
from voidbridge_backend.exr.matte_channels import Candidate
from voidbridge_backend.imaging.color import ColorPlan, sanitize
from voidbridge_backend.imaging.mattes.quadmask import on_window
from voidbridge_backend.quality.matte_scores import KeyQuality, KeyStats, key_stats
from voidbridge_protocol.errors import BadMatte, FrameMismatch, UnsupportedFrame
from voidbridge_protocol.operations.key import KeySettings

from .inputs import InputFiles, Plates, canvas_of
from .job import (
    Announce,
    NotedContext,
    RenderJob,
    header_attributes,
    provenance_of,
    write_provenance,
)
from .matte_survey import SET, MatteSurvey
from .results import EncodedFrame, ResultWriter

HALF_MOST = 65504.0
"""Largest finite half."""
OVERSHOOT = 0.5
"""A hint may leave 0 to 1 by this much, as resampling does; farther out it has another range."""


def run(
    order: RenderJob, engine: KeyEngine, watch: JobContext, announce: Announce
) -> dict[str, Any]:
    """Keys, and writes FRAME.exr for every frame asked for. Returns the provenance, also written.

    `announce` hears of each result when it is on disk, in any order, from any thread. The same order gives
    the same bytes. Raises `RequestError` or `JobError`.
    """
    settings = order.request.settings
    assert isinstance(settings, KeySettings)
    watch = noted = NotedContext(watch)
    source = InputFiles.of(order.request, order.source, order.allowance)
    watch.step("reading headers", 0, 0)
    canvas, odd = canvas_of(source, settings.layer)
    first = source.checked_header("plate", order.request.first)
    picture = choose_picture(first, settings.layer)
    part = first.parts[picture.part]
    color = ColorPlan.choose(settings.color_space, part, order.ocio or None)
    for note in (*color.notes, *odd):
        watch.warn(note)
    plates = Plates(source, canvas, color, settings.layer)
    hint = _hint_channel(source, canvas, settings, watch)
    clip = _Clip(source, plates, hint)
    provenance = {**provenance_of(order, engine), "color": color.describe()}
    provenance["plate"] = {"layer": picture.layer, "channels": list(picture.channels)}
    if hint is not None:
        provenance["hint"] = {"channel": hint.channel}
    frames = _Frames(order, plates, provenance, settings)
    quality = KeyQuality()
    wanted = range(order.request.first, order.request.last + 1)
    with ResultWriter(order, announce, quality.add) as results:
        for frame, keyed in engine.key(clip, wanted, settings, watch):
            results.put(frame, partial(frames.encoded, frame, keyed))
    provenance["quality"] = quality.described()
    if warning := quality.warning():
        watch.warn(warning)
    provenance["notes"] = noted.notes
    write_provenance(order, provenance)
    return provenance


@dataclass(frozen=True)
class _Clip:
    """A shot as an engine sees it: `engines.key_base.KeyClip`."""

    source: InputFiles
    plates: Plates
    channel: Candidate | None
    """That of the hint."""

    @property
    def frames(self) -> Sequence[int]:
        return range(self.source.frames[0], self.source.frames[-1] + 1)

    @property
    def to_rec709(self) -> Matrix:
        return np.asarray(self.plates.color.to_rec709, np.float64)

    def plate(self, frame: int) -> Pixels:
        if len(self.plates.frame(frame).rgb_names) != 3:
            raise UnsupportedFrame(
                f"plate frame {frame} is gray, and a key needs color",
                "Render the plate with R, G and B.",
            )
        return self.plates.scene(frame)

    def hint(self, frame: int) -> Alpha | None:
        if self.channel is None:
            return None
        selection = Selection(self.channel.part, (self.channel.channel,))
        decoded = self.source.read("hint", frame, lambda header: selection)
        values = decoded.channels[decoded.selected[0]].astype(np.float32)
        _check_hint(values, frame, decoded.selected[0])
        fitted = on_window(np.clip(values, 0, 1), decoded.window, self.plates.canvas, 0.0)
        return np.asarray(fitted, np.float32)

    def clean_screen(self, frame: int) -> Pixels | None:
        """The file of the nearest frame."""
        there = self.source.paths.get("screen")
        if not there:
            return None
        nearest = min(there, key=lambda other: (abs(other - frame), other))
        decoded = self.source.read("screen", nearest, choose_picture)
        canvas = self.plates.canvas
        if (decoded.window.height, decoded.window.width) != (canvas.height, canvas.width):
            raise FrameMismatch(
                f"screen frame {nearest} is {decoded.window.width}x{decoded.window.height},"
                f" the plate {canvas.width}x{canvas.height}",
                "Render the clean screen at the size of the plate.",
            )
        return sanitize(self.plates.color.to_scene(decoded.rgb()))


def _hint_channel(
    source: InputFiles, canvas: Window, settings: KeySettings, watch: JobContext
) -> Candidate | None:
    """The channel of the hint, chosen as that of a matte is. Raises `UnclearLayer`."""
    if "hint" not in source.paths:
        return None
    survey, named = MatteSurvey(source, canvas, SET), settings.hint_channel
    choice, _ = survey.choice("hint", named, lambda: None)
    for text in choice.warnings:
        watch.warn(text)
    return choice.candidate


def _check_hint(values: Alpha, frame: int, channel: str) -> None:
    """Raises `BadMatte` for a hint of another range, or with values that are no numbers."""
    if not np.isfinite(values).all():
        raise BadMatte(
            f"hint frame {frame}, channel {channel}, has values that are not finite",
            "Clamp the hint to the range from 0 to 1 before it is rendered.",
        )
    least, most = float(values.min()), float(values.max())
    if least < -OVERSHOOT or most > 1 + OVERSHOOT:
        raise BadMatte(
            f"hint frame {frame}, channel {channel}, goes from {least:g} to {most:g}, not from 0 to 1",
            "Bring the hint into the range from 0 to 1, or name its channel with --hint-channel.",
        )


class _Frames:
    """Makes the files of results: the plate's own, with the key in its picture and in layers beside it."""

    def __init__(
        self, order: RenderJob, plates: Plates, provenance: dict[str, Any], settings: KeySettings
    ) -> None:
        self._order = order
        self._plates = plates
        self._settings = settings
        self._header = header_attributes(provenance, ("engine", "settings", "color"))

    def encoded(self, frame: int, keyed: Keyed) -> EncodedFrame[KeyStats]:
        source = self._plates.frame(frame)
        self._order.raise_if_cancelled()
        made = self._channels(source, keyed)
        words = {
            name: _as_type(samples, source.channels[name].dtype)
            for name, samples in made.items()
            if name in source.channels
        }
        own = source.channels[source.rgb_names[0]].dtype
        added = {
            name: _as_type(samples, own)
            for name, samples in made.items()
            if name not in source.channels
        }
        data = writer.encode(source, words, self._header, added)
        return EncodedFrame(
            data, partial(key_stats, frame, keyed.alpha, keyed.foreground, keyed.screen)
        )

    def _channels(self, source: reader.Frame, keyed: Keyed) -> Mapping[str, Alpha]:
        """Every channel of the result that is not the plate's own, over the frame's data window."""
        color = self._plates.color
        cover = keyed.alpha[..., None]
        whole = keyed.foreground * cover
        if self._settings.alpha_mode == "straight":
            whole = keyed.foreground
        layer = layer_of(source.rgb_names[0])
        prefix = f"{layer}." if layer else ""
        channels = {f"{prefix}A": keyed.alpha, "alpha.A": keyed.alpha}
        pictures = {"fg": keyed.foreground, "screen": keyed.screen}
        for name, light in pictures.items():
            encoded = color.from_scene(light)
            channels.update({f"{name}.{c}": encoded[..., i] for i, c in enumerate("RGB")})
        encoded = color.from_scene(whole)
        channels.update({name: encoded[..., i] for i, name in enumerate(source.rgb_names)})
        canvas = self._plates.canvas
        if source.window == canvas:
            return channels
        return {n: on_window(v, canvas, source.window, 0.0) for n, v in channels.items()}


def _as_type(samples: Alpha, dtype: Any) -> Any:
    """In the file's own type; light that a half cannot hold becomes its largest."""
    if dtype == np.float16:
        samples = np.clip(samples, -HALF_MOST, HALF_MOST)
    return np.ascontiguousarray(samples.astype(dtype))
