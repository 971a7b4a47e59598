"""The frames of a shot as pixels: decoded on demand, in the display window, with a bounded cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.exr.header import Header
from voidbridge_backend.exr.layers import Selection, choose_picture
from voidbridge_backend.exr.matte_channels import candidates
from voidbridge_backend.exr.reader import Choose, Samples
from voidbridge_backend.formats.files import FrameReader
from voidbridge_backend.formats.kinds import is_clip
from voidbridge_backend.imaging.color import ColorPlan, Pixels, sanitize
from voidbridge_backend.imaging.mattes.quadmask import on_window
from voidbridge_backend.render.decode_limits import DecodeLimits
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_backend.web.folders import Folders
from voidbridge_protocol.errors import BadSetting, MissingFrames, UnclearLayer

from .bounded_cache import BoundedCache

FRAMES_BYTES = 512 << 20
"""Bytes of decoded frames: eight of 4K in half floats, with their small pictures."""
OPEN_CLIPS = 4
"""Clips that stay open: plate and result of two players."""
HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
"""The value of every half, by its bits."""
LIMITS = DecodeLimits(pixels=300_000_000)

Values = NDArray[np.float32]
"""[height, width] of the display window: one channel."""
Tile = tuple[int, int, int, int]
"""Left, top, width and height in pixels of the display window."""
Version = tuple[str, int, int]
"""Path, time and size of a file."""


@dataclass(frozen=True)
class FrameSize:
    """The display window of a frame, and the shape of its pixels."""

    width: int
    height: int
    aspect: float
    channels: tuple[str, ...]


class ShotReader:
    """Reads frames of the named folders. Safe between threads."""

    def __init__(self, folders: Folders, ocio: str = "") -> None:
        self._folders = folders
        self._files = FrameReader()
        self._clips: BoundedCache[FrameReader] = BoundedCache(OPEN_CLIPS)
        self._frames: BoundedCache[Any] = BoundedCache(FRAMES_BYTES)
        self.ocio = ocio or None
        """The OpenColorIO config; None for the built-in one."""

    def size(self, sequence: Sequence, frame: int) -> FrameSize:
        """Reads the header only. Raises `RequestError`."""
        header = self._header(sequence, frame)
        part = (
            header.parts[choose_picture(header).part] if len(header.parts) > 1 else header.parts[0]
        )
        window = part.display_window
        names = tuple(channel.name for found in header.parts for channel in found.channels)
        return FrameSize(window.width, window.height, part.aspect, names)

    def color(self, sequence: Sequence, frame: int, space: str = "", layer: str = "") -> ColorPlan:
        """How the file's values become light. Raises `BadColorSpace`, `UnclearLayer`."""
        header = self._header(sequence, frame)
        part = header.parts[choose_picture(header, layer).part]
        return ColorPlan.choose(space, part, self.ocio)

    def light(
        self,
        sequence: Sequence,
        frame: int,
        color: ColorPlan,
        layer: str = "",
        tile: Tile | None = None,
        width: int = 0,
    ) -> Pixels:
        """Scene-linear light, [height, width, 3] of the display window or of a part of it, finite.

        With `width` no wider than that. A small picture is the mean of the file's own values: conversion of a whole
        4K frame would take longer than all else. Raises `RequestError`.
        """

        def made() -> Pixels:
            choose = partial(choose_picture, layer=layer)
            planes = self._planes(("picture", layer), sequence, frame, choose, keeps=not width)
            small = [shrunk(_floats(part_of(plane, tile)), width) for plane in planes]
            light = cv2.merge(small if len(small) == 3 else small * 3)
            return sanitize(color.to_scene(light))

        if tile is not None:
            return made()
        kind = ("light", color.space, layer, width)
        found: Pixels = self._kept(kind, sequence, frame, made)
        return found

    def matte(
        self, sequence: Sequence, frame: int, tile: Tile | None = None, width: int = 0
    ) -> Values:
        """The likeliest matte channel, 0 to 1 as it is stored, [height, width] as `light`."""
        return self._values(("matte",), sequence, frame, _choose_matte, tile, width)

    def channel(
        self, sequence: Sequence, frame: int, name: str, tile: Tile | None = None, width: int = 0
    ) -> Values:
        """One channel by its name, as `matte`. Raises `UnclearLayer` if the file has none of that name."""

        def choose(header: Header) -> Selection:
            for index, part in enumerate(header.parts):
                if any(channel.name == name for channel in part.channels):
                    return Selection(index, (name,))
            raise UnclearLayer(f"frame {frame} of {sequence} has no channel {name}", "")

        return self._values(("channel", name), sequence, frame, choose, tile, width)

    def version(self, sequence: Sequence, frame: int) -> Version:
        """Changes when the frame's file does. Raises `MissingFrames`, `PathNotAllowed`."""
        path = self._folders.file(sequence, frame)
        try:
            found = path.stat()
        except OSError as error:
            raise MissingFrames(f"{path}: {error.strerror}") from error
        return str(path), found.st_mtime_ns, found.st_size

    def _header(self, sequence: Sequence, frame: int) -> Header:
        version = self.version(sequence, frame)
        path = Path(version[0])
        found = self._reader(version).header(path, path.name, sequence.index(frame))
        return LIMITS.checked(found)

    def _reader(self, version: Version) -> FrameReader:
        """The one of all files but clips: each of these has its own, which keeps it open until it changes."""
        if not is_clip(Path(version[0])):
            return self._files
        held: FrameReader = self._clips.once(version, FrameReader, lambda _: 1)
        return held

    def _values(
        self,
        kind: tuple[str, ...],
        sequence: Sequence,
        frame: int,
        choose: Choose,
        tile: Tile | None,
        width: int,
    ) -> Values:
        def made() -> Values:
            keeps = not width
            (stored,) = self._planes(kind, sequence, frame, choose, keeps=keeps, as_matte=True)
            scale = np.float32(np.iinfo(stored.dtype).max if stored.dtype.kind == "u" else 1)
            values: Values = shrunk(np.nan_to_num(_floats(part_of(stored, tile)) / scale), width)
            return values

        if tile is not None:
            return made()
        found: Values = self._kept(("values", *kind, width), sequence, frame, made)
        return found

    def _planes(
        self,
        kind: tuple[str, ...],
        sequence: Sequence,
        frame: int,
        choose: Choose,
        *,
        keeps: bool,
        as_matte: bool = False,
    ) -> tuple[Samples, ...]:
        """The chosen channels as the file stores them, of the display window. `kind` stands for the choice.

        Tiles of a frame follow each other, so it is kept for them. Beside a small picture it is not: fresh memory
        for each frame takes as long as half of its decoding.
        """

        def made() -> tuple[Samples, ...]:
            version = self.version(sequence, frame)
            path, index = Path(version[0]), sequence.index(frame)
            read = self._reader(version).read(
                path, path.name, choose, LIMITS.checked, index, as_matte=as_matte
            )
            planes = [read.channels[name] for name in read.selected[: 1 if as_matte else 3]]
            have, want = read.window, read.part.display_window
            return tuple(
                plane if have == want else on_window(plane, have, want, 0) for plane in planes
            )

        if keeps:
            found: tuple[Samples, ...] = self._kept(kind, sequence, frame, made)
            return found
        return self._frames.get(self._key(kind, sequence, frame)) or made()

    def _key(self, kind: Any, sequence: Sequence, frame: int) -> tuple[Any, ...]:
        return kind, self.version(sequence, frame), sequence.index(frame)

    def _kept(self, kind: Any, sequence: Sequence, frame: int, made: Callable[[], Any]) -> Any:
        """Returns the result of `made`, one array or several. Requests at the same time share one call."""
        return self._frames.once(self._key(kind, sequence, frame), made, _bytes)


def part_of(pixels: Any, tile: Tile | None) -> Any:
    """The part of a picture; all of it without a tile. Raises `BadSetting` for one outside."""
    if tile is None:
        return pixels
    left, top, width, height = tile
    found = pixels[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    if not found.size:
        raise BadSetting(f"the part at {left},{top} lies outside of the picture")
    return found


def shrunk(pixels: Any, most: int) -> Any:
    """The picture with at most so many pixels across; 0 is its own size."""
    height, width = pixels.shape[:2]
    if not most or width <= most:
        return pixels
    size = most, max(round(height * most / width), 1)
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def _floats(plane: Samples) -> Values:
    """The same values. A table of all halves takes a third of the time of NumPy's conversion."""
    if plane.dtype != np.float16:
        return np.ascontiguousarray(plane, np.float32)
    found: Values = cv2.LUT(np.ascontiguousarray(plane).view(np.uint16), HALVES)
    return found


def _bytes(made: Any) -> int:
    planes = made if isinstance(made, tuple) else (made,)
    return sum(plane.nbytes for plane in planes)


def _choose_matte(header: Header) -> Selection:
    found = candidates(header)[0]
    return Selection(found.part, (found.channel,))
