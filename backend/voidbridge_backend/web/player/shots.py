"""The frames of a shot as pixels: decoded on demand, in the display window, with a bounded cache."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.exr.header import Header, Window
from voidbridge_backend.exr.layers import Selection, choose_picture
from voidbridge_backend.exr.matte_channels import candidates
from voidbridge_backend.exr.reader import Choose
from voidbridge_backend.formats.files import FrameReader
from voidbridge_backend.imaging.color import ColorPlan, Pixels, sanitize
from voidbridge_backend.imaging.mattes.quadmask import on_window
from voidbridge_backend.render.decode_limits import DecodeLimits
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_backend.web.folders import Folders
from voidbridge_protocol.errors import MissingFrames, UnclearLayer

from .bounded_cache import BoundedCache

FRAMES_BYTES = 512 << 20
"""Bytes of decoded frames: five of 4K."""
LIMITS = DecodeLimits(pixels=300_000_000)

Values = NDArray[np.float32]
"""[height, width] of the display window: one channel."""


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
        self._reader = FrameReader()
        self._frames: BoundedCache[Pixels] = BoundedCache(FRAMES_BYTES)
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

    def light(self, sequence: Sequence, frame: int, color: ColorPlan, layer: str = "") -> Pixels:
        """Scene-linear light, [height, width, 3] of the display window, finite. Raises `RequestError`."""
        found: Pixels = self._cached(
            (sequence, frame, color.space, layer),
            sequence,
            frame,
            lambda path, index: self._light(path, index, color, layer),
        )
        return found

    def matte(self, sequence: Sequence, frame: int) -> Values:
        """The likeliest matte channel, 0 to 1 as it is stored, [height, width] of the display window."""
        found: Values = self._cached((sequence, frame), sequence, frame, self._matte)
        return found

    def channel(self, sequence: Sequence, frame: int, name: str) -> Values:
        """One channel by its name, as `matte`. Raises `UnclearLayer` if the file has none of that name."""

        def choose(header: Header) -> Selection:
            for index, part in enumerate(header.parts):
                if any(channel.name == name for channel in part.channels):
                    return Selection(index, (name,))
            raise UnclearLayer(f"frame {frame} of {sequence} has no channel {name}", "")

        found: Values = self._cached(
            (sequence, frame, name),
            sequence,
            frame,
            lambda path, index: self._one_channel(path, index, choose),
        )
        return found

    def version(self, sequence: Sequence, frame: int) -> tuple[str, int, int]:
        """Changes when the frame's file does. Raises `MissingFrames`, `PathNotAllowed`."""
        path = self._folders.file(sequence, frame)
        try:
            found = path.stat()
        except OSError as error:
            raise MissingFrames(f"{path}: {error.strerror}") from error
        return str(path), found.st_mtime_ns, found.st_size

    def _header(self, sequence: Sequence, frame: int) -> Header:
        path, _, _ = self.version(sequence, frame)
        found = self._reader.header(Path(path), Path(path).name, sequence.index(frame))
        return LIMITS.checked(found)

    def _cached(self, kind: Any, sequence: Sequence, frame: int, read: Any) -> Any:
        version = self.version(sequence, frame)
        key = (kind, version, sequence.index(frame))
        held = self._frames.get(key)
        if held is None:
            held = read(Path(version[0]), sequence.index(frame))
            self._frames.put(key, held, held.nbytes)
        return held

    def _light(self, path: Path, index: int, color: ColorPlan, layer: str) -> Pixels:
        choose = partial(choose_picture, layer=layer)
        frame = self._reader.read(path, path.name, choose, LIMITS.checked, index)
        light = sanitize(color.to_scene(frame.rgb()))
        have, want = frame.window, frame.part.display_window
        return light if have == want else _placed(light, have, want)

    def _matte(self, path: Path, index: int) -> Values:
        return self._one_channel(path, index, _choose_matte)

    def _one_channel(self, path: Path, index: int, choose: Choose) -> Values:
        frame = self._reader.read(path, path.name, choose, LIMITS.checked, index, as_matte=True)
        stored = frame.channels[frame.selected[0]]
        scale = np.float32(np.iinfo(stored.dtype).max if stored.dtype.kind == "u" else 1)
        values = np.nan_to_num(stored.astype(np.float32) / scale)
        have, want = frame.window, frame.part.display_window
        return values if have == want else on_window(values, have, want, 0.0)


def _choose_matte(header: Header) -> Selection:
    found = candidates(header)[0]
    return Selection(found.part, (found.channel,))


def _placed(light: Pixels, have: Window, want: Window) -> Pixels:
    planes = [on_window(light[..., plane], have, want, 0.0) for plane in range(3)]
    return np.stack(planes, axis=-1)
