"""Writes a frame with new pixels: the source file, with only the changed blocks replaced.

All other pixel bytes, every attribute and every other part are copied from the source. The library rejects
files with an attribute that it cannot represent, so it only receives a copy without attributes.
"""

from __future__ import annotations

import errno
import io
import os
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
from numpy.typing import NDArray

from voidbridge_protocol.errors import DiskFull

from .channels import with_channels
from .chunks import Bytes, ExrChunk, chunks_of, file_of, place_of
from .compression import CODECS
from .header import Attribute, Part, PixelType, Tiles, flat_count, parse_header
from .reader import DTYPES, Frame, Samples, bits, decoder_channels

ZIP = 3
"""Number of the compression that replaces a lossy one."""


def encode(
    frame: Frame,
    words: Mapping[str, Samples],
    attributes: Mapping[str, str] | None = None,
    added: Mapping[str, Samples] | None = None,
) -> bytes:
    """Returns the frame's file with these channels replaced and these strings added to its header.

    `words`       channels by name, each with the shape and type of `frame.channels`; a channel that is
                  not named stays unchanged. No bit of them is altered.
    `attributes`  string attributes for the part; an existing one is replaced in place.
    `added`       channels that the frame does not have, of its shape, float16 or float32; they make every
                  block a new one.

    A frame that came in another format is encoded whole. The compression stays when it is lossless and becomes
    ZIP when not. The same arguments give the same bytes.
    """
    part = frame.part
    channels = _replaced(frame, words)
    rows = _changed_rows(frame.channels, channels)
    if not frame.source:
        rows[:] = True
    if added:
        part = with_channels(part, {name: _type_of(samples) for name, samples in added.items()})
        channels |= added
        rows[:] = True
    chunks = _all_chunks(frame) if frame.source else _blank_chunks(frame)
    listed = [list(p.attributes) for p in frame.header.parts]
    if not part.lossless and rows.any():
        part, rows = _zipped(part), np.ones_like(rows)
        chunks = _swapped(
            chunks, frame.index, _encoded(part, channels, _blocks_of(part, rows)), part
        )
    elif rows.any():
        renewed = _encoded(part, channels, _blocks_of(part, rows))
        chunks = [
            ExrChunk(c.part, c.number, c.offset, renewed.get(c.number, c.payload))
            if c.part == frame.index
            else c
            for c in chunks
        ]
    listed[frame.index] = list(part.attributes)
    _put_strings(listed[frame.index], attributes or {})
    return file_of(frame.header.version, listed, chunks, multipart=frame.header.multipart)


def _type_of(samples: Samples) -> PixelType:
    return next(type_ for type_, dtype in DTYPES.items() if samples.dtype == dtype)


def write(
    path: Path,
    frame: Frame,
    words: Mapping[str, Samples],
    attributes: Mapping[str, str] | None = None,
) -> None:
    """Encodes into a file atomically. Raises `DiskFull` if there is no space."""
    data = encode(frame, words, attributes)
    unfinished = path.with_name(path.name + ".tmp")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no room for the {len(data)} bytes of {path}") from error
        raise


def _replaced(frame: Frame, words: Mapping[str, Samples]) -> dict[str, Samples]:
    channels = dict(frame.channels)
    for name, samples in words.items():
        source = channels.get(name)
        if source is None:
            raise ValueError(f"{frame.name} has no channel {name}, only {', '.join(channels)}")
        if samples.shape != source.shape or samples.dtype != source.dtype:
            raise ValueError(
                f"channel {name} is {samples.dtype} {samples.shape}, "
                f"in {frame.name} it is {source.dtype} {source.shape}"
            )
        channels[name] = samples
    return channels


def _changed_rows(before: Mapping[str, Samples], after: Mapping[str, Samples]) -> NDArray[np.bool_]:
    """[height]: rows in which any bit differs. NaNs and zeros are compared as words, not as numbers."""
    changed = None
    for name, samples in after.items():
        if samples is before[name]:
            continue
        rows = (bits(samples) != bits(before[name])).any(axis=1)
        changed = rows if changed is None else changed | rows
    height = len(next(iter(before.values())))
    return np.zeros(height, bool) if changed is None else changed


def _block_height(part: Part) -> int:
    return part.tiles.height if part.tiles else part.codec.rows


