"""The files of a shot as frames on one canvas: decoded on demand, with a bounded cache.

The canvas is the window that contains every frame's data window. A smaller frame is 0 outside its own window,
and results are never written there.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.exr import reader
from voidbridge_backend.exr.header import Header, Window
from voidbridge_backend.exr.layers import Selection, choose_picture, pictures
from voidbridge_backend.formats.files import FrameReader
from voidbridge_backend.imaging.color import ColorPlan, sanitize
from voidbridge_backend.imaging.curve import ModelSpace, ShotExposure
from voidbridge_backend.imaging.mattes.quadmask import on_window
from voidbridge_backend.parallel import THREADS
from voidbridge_backend.sequences.consistency import KEY_ROLE, agree
from voidbridge_protocol.errors import DamagedFile, UnsupportedFrame, VoidbridgeError
from voidbridge_protocol.operations import operation
from voidbridge_protocol.request import Request

from .decode_limits import UNBOUNDED, DecodeLimits

Value = TypeVar("Value")

READ_SIZE = 1 << 20
FRAMES_BYTES = 640 << 20
"""Bytes of cached decoded frames: about seven of 4K half, more of smaller ones."""


MATTES = ("matte", "affected", "hint")
"""Roles whose files are data, not pictures; so are the `key-N` of `mask`."""


class LruCache(Generic[Value]):
    """Caches the latest values by frame, up to a number of bytes, but at least two. Thread-safe."""

    def __init__(self, most_bytes: int, size: Callable[[Value], int]) -> None:
        self._most = most_bytes
        self._size = size
        self._held: OrderedDict[int, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, frame: int, make: Callable[[int], Value]) -> Value:
        with self._lock:
            if frame in self._held:
                self._held.move_to_end(frame)
                return self._held[frame]
        value = make(
            frame
        )  # outside the lock: decoding is slow, and decoding twice only wastes time
        with self._lock:
            self._held[frame] = value
            while len(self._held) > 2 and sum(map(self._size, self._held.values())) > self._most:
                self._held.popitem(last=False)
        return value


@dataclass(frozen=True)
class InputFiles:
    """The paths of a request's files, by role and frame."""

    paths: Mapping[str, Mapping[int, Path]]
    allowance: DecodeLimits = UNBOUNDED
    hashes: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """SHA-256 of each file by role and frame. It is checked each time that a file is read, of a clip once."""
    indices: Mapping[tuple[str, int], int] = field(default_factory=dict)
    """Places of frames in their clips, by role and frame."""
    _reader: FrameReader = field(default_factory=FrameReader)
    clips: frozenset[str] = frozenset()
    """The hashes of files that hold many frames."""
    _known: set[str] = field(default_factory=set)
    """Those of them that were checked."""

    @classmethod
    def of(
        cls,
        request: Request,
        locate: Callable[[str], Path],
        allowance: DecodeLimits = UNBOUNDED,
    ) -> InputFiles:
        """`locate` finds a file by the hash of its content."""
        paths: dict[str, dict[int, Path]] = {}
        pictures = {role.name for role in operation(request.operation).roles if role.is_picture}
        for file in request.files:
            if file.role not in pictures:
                continue
            paths.setdefault(file.role, {})[file.frame] = locate(file.sha256)
        hashes = {(file.role, file.frame): file.sha256 for file in request.files}
        indices = {(file.role, file.frame): file.index for file in request.files}
        clips = frozenset(file.sha256 for file in request.files if file.index)
        return cls(paths, allowance, hashes, indices, clips=clips)

    @property
    def frames(self) -> list[int]:
        return sorted(self.paths["plate"])

    def header(self, role: str, frame: int) -> Header:
        path, index = self.paths[role][frame], self.indices.get((role, frame), 0)
        as_matte = _is_matte(role)

        def read() -> Header:
            header = self._reader.header(path, _shown(path), index, as_matte=as_matte)
            return self.allowance.checked(header)

        return _named(role, frame, read)

    def checked_header(self, role: str, frame: int) -> Header:
        """The header of a file on which the whole shot depends. Raises `DamagedFile` if it is not what was sent."""
        self.verify(role, frame)
        return self.header(role, frame)

    def read(self, role: str, frame: int, choose: reader.Choose) -> reader.Frame:
        """Decodes a file, and hashes it meanwhile. Raises `DamagedFile` if it is not what was sent."""
        path, index = self.paths[role][frame], self.indices.get((role, frame), 0)
        name, checked, as_matte = _shown(path), self.allowance.checked, _is_matte(role)

        def read() -> reader.Frame:
            with self._checked(role, frame), self.allowance.decoding():
                return self._reader.read(path, name, choose, checked, index, as_matte=as_matte)

        return _named(role, frame, read)

    @contextmanager
    def _checked(self, role: str, frame: int) -> Iterator[None]:
        expected = self.hashes.get((role, frame))
        if expected is None or expected in self._known:
            yield
            return
        digest = _hashers().submit(_sha256, self.paths[role][frame])
        yield
        if digest.result() != expected:
            raise DamagedFile("the file changed on the daemon's disk", files=(expected,))
        if expected in self.clips:
            self._known.add(expected)

    def verify(self, role: str, frame: int) -> None:
        """Reads a file for nothing but its hash. Raises `DamagedFile`."""
        _named(role, frame, lambda: self._verified(role, frame))

    def _verified(self, role: str, frame: int) -> None:
        with self._checked(role, frame):
            pass


