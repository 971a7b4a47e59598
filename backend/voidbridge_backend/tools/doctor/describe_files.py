"""Describes a sequence: format, windows, channels, color space, range, gaps, and the parts that a job would use."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from voidbridge_backend.exr.header import Header, Part
from voidbridge_backend.exr.layers import Selection, choose_picture, pictures
from voidbridge_backend.exr.matte_channels import Candidate, Rank, candidates
from voidbridge_backend.exr.part import flat_refusal
from voidbridge_backend.formats.files import FrameReader
from voidbridge_backend.formats.kinds import format_of
from voidbridge_backend.imaging.color import ColorPlan
from voidbridge_backend.log_format import one_line
from voidbridge_backend.render.matte_survey import is_gray
from voidbridge_backend.sequences.found import find
from voidbridge_backend.sequences.patterns import Sequence, compact, frames_for
from voidbridge_protocol.errors import RequestError, VoidbridgeError

NAME_WIDTH = 16
"""Columns of a field's name in the table."""


@dataclass(frozen=True)
class Description:
    """One sequence, from its first frame and from what is in its folder."""

    files: str
    frames: str
    missing: str
    """Numbers between the first and the last that are not there; empty for none."""
    format: str
    display_window: str
    data_window: str
    pixel_aspect: float
    channels: dict[str, str]
    """The type of each channel, by name; the part's name stands before one that several parts have."""
    layers: list[str]
    """Layers with a picture that can be worked on, as `--layer` takes them; empty for the root's R, G and B."""
    plate: str
    """The channels that a job would work on, or why there are none."""
    mattes: list[str]
    """Channels that could be a matte, as `--matte-channel` takes them; of R, G and B only if they are gray."""
    color_space: str
    """With how it is known, or why it is not."""
    lowest: float | None
    highest: float | None
    """The extremes of the first frame's picture, or of its first channel; null for no finite value."""


def describe(text: str, ocio: str = "") -> Description:
    """Describes the sequence, file, clip or folder of this name. Raises `RequestError`."""
    sequence = find(text)
    there = sequence.scan() or frames_for(sequence, None)
    reader, path, index = FrameReader(), sequence.path(there[0]), sequence.index(there[0])
    header = reader.header(path, path.name, index)
    part, plate = _plate(header)
    mattes = _mattes(reader, sequence, there[0], header)
    if isinstance(plate, str) and mattes:
        plate = f"none (only: {', '.join(mattes)}); usable as a matte"
    selection = plate if isinstance(plate, Selection) else Selection(0, (part.channels[0].name,))
    lowest, highest = _range(reader, sequence, there[0], selection)
    return Description(
        files=str(sequence),
        frames=compact(there),
        missing=compact(set(range(there[0], there[-1] + 1)) - set(there)),
        format=_format(path, part),
        display_window=str(part.display_window),
        data_window=str(part.data_window),
        pixel_aspect=part.pixel_aspect,
        channels=_channels(header),
        layers=[p.layer for p in pictures(header) if flat_refusal(header.parts[p.part]) is None],
        plate=", ".join(plate.channels) if isinstance(plate, Selection) else plate,
        mattes=mattes,
        color_space=_color(part, ocio),
        lowest=lowest,
        highest=highest,
    )


def show(names: list[str], as_json: bool, ocio: str = "") -> None:
    """A table for each name on standard output, or a JSON object a line.

    A name that cannot be described does not stop the others. Raises the first `RequestError` at the end.
    """
    refused: RequestError | None = None
    for number, name in enumerate(names):
        try:
            said = asdict(describe(name, ocio))
        except RequestError as error:
            refused = refused or error
            said = {"files": name, "error": error.text, "hint": error.hint}
        if as_json:
            print(json.dumps(said))
            continue
        rows = [
            f"{field.replace('_', ' '):{NAME_WIDTH}}{one_line(_shown(v))}"
            for field, v in said.items()
        ]
        print(*([""] if number else []), *rows, sep="\n")
    if refused is not None:
        raise refused


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} ({kind})" for name, kind in value.items())
    if isinstance(value, list):
        return ", ".join(str(item) or "R, G, B" for item in value) or "none"
    return (
        f"{value:g}"
        if isinstance(value, float)
        else str(value)
        if value not in (None, "")
        else "none"
    )


def _plate(header: Header) -> tuple[Part, Selection | str]:
    try:
        chosen = choose_picture(header)
    except VoidbridgeError as error:
        return header.parts[0], error.text
    return header.parts[chosen.part], chosen


def _channels(header: Header) -> dict[str, str]:
    every = [(part, c) for part in header.parts for c in part.channels]
    count = Counter(channel.name for _, channel in every)
    return {
        f"{part.name}.{c.name}" if count[c.name] > 1 else c.name: c.type.name.lower()
        for part, c in every
    }


def _mattes(reader: FrameReader, sequence: Sequence, frame: int, header: Header) -> list[str]:
    try:
        found = [c for c in candidates(header) if c.rank is not Rank.COLOR]
        return [c.channel for c in found if not c.beside or _is_gray(reader, sequence, frame, c)]
    except VoidbridgeError:
        return []


def _is_gray(reader: FrameReader, sequence: Sequence, frame: int, found: Candidate) -> bool:
    path, index = sequence.path(frame), sequence.index(frame)
    chosen = Selection(found.part, (found.channel, *found.beside))
    decoded = reader.read(path, path.name, lambda _: chosen, lambda header: header, index)
    return is_gray(decoded, found)


def _format(path: Path, part: Part) -> str:
    kind = format_of(path, path.name)
    if kind.kind != "exr":
        return part.text("voidbridge/source") or kind.name
    return f"{kind.name}, {part.type}, {part.compression}"


def _color(part: Part, ocio: str) -> str:
    try:
        plan = ColorPlan.choose("", part, ocio or None)
    except VoidbridgeError as error:
        return f"unknown: {error.text}"
    return f"{plan.space} ({plan.how})"


def _range(
    reader: FrameReader, sequence: Sequence, frame: int, selection: Selection
) -> tuple[float | None, float | None]:
    path = sequence.path(frame)
    try:
        decoded = reader.read(
            path, path.name, lambda header: selection, lambda header: header, sequence.index(frame)
        )
    except VoidbridgeError:
        return None, None
    values = np.stack([decoded.channels[name].astype(np.float64) for name in selection.channels])
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (None, None)
