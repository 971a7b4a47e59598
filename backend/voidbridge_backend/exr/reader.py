"""Decodes one OpenEXR frame to arrays. Only `reader`, `writer` and `new_file` use the library OpenEXR.

Arrays are [height, width] over the data window, one per channel, in the file's own type: float16, float32 or
uint32, bit for bit.

The library reports a failed decode on standard output only and returns nothing, so the arrays are always
checked against the header. It rejects files with an attribute that it cannot represent, so it only receives a
copy without attributes.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
from numpy.typing import NDArray

from voidbridge_protocol.errors import UnclearLayer, UnreadableFrame, UnsupportedFrame

from .chunks import Bytes, chunks_of, flat_file
from .header import (
    Header,
    Part,
    PixelType,
    Window,
    check,
    flat_refusal,
    parse_header,
)
from .layers import Selection, choose_picture

Samples = NDArray[Any]
"""[height, width], float16, float32 or uint32: one channel as stored in the file."""

DTYPES: dict[PixelType, Any] = {
    PixelType.UINT: np.uint32,
    PixelType.HALF: np.float16,
    PixelType.FLOAT: np.float32,
}
Choose = Callable[[Header], Selection]
"""Says which part of a file is decoded, and which of its channels are meant."""
BAND = 32
"""Rows interleaved at once: few enough to stay in a core's cache."""


@dataclass(frozen=True)
class Frame:
    """A decoded part of a file, and the file itself, which a result is made from.

    `source` is empty for a frame that came in another format; then all of the result is encoded anew.
    """

    name: str
    header: Header
    index: int
    channels: dict[str, Samples]
    selected: tuple[str, ...]
    """The channels of the picture, or the matte's, that were asked for."""
    source: bytes = field(repr=False)

    @property
    def part(self) -> Part:
        return self.header.parts[self.index]

    @property
    def window(self) -> Window:
        """The data window, which the arrays cover."""
        return self.part.data_window

    @property
    def rgb_names(self) -> tuple[str, ...]:
        """The channels that were selected: the three of a picture, or the one of a gray picture."""
        return self.selected

    def rgb(self) -> NDArray[np.float32]:
        """[height, width, 3], float32, exactly the file's values; a gray picture three times."""
        planes = [self.channels[name] for name in self.rgb_names]
        planes = planes * 3 if len(planes) == 1 else planes
        pixels = np.empty((self.window.height, self.window.width, 3), np.float32)
        for top in range(0, self.window.height, BAND):
            for index, plane in enumerate(planes):
                pixels[top : top + BAND, :, index] = _as_float(plane[top : top + BAND])
        return pixels

    def planes(self, rgb: NDArray[np.float32]) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """The picture's channels by name, each with its plane of `rgb`, [height, width, 3].

        A gray picture takes the middle one.
        """
        indices = (1,) if len(self.rgb_names) == 1 else (0, 1, 2)
        for name, index in zip(self.rgb_names, indices, strict=True):
            yield name, rgb[..., index]


def _as_float(samples: Samples) -> Samples:
    """Half values as float32, from a table: NumPy's own conversion takes half as long again."""
    if samples.dtype != np.float16:
        return samples
    return np.take(_halves(), samples.view(np.uint16), mode="clip")


@cache
def _halves() -> NDArray[np.float32]:
    """The float32 value of each of the 65536 half values."""
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


def read(path: Path, choose: Choose = choose_picture, name: str = "") -> Frame:
    """The frame in this file; see `decode`. `UnreadableFrame` too for a file that cannot be opened."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableFrame(
            f"{name or path}: {error.strerror or error}",
            "Check that the file exists and that its folder is readable on this machine.",
        ) from error
    return decode(data, name or path.name, choose)


def decode(data: bytes, name: str = "the file", choose: Choose = choose_picture) -> Frame:
    """The part that `choose` picks, decoded. `name` is what errors call the file.

    Raises `UnreadableFrame` if the file is damaged or incomplete. Raises `UnsupportedFrame` if it is deep,
    mip-mapped, subsampled or has no picture.
    """
    header = parse_header(data, name)
    check(header, len(data), name)
    try:
        selection = choose(header)
        part = header.parts[selection.part]
        reason = flat_refusal(part)
        if reason is not None:
            raise UnsupportedFrame(f"this file is not supported: {reason}")
    except (UnsupportedFrame, UnclearLayer) as error:
        raise type(error)(f"{name}: {error.text}", error.hint) from error
    payloads = [chunk.payload for chunk in chunks_of(data, header, selection.part, name)]
    channels = _decoded(part, payloads, name)
    return Frame(name, header, selection.part, channels, selection.channels, data)


def bits(samples: Samples) -> Samples:
    """Returns the samples as unsigned words of their size, so that NaN and -0.0 compare bit by bit."""
    return np.ascontiguousarray(samples).view(np.dtype(f"u{samples.dtype.itemsize}"))


def _decoded(part: Part, payloads: list[Bytes], name: str) -> dict[str, Samples]:
    raw, labels = decoder_channels(part)
    shape = (part.data_window.height, part.data_window.width)
    stripped = flat_file(part, raw, payloads)
    try:
        file = OpenEXR.File(io.BytesIO(stripped), separate_channels=True, num_threads=0)
        parts = file.parts
        found = {} if len(parts) != 1 else parts[0].channels
    except (RuntimeError, ValueError, TypeError) as error:
        raise UnreadableFrame(f"{name} cannot be decoded: {error}") from error
    channels = {}
    for channel, label in zip(part.channels, labels, strict=True):
        samples = found[label].pixels if label in found else None
        if samples is None or samples.shape != shape or samples.dtype != DTYPES[channel.type]:
            raise UnreadableFrame(
                f"{name} cannot be decoded: its {part.compression} data for "
                f"{channel.name} is damaged"
            )
        channels[channel.name] = samples
    return channels


def decoder_channels(part: Part) -> tuple[bytes, list[str]]:
    """Returns the attribute `channels` for the library, and the names that it will use.

    The binding cannot represent names that are not UTF-8. Those parts get other names in the same byte order.
    DWA tells colors from data by name, so DWA names must stay.
    """
    source = part.find("channels")
    assert source is not None, "a parsed part has channels"
    names = [channel.name for channel in part.channels]
    if all(name.encode() + b"\0" in source.value for name in names):
        return source.value, names
    if part.compression.startswith("dwa"):
        raise UnsupportedFrame(
            "a channel's name is not UTF-8, and DWA cannot be decoded without it"
        )
    ordered = sorted(part.channels, key=lambda channel: channel.name.encode("latin-1", "replace"))
    labels = {channel.name: f"c{number:05}" for number, channel in enumerate(ordered)}
    entries = [
        labels[channel.name].encode() + b"\0" + struct.pack("<iB3xii", channel.type, 0, 1, 1)
        for channel in ordered
    ]
    return b"".join(entries) + b"\0", [labels[name] for name in names]