def _sha256(path: Path) -> str:
    """The hash of a file; empty if it cannot be read. The system has its bytes in memory from the decoding."""
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(READ_SIZE):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()


@cache
def _hashers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, "hashes")


class Plates:
    """The plate's frames as files, and as scene-linear pixels on the canvas."""

    def __init__(
        self,
        source: InputFiles,
        canvas: Window,
        color: ColorPlan,
        layer: str = "",
        role: str = "plate",
    ) -> None:
        """`layer` is the one to work on, as `choose_picture` takes it; `role` is that of the files."""
        self._source = source
        self._layer = layer
        self._role = role
        self.canvas = canvas
        self.color = color
        self._frames: LruCache[reader.Frame] = LruCache(
            FRAMES_BYTES,
            lambda frame: len(frame.source) + sum(c.nbytes for c in frame.channels.values()),
        )

    def frame(self, frame: int) -> reader.Frame:
        return self._frames.get(frame, self._read)

    def scene(self, frame: int) -> Pixels:
        """[height, width, 3] of the canvas, finite."""
        decoded = self.frame(frame)
        pixels = sanitize(self.color.to_scene(decoded.rgb()))
        if decoded.window == self.canvas:
            return pixels
        planes = [
            on_window(pixels[..., plane], decoded.window, self.canvas, 0.0) for plane in range(3)
        ]
        return np.stack(planes, axis=-1)

    def _read(self, frame: int) -> reader.Frame:
        return self._source.read(self._role, frame, self._choose)

    def _choose(self, header: Header) -> Selection:
        return choose_picture(header, self._layer)


def canvas_of(source: InputFiles, layer: str = "") -> tuple[Window, list[str]]:
    """The window of a shot whose files fit together, and what is odd about them.

    Raises `FrameMismatch`, `UnclearLayer`, `UnsupportedFrame`.
    """
    headers = {
        role: {frame: source.header(role, frame) for frame in frames}
        for role, frames in source.paths.items()
    }
    for role, found in headers.items():
        _verify_odd(source, role, found)
    plate = headers.pop("plate")
    canvas, notes = agree(plate, headers, layer)
    first = plate[min(plate)]
    return canvas, [*_picture_notes(first, choose_picture(first, layer)), *notes]


def _picture_notes(header: Header, picture: Selection) -> list[str]:
    """Which channels are worked on, unless they are the only ones that anybody would think of."""
    if len(picture.channels) == 1:
        return [f"the plate is gray: its channel {picture.channels[0]} is worked on"]
    if picture.layer and ("." in picture.channels[0] or len(pictures(header)) > 1):
        return [f"the plate's layer {picture.layer} is worked on ({', '.join(picture.channels)})"]
    return []


def _verify_odd(source: InputFiles, role: str, headers: Mapping[int, Header]) -> None:
    """Checks the first file, and every file whose windows are other than most: the whole shot depends on these.

    Any other file is checked when it is read. Raises `DamagedFile`.
    """
    windows = {
        frame: tuple((part.data_window, part.display_window) for part in header.parts)
        for frame, header in headers.items()
    }
    usual, _ = Counter(windows.values()).most_common(1)[0]
    for frame in sorted({min(windows), *(f for f, found in windows.items() if found != usual)}):
        source.verify(role, frame)


def model_space(
    plates: Plates,
    frames: Sequence[int],
    scene: Callable[[int], Pixels] | None = None,
    most: int = 16,
) -> ModelSpace:
    """Returns the shot's conversion to the model's space, from frames spread over the shot.

    `scene` gives a frame's light at another size than the plate's.
    """
    exposure = ShotExposure()
    for frame in frames[:: max(1, len(frames) // most)]:
        exposure.add((scene or plates.scene)(frame))
    return ModelSpace(plates.color.to_rec709, exposure.grade())


def _shown(path: Path) -> str:
    """The file's name; in the spool it is a hash, which tells nobody anything."""
    return "the file" if re.fullmatch(r"[0-9a-f]{64}(\.\w+)?", path.name) else path.name


def _is_matte(role: str) -> bool:
    return role in MATTES or role.startswith(KEY_ROLE)


def _named(role: str, frame: int, read: Callable[[], Value]) -> Value:
    """Says whose error it is: the daemon knows a file by its role and frame, and a plate's hint is no matte's."""
    try:
        return read()
    except VoidbridgeError as error:
        hint = error.hint
        if role in MATTES and hint == UnsupportedFrame.hint:
            hint = (
                f"Write the {role} as a flat OpenEXR, PNG or TIFF of the plate's size; "
                f"--{role}-channel names one of its channels."
            )
        called = "key matte" if role.startswith(KEY_ROLE) else role
        raise type(error)(f"{called} frame {frame}: {error.text}", hint) from error
