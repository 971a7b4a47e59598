"""Frames of still formats as arrays, read by OpenImageIO. Its one home beside `clips`' PyAV.

Integers become float32, each divided by the largest that its type has, as OpenImageIO does it; floats and halves
stay as they are. No color transform, no premultiplication. A result carries these very values.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
from numpy.typing import NDArray

from voidbridge_backend.exr.header import Header, PixelType
from voidbridge_backend.exr.reader import Choose, Frame, Samples
from voidbridge_protocol.errors import UnreadableFrame, UnsupportedFrame

from .kinds import Format
from .orientation import UPRIGHT, source_text, upright, upright_aspect, upright_size
from .still_metadata import extras_of
from .synthetic import header_of

MOST_CHANNELS = 64
HEAD = 32
"""Bytes in which PNG, BMP and TGA say whether they have a palette."""
TAIL = 64 << 10
"""Bytes at the end of a JPEG in which its end mark is looked for: other data may follow it."""

oiio.attribute("limits:channels", MOST_CHANNELS)
oiio.attribute("threads", 1)


def read_header(path: Path, format_: Format, name: str, *, as_matte: bool = False) -> Header:
    """The header that the frame would have as OpenEXR; `name` is what errors call the file.

    `as_matte` makes one channel of the colors of a palette, which number objects.
    Raises `UnreadableFrame` or `UnsupportedFrame`.
    """
    with _opened(path, format_, name) as (_, spec):
        return _header(path, format_, spec, as_matte)


def read(
    path: Path, format_: Format, name: str, choose: Choose, *, as_matte: bool = False
) -> Frame:
    """The frame, decoded. As `exr.reader.read`; the source is empty, for there is no OpenEXR file yet."""
    with _opened(path, format_, name) as (file, spec):
        header = _header(path, format_, spec, as_matte)
        selection = choose(header)
        kind = "half" if str(spec.format) == "half" else "float"
        pixels = file.read_image(0, 0, 0, spec.nchannels, kind)
        if pixels is None:
            raise UnreadableFrame(f"{name} cannot be decoded: {_reason(file)}", DAMAGED)
        values = np.asarray(pixels).reshape(spec.height, spec.width, spec.nchannels)
        values = upright(values, _orientation(spec))
    planes = {
        channel: np.ascontiguousarray(values[..., index])
        for index, channel in enumerate(spec.channelnames)
    }
    if as_matte and _has_palette(path, format_, spec):
        planes = _without_colors(planes)
    channels: dict[str, Samples] = {c.name: planes[c.name] for c in header.parts[0].channels}
    return Frame(name, header, selection.part, channels, selection.channels, b"")


DAMAGED = "The file is damaged or was cut off; write or copy it again."


@contextmanager
def _opened(path: Path, format_: Format, name: str) -> Iterator[tuple[Any, Any]]:
    config = oiio.ImageSpec()
    config.attribute("oiio:UnassociatedAlpha", 1)
    file = oiio.ImageInput.open(str(path), config)
    if file is None:
        raise UnreadableFrame(
            f"{name} is {format_.name} that cannot be read: {_reason(None)}", DAMAGED
        )
    try:
        spec = file.spec()
        if file.format_name() != format_.plugin:
            raise UnreadableFrame(f"{name} begins as {format_.name} and does not go on so", DAMAGED)
        _check(spec, path, format_, name)
        yield file, spec
    finally:
        file.close()
        _reason(file)  # what is left in its list of errors would be printed


def _check(spec: Any, path: Path, format_: Format, name: str) -> None:
    if spec.deep or spec.depth > 1 or not 1 <= spec.nchannels <= MOST_CHANNELS:
        raise UnsupportedFrame(
            f"{name} has {spec.nchannels} channels and {spec.depth} layers of depth",
            "Write it with one flat picture.",
        )
    if not (1 <= spec.width <= 65536 and 1 <= spec.height <= 65536):
        raise UnreadableFrame(f"{name} claims {spec.width}x{spec.height} pixels", DAMAGED)
    if format_.plugin == "jpeg" and not _has_end(path):
        raise UnreadableFrame(f"{name} ends within its pixels", DAMAGED)
    claimed = spec.width * spec.height * spec.nchannels
    if claimed > 2000 * path.stat().st_size:
        raise UnreadableFrame(
            f"{name} has {path.stat().st_size} bytes and claims {claimed} {format_.name} samples",
            DAMAGED,
        )


def _has_end(path: Path) -> bool:
    """Whether a JPEG has its end mark; the library fills what is missing before it with gray."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        return b"\xff\xd9" in file.read()


def _header(path: Path, format_: Format, spec: Any, as_matte: bool) -> Header:
    kind = PixelType.HALF if str(spec.format) == "half" else PixelType.FLOAT
    names = list(spec.channelnames)
    if as_matte and _has_palette(path, format_, spec):
        names = list(_without_colors({name: np.zeros((1, 1), np.float32) for name in names}))
    bits = spec.get_int_attribute("oiio:BitsPerSample") or 8 * spec.format.size()
    is_float = str(spec.format) in ("half", "float", "double")
    source = f"{format_.name}, {bits}-bit float" if is_float else f"{format_.name}, {bits} bits"
    aspect, turn = spec.get_float_attribute("PixelAspectRatio", 1.0), _orientation(spec)
    return header_of(
        [(name, kind) for name in names],
        upright_size(spec.width, spec.height, turn),
        source_text(source, turn),
        extras_of(path, format_, spec),
        upright_aspect(aspect, turn),
    )


def _orientation(spec: Any) -> int:
    return int(spec.get_int_attribute("Orientation", UPRIGHT))


def _has_palette(path: Path, format_: Format, spec: Any) -> bool:
    """Whether the file stores numbers of colors: PNG's type 3, TIFF's photometric 3, BMP to 8 bits, TGA."""
    if format_.plugin == "tiff":
        return bool(spec.get_int_attribute("tiff:PhotometricInterpretation") == 3)
    with path.open("rb") as file:
        head = file.read(HEAD)
    if len(head) < HEAD:
        return False
    return {
        "png": head[25] == 3,
        "bmp": head[28] + 256 * head[29] <= 8,
        "targa": head[1] == 1,
    }.get(format_.plugin, False)


def _without_colors(planes: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Y, the largest of R, G and B, in their place: black is the number of no object."""
    colors = [planes[name] for name in "RGB" if name in planes]
    if len(colors) != 3:
        return planes
    others = {name: plane for name, plane in planes.items() if name not in "RGB"}
    return {"Y": np.maximum.reduce(colors), **others}


def _reason(file: Any) -> str:
    """Returns the library's messages, which may not be UTF-8, and empties its list."""
    try:
        said = (file.geterror() if file is not None else "") or oiio.geterror()
    except UnicodeDecodeError:
        said = ""
    return " ".join(said.split())[:300] or "no reason is given"
