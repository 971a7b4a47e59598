"""Describes a sequence: format, windows, channels, color space, range, gaps, and the parts that a job would use."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from voidbridge_backend.exr.header import Header, Part
from voidbridge_backend.exr.layers import Selection, choose_picture, pictures
from voidbridge_backend.exr.matte_channels import Rank, candidates
from voidbridge_backend.formats.files import FrameReader
from voidbridge_backend.formats.kinds import format_of
from voidbridge_backend.imaging.color import ColorPlan
from voidbridge_backend.sequences.found import find
from voidbridge_backend.sequences.patterns import Sequence, compact, frames_for
from voidbridge_protocol.errors import VoidbridgeError

UNCUT = 10_000
"""Columns of a table that a program reads."""


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
    """The type of each channel, by name."""
    layers: list[str]
    """Layers with a picture, as `--layer` takes them; empty for the root's R, G and B."""
    plate: str
    """The channels that a job would work on, or why there are none."""
    mattes: list[str]
    """Channels that could be a matte, as `--matte-channel` takes them."""
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
    mattes = _mattes(header)
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
        channels={c.name: c.type.name.lower() for each in header.parts for c in each.channels},
        layers=[picture.layer for picture in pictures(header)],
        plate=", ".join(plate.channels) if isinstance(plate, Selection) else plate,
        mattes=mattes,
        color_space=_color(part, ocio),
        lowest=lowest,
        highest=highest,
    )


def show(names: list[str], as_json: bool, ocio: str = "") -> None:
    """A table for each name on standard output, or a JSON object a line. Raises `RequestError`."""
    for name in names:
        said = asdict(describe(name, ocio))
        if as_json:
            print(json.dumps(said))
            continue
        table = Table(box=None, pad_edge=False, show_header=False)
        for field, value in said.items():
            table.add_row(field.replace("_", " "), _shown(value))
        Console(highlight=False, markup=False, soft_wrap=True, width=UNCUT).print(table)


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


def _mattes(header: Header) -> list[str]:
    try:
        return [c.channel for c in candidates(header) if c.rank is not Rank.COLOR]
    except VoidbridgeError:
        return []


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
