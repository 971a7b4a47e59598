"""The files of a shot as frames on one canvas: decoded when asked for, a bounded number kept.

The canvas is the window that holds every frame's data window. A frame whose own is smaller is 0 around it,
and nothing is ever written back there.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.exr import reader
from voidbridge_backend.exr.header import Header, Window, plate_part, read_header
from voidbridge_backend.imaging.color import ColorPlan, sanitize
from voidbridge_backend.imaging.curve import Exposure, ModelSpace
from voidbridge_backend.imaging.matte import (
    Evidence,
    Verdict,
    choose_channel,
    hole_of,
    kind_of,
    matte_channels,
    matte_part,
    undone,
)
from voidbridge_backend.imaging.quadmask import AFFECTED, KEEP, Hole, on_window
from voidbridge_backend.parallel import Pool
from voidbridge_backend.sequences.consistency import agree
from voidbridge_protocol.errors import BadMatte, VoidbridgeError
from voidbridge_protocol.messages import Request, Settings

from .decode_limits import UNBOUNDED, DecodeLimits

Value = TypeVar("Value")

FRAMES_BYTES = 640 << 20
"""Decoded frames that are kept: seven or so of 4K half, more of smaller ones."""
HOLES_BYTES = 256 << 20


class LruCache(Generic[Value]):
    """The last values by frame, up to a number of bytes; never fewer than two. Safe between threads."""

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
        value = make(frame)  # outside the lock: decoding is slow, and twice is only a waste
        with self._lock:
            self._held[frame] = value
            while len(self._held) > 2 and sum(map(self._size, self._held.values())) > self._most:
                self._held.popitem(last=False)
        return value


@dataclass(frozen=True)
class InputFiles:
    """Where the files of a request are, by role and frame."""

    paths: Mapping[str, Mapping[int, Path]]
    allowance: DecodeLimits = UNBOUNDED

    @classmethod
    def of(
        cls,
        request: Request,
        locate: Callable[[str], Path],
        allowance: DecodeLimits = UNBOUNDED,
    ) -> InputFiles:
        """`locate` finds a file by the hash of its content."""
        paths: dict[str, dict[int, Path]] = {}
        for file in request.files:
            paths.setdefault(file.role, {})[file.frame] = locate(file.sha256)
        return cls(paths, allowance)

    @property
    def frames(self) -> list[int]:
        return sorted(self.paths["plate"])

    def header(self, role: str, frame: int) -> Header:
        return _named(
            role, frame, lambda: self.allowance.checked(read_header(self.paths[role][frame]))
        )

    def read(self, role: str, frame: int, choose: Callable[[Header], int]) -> reader.Frame:
        def read() -> reader.Frame:
            with self.allowance.decoding():
                return reader.read(
                    self.paths[role][frame], lambda header: choose(self.allowance.checked(header))
                )

        return _named(role, frame, read)


class Mattes:
    """What is to be removed in each frame, from the matte and the optional affected matte."""

    def __init__(self, source: InputFiles, settings: Settings, canvas: Window) -> None:
        self._source = source
        self._settings = settings
        self._canvas = canvas
        self._extremes: dict[tuple[str, str, int], tuple[float, float]] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._holes: LruCache[Hole] = LruCache(
            HOLES_BYTES, lambda h: h.codes.nbytes + h.alpha.nbytes
        )

    def survey(self, on_frame: Callable[[], None]) -> Verdict:
        """Looks at every frame once to say what kind of matte this is. Raises `BadMatte`."""
        for role in ("matte", "affected"):
            if role in self._source.paths:
                self._verdicts[role] = self._survey(role, on_frame)
        return self._verdicts["matte"]

    def hole(self, frame: int) -> Hole:
        return self._holes.get(frame, self._make)

    def has_hole(self, frame: int) -> bool:
        """From what `survey` saw; nothing is decoded."""
        return any(self._is_set(role, verdict, frame) for role, verdict in self._verdicts.items())

    def _is_set(self, role: str, verdict: Verdict, frame: int) -> bool:
        darkest, brightest = self._extremes[role, verdict.channel, frame]
        if verdict.kind == "quadmask":
            darkest = float(undone(np.array([darkest]), verdict)[0])
            return darkest * 255 / verdict.unit < (AFFECTED + KEEP) / 2
        return brightest >= self._settings.threshold * verdict.unit

    def _survey(self, role: str, on_frame: Callable[[], None]) -> Verdict:
        asked = self._settings.matte_kind if role == "matte" else "matte"
        seen: dict[str, Evidence] = {}
        frames = self._source.frames
        with Pool() as pool:
            for frame, found in zip(
                frames, pool.each(partial(self._found, role), frames), strict=True
            ):
                on_frame()
                for evidence in found:
                    name = evidence.channel
                    seen.setdefault(name, Evidence(name)).merge(evidence)
                    self._extremes[role, name, frame] = evidence.least, evidence.most
        undo = self._settings.matte_color == "undo"
        verdict = kind_of(choose_channel(seen), asked, self._settings.threshold, undo)
        for frame in frames:
            if (role, verdict.channel, frame) not in self._extremes:
                raise BadMatte(
                    f"{role} frame {frame} has no channel {verdict.channel}, as others of this clip have",
                    "Write every frame of a matte with the same channels.",
                )
        return verdict

    def _found(self, role: str, frame: int) -> list[Evidence]:
        """What each channel of a matte's frame holds."""
        decoded = self._source.read(role, frame, matte_part)
        _, names = matte_channels(decoded.header)
        found = []
        for name in names:
            evidence = Evidence(name)
            evidence.add(decoded.channels[name], f"{role} frame {frame}")
            found.append(evidence)
        return found

    def _values(self, role: str, frame: int) -> NDArray[Any]:
        verdict = self._verdicts[role]
        decoded = self._source.read(role, frame, matte_part)
        values = decoded.channels[verdict.channel]
        return on_window(values, decoded.window, self._canvas, verdict.outside)

    def _make(self, frame: int) -> Hole:
        settings = self._settings
        affected = self._verdicts.get("affected")
        return hole_of(
            self._values("matte", frame),
            self._verdicts["matte"],
            (self._values("affected", frame), affected) if affected else None,
            threshold=settings.threshold,
            grow=settings.grow,
            soften=settings.soften,
        )


class Plates:
    """The plate's frames as files, and their pixels as scene-linear light on the canvas."""

    def __init__(self, source: InputFiles, canvas: Window, color: ColorPlan) -> None:
        self._source = source
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
        return self._source.read("plate", frame, plate_part)


def canvas_of(source: InputFiles) -> Window:
    """The window of a shot whose files fit together. Raises `FrameMismatch`, `UnsupportedFrame`."""
    headers = {
        role: {frame: source.header(role, frame) for frame in frames}
        for role, frames in source.paths.items()
    }
    return agree(headers.pop("plate"), headers)


def model_space(plates: Plates, frames: Sequence[int], most: int = 16) -> ModelSpace:
    """The shot's own way into the model's space, from frames spread over it."""
    exposure = Exposure()
    for frame in frames[:: max(1, len(frames) // most)]:
        exposure.add(plates.scene(frame))
    return ModelSpace(plates.color.to_rec709, exposure.grade())


def _named(role: str, frame: int, read: Callable[[], Value]) -> Value:
    """Files in the spool are named by their hash; the artist knows them by their frame."""
    try:
        return read()
    except VoidbridgeError as error:
        raise type(error)(f"{role} frame {frame}: {error.text}", error.hint) from error
