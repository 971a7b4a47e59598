"""Combines mattes that are there into a quadmask, in the plate's frames and windows, without tracking."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.exr import seal
from voidbridge_backend.exr.header import Header, Part, Window
from voidbridge_backend.exr.layers import Selection, choose_picture
from voidbridge_backend.exr.matte_channels import candidates
from voidbridge_backend.exr.multi_part import split
from voidbridge_backend.formats.files import FrameReader
from voidbridge_backend.imaging.mattes.quadmask import AFFECTED, CODES, OVERLAP, on_window
from voidbridge_backend.sequences.consistency import agree
from voidbridge_backend.sequences.patterns import Sequence as Pattern
from voidbridge_protocol import __version__
from voidbridge_protocol.errors import BadMatte

from .object_mattes import encoded


@dataclass(frozen=True)
class RoledMatte:
    """One object's matte. `role` is primary, belonging or affected."""

    role: str
    pattern: Pattern


def quadmasks(
    plate: Pattern, layers: Sequence[RoledMatte], frames: Sequence[int], *, grid: bool = True
) -> Iterator[tuple[int, bytes]]:
    """(frame, sealed OpenEXR file with channel Y: codes / 255). The first of `frames` has no affected area.

    Raises `FrameMismatch` for windows that differ, `BadMatte` for a quadmask among the mattes, and what a file
    that cannot be read raises.
    """
    reader = FrameReader()
    headers = {frame: _header(reader, plate, frame) for frame in frames}
    mattes = {
        f"matte {layer.pattern}": {
            frame: _header(reader, layer.pattern, frame, as_matte=True) for frame in frames
        }
        for layer in layers
    }
    canvas, _ = agree(headers, mattes)
    first = headers[frames[0]]
    like = first.parts[choose_picture(first).part]
    source = {str(layer.pattern): layer.role for layer in layers}
    attributes = {
        "voidbridge/version": __version__,
        seal.ATTRIBUTE: seal.BLANK,
        "voidbridge/provenance": json.dumps({"operation": "mask", "combined": source}),
    }
    for frame in frames:
        read = [
            (layer.role, matte_values(reader, layer.pattern, frame, canvas)) for layer in layers
        ]
        yield frame, _file(read, like, canvas, attributes, frame == frames[0], grid)


def _file(
    mattes: Sequence[tuple[str, NDArray[np.float32]]],
    like: Part,
    canvas: Window,
    attributes: dict[str, str],
    is_first: bool,
    grid: bool,
) -> bytes:
    named = {str(number): matte for number, matte in enumerate(mattes)}
    data = encoded(named, like, canvas, attributes, is_first=is_first, grid=grid, alone=True)
    [(_, file)] = split(data)
    return file


def _header(reader: FrameReader, pattern: Pattern, frame: int, *, as_matte: bool = False) -> Header:
    path = pattern.path(frame)
    return reader.header(path, path.name, pattern.index(frame), as_matte=as_matte)


def matte_values(
    reader: FrameReader, pattern: Pattern, frame: int, canvas: Window
) -> NDArray[np.float32]:
    """The matte [height, width] of the canvas, 0 to 1; 0 outside its own window.

    Raises `BadMatte` for a quadmask and for values that are not finite.
    """
    path, index = pattern.path(frame), pattern.index(frame)
    read = reader.read(path, path.name, _choose, lambda header: header, index, as_matte=True)
    samples = read.channels[read.selected[0]]
    values = samples.astype(np.float32)
    if samples.dtype.kind == "u":
        values /= np.float32(np.iinfo(samples.dtype).max)
    if not np.isfinite(values).all():
        raise BadMatte(f"{path.name} has values that are not finite", "Write it from 0 to 1.")
    levels = np.unique(np.rint(values * 255))
    if np.isin(levels, CODES).all() and np.isin(levels, (OVERLAP, AFFECTED)).any():
        raise BadMatte(
            f"{path.name} is a quadmask, and mattes are combined",
            "Name the matte of one object, as it was written beside the quadmask.",
        )
    return np.asarray(on_window(values, read.window, canvas, 0.0), np.float32)


def _choose(header: Header) -> Selection:
    found = candidates(header)[0]
    return Selection(found.part, (found.channel,))
