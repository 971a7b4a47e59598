"""Locates the chunks of an OpenEXR file and assembles files from chunks.

Works on bytes and decompresses nothing. A chunk's payload is what a single-part file stores for it:
coordinates, size and data. Multi-part files put the part's number in front.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from voidbridge_protocol.errors import UnreadableFrame

from .header import LONG_NAMES, MAGIC, TILED, Header
from .part import Attribute, Part

Bytes = bytes | memoryview

PLAIN_LIMIT = 31
"""Maximum bytes of a name in files without the flag for long names."""


@dataclass(frozen=True)
class ExrChunk:
    """One chunk in a file: its part, its number, its offset and its payload."""

    part: int
    number: int
    """Index in the part's chunk table."""
    offset: int
    payload: Bytes


def chunks_of(data: bytes, header: Header, index: int, name: str) -> list[ExrChunk]:
    """Returns the chunks of part `index` in table order. Checks the position and coordinates of each.

    Raises `UnreadableFrame` if the part is incomplete or its table is wrong.
    """
    part = header.parts[index]
    if part.decoded_bytes and not part.offsets:
        raise UnreadableFrame(f"{name} does not say how many chunks its part {index} has")
    view = memoryview(data)
    offsets = part.offsets
    if not any(offsets) and known_order(header, part):
        offsets = rebuilt_table(data, header.size, part)
    missing = sum(offset == 0 for offset in offsets)
    if missing:
        raise UnreadableFrame(
            f"{name} is incomplete: {missing} of {len(offsets)} blocks were never written",
            "The render was interrupted; render the frame again.",
        )
    known = not part.deep and (part.tiles is None or part.tiles.level_mode == 0)
    found = []
    for number, offset in enumerate(offsets):
        begin = offset
        try:
            if header.multipart:
                (owner,) = struct.unpack_from("<i", data, offset)
                begin += 4
                if owner != index:
                    raise UnreadableFrame(f"{name}: block {number} belongs to part {owner}")
            size = _payload_size(data, begin, part)
            if known:
                _check_place(data, begin, part, number, name)
        except (struct.error, OverflowError) as error:
            raise UnreadableFrame(f"{name} ends before its block {number}") from error
        if size < 0 or begin + size > len(data):
            raise UnreadableFrame(
                f"{name} ends within block {number} of {len(part.offsets)}: "
                f"it has {len(data)} bytes and needs {begin + size}",
                "The file was cut off while it was written or copied; render or copy it again.",
            )
        found.append(ExrChunk(index, number, offset, view[begin : begin + size]))
    return found


def known_order(header: Header, part: Part) -> bool:
    """Whether blocks can be found without a table: one flat part of scanlines."""
    return not header.multipart and not part.deep and part.tiles is None


def rebuilt_table(data: bytes, begin: int, part: Part) -> tuple[int, ...]:
    """The places of the blocks of a file whose writer was stopped before its table; 0 for one that is not there.

    Each block says which line it begins with and how long it is, and they stand one behind the other after the
    table. OpenEXR rebuilds it in the same way.
    """
    count = len(part.offsets)
    found = [0] * count
    at = begin + 8 * count
    while at + 8 <= len(data):
        line, size = struct.unpack_from("<ii", data, at)
        number, odd = divmod(line - part.data_window.ymin, part.codec.rows)
        if odd or not 0 <= number < count or size < 0 or at + 8 + size > len(data):
            break
        found[number] = at
        at += 8 + size
    return tuple(found)


def place_of(part: Part, number: int) -> tuple[int, ...]:
    """Returns the coordinates that chunk `number` of a flat part must have: (y,) or (tile x, tile y, 0, 0)."""
    if part.tiles is None:
        return (part.data_window.ymin + number * part.codec.rows,)
    across = -(-part.data_window.width // part.tiles.width)
    return number % across, number // across, 0, 0


def flat_file(part: Part, channels: bytes, payloads: Sequence[Bytes]) -> bytes:
    """Returns a single-part file with only this part's pixels and the attributes that a decoder needs.

    `channels` is the value of its attribute `channels`. The chunks are in table order.
    """
    keep = {"compression", "dataWindow"} | ({"tiles"} if part.tiles else set())
    attributes = [a for a in part.attributes if a.name in keep]
    window = part.find("dataWindow")
    assert window is not None, "a parsed part has a data window"
    attributes += [
        Attribute("channels", "chlist", channels),
        Attribute("displayWindow", "box2i", window.value),
        Attribute("lineOrder", "lineOrder", b"\0"),
        Attribute("pixelAspectRatio", "float", struct.pack("<f", 1)),  # a decoder refuses 0
        Attribute("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
        Attribute("screenWindowWidth", "float", struct.pack("<f", 1)),
    ]
    version = 2 | LONG_NAMES | (TILED if part.tiles else 0)
    chunks = [ExrChunk(0, number, number, payload) for number, payload in enumerate(payloads)]
    return file_of(version, [attributes], chunks, multipart=False)


def file_of(
    version: int,
    parts: Sequence[Iterable[Attribute]],
    chunks: Sequence[ExrChunk],
    *,
    multipart: bool,
) -> bytes:
    """Returns a whole file: these attributes for each part, then these chunks in the given order.

    Builds matching chunk tables. `version` is the whole field with its flags.
    """
    names = [a.name for attributes in parts for a in attributes]
    if any(len(name) > PLAIN_LIMIT for name in names):
        version |= LONG_NAMES
    head = [struct.pack("<ii", MAGIC, version)]
    for attributes in parts:
        head += [_attribute_bytes(attribute) for attribute in attributes]
        head.append(b"\0")
    if multipart:
        head.append(b"\0")
    counts = [0] * len(parts)
    for chunk in chunks:
        counts[chunk.part] += 1
    at = sum(map(len, head)) + 8 * len(chunks)
    tables = [[0] * count for count in counts]
    body: list[Bytes] = []
    for chunk in chunks:
        tables[chunk.part][chunk.number] = at
        if multipart:
            body.append(struct.pack("<i", chunk.part))
            at += 4
        body.append(chunk.payload)
        at += len(chunk.payload)
    return b"".join([*head, *(struct.pack(f"<{len(t)}Q", *t) for t in tables), *body])


def _attribute_bytes(attribute: Attribute) -> bytes:
    words = (attribute.name.encode("latin-1"), attribute.type.encode("latin-1"))
    size = struct.pack("<i", len(attribute.value))
    return b"\0".join(words) + b"\0" + size + attribute.value


def _payload_size(data: bytes, offset: int, part: Part) -> int:
    place = 16 if part.tiled else 4
    if part.deep:
        table, packed = struct.unpack_from("<QQ", data, offset + place)
        return int(place + 24 + table + packed)
    (size,) = struct.unpack_from("<i", data, offset + place)
    return place + 4 + int(size) if size >= 0 else -1


def _check_place(data: bytes, offset: int, part: Part, number: int, name: str) -> None:
    expected = place_of(part, number)
    found = struct.unpack_from(f"<{len(expected)}i", data, offset)
    if found != expected:
        raise UnreadableFrame(f"{name}: block {number} claims to be at {found}, not {expected}")
