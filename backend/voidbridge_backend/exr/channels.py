"""Adds channels to a part's header. Standard library only; `reader` and `writer` handle pixels."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace

from .part import Channel, Part, PixelType


def with_channels(part: Part, added: Mapping[str, PixelType]) -> Part:
    """Returns `part` with new channels. All existing channels keep their header bytes.

    OpenEXR requires channels in the byte order of their names.
    """
    source = part.find("channels")
    assert source is not None, "a parsed part has channels"
    named = list(zip(_entries(source.value), part.channels, strict=True))
    for name, type_ in added.items():
        entry = name.encode() + b"\0" + struct.pack("<iB3xii", type_, 0, 1, 1)
        named.append((entry, Channel(name, type_, 1, 1, False)))
    named.sort(key=lambda pair: pair[0][: pair[0].index(b"\0")])
    value = b"".join(entry for entry, _ in named) + b"\0"
    attributes = tuple(
        replace(attribute, value=value) if attribute is source else attribute
        for attribute in part.attributes
    )
    return replace(part, attributes=attributes, channels=tuple(channel for _, channel in named))


def _entries(value: bytes) -> list[bytes]:
    """Splits a channel list: each entry is a name, a zero byte and 16 bytes; one zero byte ends the list."""
    found, at = [], 0
    while value[at : at + 1] != b"\0":
        end = value.index(b"\0", at) + 17
        found.append(value[at:end])
        at = end
    return found