def _blocks_of(part: Part, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[blocks]: the blocks of rows (scanlines or tiles) that contain one of these rows."""
    return np.logical_or.reduceat(rows, np.arange(0, len(rows), _block_height(part)))


def _encoded(
    part: Part, channels: Mapping[str, Samples], blocks: NDArray[np.bool_]
) -> dict[int, Bytes]:
    """Returns the payloads of the chunks in these blocks, by their number in the part's table."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], blocks.astype(np.int8), [0]])))
    across = 1 if part.tiles is None else -(-part.data_window.width // part.tiles.width)
    found: dict[int, Bytes] = {}
    for first, end in edges.reshape(-1, 2).tolist():
        for number, payload in enumerate(_band(part, channels, first, end), first * across):
            found[number] = _placed(part, number, payload)
    return found


def _band(part: Part, channels: Mapping[str, Samples], first: int, end: int) -> list[Bytes]:
    """Returns the payloads of blocks `first` to `end` (excluded), encoded as one image."""
    window, step = part.data_window, _block_height(part)
    top, bottom = first * step, min(end * step, window.height)
    _, labels = decoder_channels(part)
    planes = {}
    for channel, label in zip(part.channels, labels, strict=True):
        plane = np.ascontiguousarray(channels[channel.name][top:bottom])
        planes[label] = OpenEXR.Channel(label, plane, 1, 1, channel.p_linear)
    corners = [[window.xmin, window.ymin + top], [window.xmax, window.ymin + bottom - 1]]
    box = tuple(np.array(corner, np.int32) for corner in corners)
    header: dict[str, Any] = {
        "compression": OpenEXR.Compression(CODECS.index(part.codec)),
        "type": OpenEXR.scanlineimage,
        "dataWindow": box,
        "displayWindow": box,
    }
    if part.tiles is not None:
        header["type"] = OpenEXR.tiledimage
        header["tiles"] = _one_level(part.tiles)
    file = io.BytesIO()
    OpenEXR.File(header, planes, num_threads=0).write(file)
    data = file.getvalue()
    return [c.payload for c in chunks_of(data, parse_header(data), 0, "the encoded frame")]


def _one_level(tiles: Tiles) -> Any:
    description = OpenEXR.TileDescription()
    description.xSize, description.ySize = tiles.width, tiles.height
    description.mode = OpenEXR.ONE_LEVEL
    return description


def _placed(part: Part, number: int, payload: Bytes) -> Bytes:
    """Shifts a tile's row number, because tiles count from the top of the encoded band."""
    place = place_of(part, number)
    return struct.pack(f"<{len(place)}i", *place) + bytes(payload[4 * len(place) :])


def _all_chunks(frame: Frame) -> list[ExrChunk]:
    """Returns every chunk of every part in file order."""
    every = [
        chunk
        for index in range(len(frame.header.parts))
        for chunk in chunks_of(frame.source, frame.header, index, frame.name)
    ]
    return sorted(every, key=lambda chunk: chunk.offset)


def _blank_chunks(frame: Frame) -> list[ExrChunk]:
    """The places of a frame that no file has yet; each is filled before it is written."""
    return [ExrChunk(frame.index, number, number, b"") for number in range(flat_count(frame.part))]


def _zipped(part: Part) -> Part:
    """Returns the part with ZIP as its compression, and with the table length that its header states."""
    codec = CODECS[ZIP]
    count = flat_count(replace(part, codec=codec))
    values = {"compression": bytes([ZIP]), "chunkCount": struct.pack("<i", count)}
    attributes = [
        replace(a, value=values[a.name]) if a.name in values else a for a in part.attributes
    ]
    return replace(part, codec=codec, attributes=tuple(attributes))


def _swapped(
    chunks: list[ExrChunk], index: int, payloads: Mapping[int, Bytes], part: Part
) -> list[ExrChunk]:
    """Replaces the chunks of part `index`, at the position of its first chunk and in its line order."""
    begin = next(i for i, chunk in enumerate(chunks) if chunk.part == index)
    numbers = sorted(payloads, reverse=part.line_order == "decreasing")
    fresh = [ExrChunk(index, number, 0, payloads[number]) for number in numbers]
    others = [chunk for chunk in chunks[begin:] if chunk.part != index]
    return [*chunks[:begin], *fresh, *others]


def _put_strings(listed: list[Attribute], strings: Mapping[str, str]) -> None:
    for name, text in strings.items():
        fresh = Attribute(name, "string", text.encode())
        places = [i for i, attribute in enumerate(listed) if attribute.name == name]
        if places:
            listed[places[0]] = fresh
        else:
            listed.append(fresh)
