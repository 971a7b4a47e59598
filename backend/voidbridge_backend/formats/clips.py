"""Frames of clips as arrays, read by PyAV: ProRes, DNxHD and DNxHR, H.264, HEVC and others, in MOV, MP4 and MXF.

A frame becomes R, G and B of full range in float32. The decoder gives 8 bits for clips of 8, and 16 bits for
others. They are divided by 255 or 65535. The matrix is that of the clip's tag; without one BT.709 from 720
lines on, else BT.601. Nothing else is done to the values. Memory is bounded: a few decoded frames are kept,
whatever the clip's length.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from voidbridge_backend.exr.header import Attribute, Header, PixelType, TimeCode
from voidbridge_backend.exr.reader import Choose, Frame, Samples
from voidbridge_protocol.errors import UnreadableFrame, UnsupportedFrame

from .clip_length import display_matrix
from .color_tags import TAGS
from .kinds import Format
from .orientation import of_matrix, source_text, upright, upright_aspect, upright_size
from .synthetic import VARIABLE, header_of, later, packed_time_code, rate, text, time_code

CODECS = (
    *("prores", "dnxhd", "h264", "hevc", "mjpeg", "v210", "r210", "rawvideo"),
    *("ffv1", "qtrle", "png", "jpeg2000", "mpeg2video", "mpeg4", "cfhd"),
)
"""Decoders that are used; a file cannot ask for another."""
INTRA = ("prores", "dnxhd", "mjpeg", "v210", "r210", "rawvideo", "png", "jpeg2000", "cfhd")
"""Codecs whose every frame stands alone, so that packets come in the order of the picture."""
KEPT_BYTES = 160 << 20
"""Decoded frames that are kept for threads that ask out of order; never fewer than three."""
NEAR = 24
"""Frames that are decoded on the way rather than sought."""
DAMAGED = "The clip is damaged or was cut off; export or copy it again."
HD_LINES = 720
BAND = 16
"""Rows that become floats at a time."""


class MovieClip:
    """One open clip. Frames by their place from 0, from any thread; cheapest in rising order."""

    def __init__(self, path: Path, format_: Format, name: str) -> None:
        """Opens it and finds each frame's time. Raises `UnreadableFrame` or `UnsupportedFrame`."""
        self._name, self._format = name, format_
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._next = 0
        with self._typed("cannot be opened"):
            self._file = av.open(
                str(path),
                format=format_.plugin,
                options={"protocol_whitelist": "file"},
                metadata_errors="replace",
            )
        if not self._file.streams.video:
            self._file.close()
            raise UnsupportedFrame(f"{name} has no picture", "Give a clip with a picture track.")
        self._stream = self._file.streams.video[0]
        codec = self._stream.codec_context
        self.codec: str = codec.name if codec is not None else "something unknown"
        if self.codec not in CODECS:
            self._file.close()
            raise UnsupportedFrame(
                f"{name} is coded as {self.codec}, which is not read",
                "Export it as ProRes, DNxHR, H.264 or HEVC, or as a sequence of frames.",
            )
        self._stream.thread_type = "AUTO"
        # As the file says them: frames behind the first may differ, and the codec then says what these are.
        self._size = (codec.width, codec.height)
        parts = codec.format.components if codec.format else ()
        self._bits = max((part.bits for part in parts), default=8)
        self._has_alpha = any(part.is_alpha for part in parts)
        with self._typed("has a damaged index"):
            self._times = self._found_times(path)
            matrix = display_matrix(path) if format_.plugin == "mov" else (0, 0, 0, 0)
        self._is_variable = _is_variable(self._times)
        turn = of_matrix(*matrix)
        if turn is None:
            self._file.close()
            raise UnsupportedFrame(
                f"{name} is to be shown turned by an angle other than 90, 180 or 270 degrees",
                "Export it without a rotation.",
            )
        self._turn = turn
        with self._typed("cannot be decoded"):
            self._rewind()

    @property
    def length(self) -> int:
        return len(self._times)

    def close(self) -> None:
        with self._lock:
            self._kept.clear()
            self._file.close()

    def header(self, index: int) -> Header:
        """The header that this frame would have as OpenEXR."""
        channels = "RGBA" if self._has_alpha else "RGB"
        aspect = self._stream.sample_aspect_ratio  # of the container, else of the codec
        return header_of(
            [(name, PixelType.FLOAT) for name in channels],
            upright_size(*self._size, self._turn),
            source_text(self._source(), self._turn),
            self._extras(index),
            upright_aspect(float(aspect or 1), self._turn),
        )

    def read(self, index: int, choose: Choose) -> Frame:
        """The frame at this place, decoded. As `exr.reader.read`, without a source."""
        header = self.header(index)
        selection = choose(header)
        decoded = self._decoded(index)
        deep, alpha = self._bits > 8, self._has_alpha
        kind = ("rgba64le" if deep else "rgba") if alpha else ("rgb48le" if deep else "rgb24")
        with self._typed("cannot be converted"):
            pixels = decoded.reformat(
                format=kind,
                src_colorspace=self._matrix(decoded),
                dst_color_range=ColorRange.JPEG,
            ).to_ndarray()
        pixels = upright(pixels, self._turn)
        names = "RGBA" if alpha else "RGB"
        planes: dict[str, Samples] = dict(zip(names, _divided(pixels), strict=True))
        channels = {c.name: planes[c.name] for c in header.parts[0].channels}
        return Frame(self._name, header, selection.part, channels, selection.channels, b"")

    def _decoded(self, index: int) -> Any:
        """libav's frame. Raises `UnreadableFrame` for one that the clip does not have."""
        if not 0 <= index < len(self._times):
            raise UnreadableFrame(
                f"{self._name} has {len(self._times)} frames and no frame {index + 1}", DAMAGED
            )
        with self._lock:
            if index not in self._kept:
                self._advance(index)
            return self._kept[index]

    def _advance(self, index: int) -> None:
        if not self._next <= index <= self._next + NEAR:
            with self._typed("cannot be sought"):
                self._seek(index)
        while index not in self._kept:
            with self._typed(f"cannot be decoded at frame {index + 1}"):
                decoded = next(self._frames, None)
            if decoded is None:
                raise UnreadableFrame(
                    f"{self._name} ends before its frame {index + 1} of {len(self._times)}", DAMAGED
                )
            self._keep(decoded, index)

    def _keep(self, decoded: Any, index: int) -> None:
        place = bisect_right(self._times, decoded.pts) - 1 if decoded.pts is not None else -1
        if place < 0 or self._times[place] != decoded.pts:
            return  # what an edit list leaves out
        self._next = place + 1
        if place > index:
            raise UnreadableFrame(f"{self._name} has no picture for frame {index + 1}", DAMAGED)
        if (decoded.width, decoded.height) != self._size:
            raise UnreadableFrame(
                f"frame {place + 1} of {self._name} has {decoded.width}x{decoded.height} pixels, "
                f"and the clip {self._size[0]}x{self._size[1]}",
                "Export the clip again, with frames of one size.",
            )
        self._kept[place] = decoded
        size = max(1, decoded.width * decoded.height * 4)
        while len(self._kept) > max(3, KEPT_BYTES // size):
            self._kept.popitem(last=False)

    def _seek(self, index: int) -> None:
        self._file.seek(self._times[index], stream=self._stream, backward=True)
        self._frames: Iterator[Any] = self._file.decode(self._stream)
        self._next = 0 if index < self._next else self._next

    def _rewind(self) -> None:
        if self._times:
            self._file.seek(self._times[0], stream=self._stream, backward=True)
        self._frames = self._file.decode(self._stream)

    def _found_times(self, path: Path) -> list[int]:
        """The presentation times, rising. From the index where each frame stands alone, else from the packets."""
        stream = self._stream
        entries = stream.index_entries if self._format.plugin == "mov" else ()
        if self.codec in INTRA and entries and stream.frames == len(entries):
            begin = stream.start_time or 0
            shift = begin - entries[0].timestamp
            return sorted(entry.timestamp + shift for entry in entries)
        times = {
            packet.pts
            for packet in self._file.demux(stream)
            if packet.size and packet.pts is not None and not packet.is_discard
        }
        return sorted(times)

    def _source(self) -> str:
        words = ["clip", self.codec, f"{self._bits} bits"]
        return ", ".join([*words, VARIABLE] if self._is_variable else words)

    def _matrix(self, decoded: Any) -> int:
        said = int(decoded.colorspace)
        if said in (1, 5, 6, 7, 9):
            return {1: Colorspace.ITU709, 7: Colorspace.SMPTE240M}.get(said, Colorspace.ITU601)
        return Colorspace.ITU709 if decoded.height >= HD_LINES else Colorspace.ITU601

    def _extras(self, index: int) -> list[Attribute]:
        codec, found = self._stream.codec_context, []
        tag = TAGS.get((int(codec.color_primaries), int(codec.color_trc)))
        if tag:
            found.append(text("colorInteropID", tag))
        speed = self._stream.average_rate or self._stream.guessed_rate
        if not self._is_variable and speed and 1 <= speed <= 1000:
            found.append(rate(Fraction(speed)))
            start = _parsed(self._time_code())
            if start is not None:
                found.append(time_code(packed_time_code(later(start, index, round(speed)))))
        return found

    def _time_code(self) -> str:
        for holder in (self._stream, *self._file.streams, self._file):
            said = holder.metadata.get("timecode")
            if said:
                return str(said)
        return ""

    @contextmanager
    def _typed(self, failed: str) -> Iterator[None]:
        try:
            yield
        except (av.error.FFmpegError, ValueError, OSError, EOFError, OverflowError) as error:
            said = getattr(error, "strerror", None) or "no reason is given"
            reason = " ".join(str(said).split())[:200]
            raise UnreadableFrame(f"{self._name} {failed}: {reason}", DAMAGED) from error


def _is_variable(times: Sequence[int]) -> bool:
    """Whether frames are shown for different times. `times` are rising; a tick is rounding, a tenth is jitter."""
    steps = [after - before for before, after in pairwise(times)]
    shortest, longest = min(steps, default=1), max(steps, default=1)
    return longest >= 2 * shortest or longest - shortest > max(1, 0.1 * shortest)


def _divided(pixels: NDArray[Any]) -> list[NDArray[np.float32]]:
    """Each plane of [height, width, planes] as float32, divided by the largest of the integers' type.

    A table and bands that stay in the processor's cache take half the time of NumPy's cast and division.
    """
    height, width, count = pixels.shape
    table = _shares(np.iinfo(pixels.dtype).max)
    planes = [np.empty((height, width), np.float32) for _ in range(count)]
    for top in range(0, height, BAND):
        band = slice(top, top + BAND)
        cv2.split(cv2.LUT(pixels[band], table), [plane[band] for plane in planes])
    return planes


@cache
def _shares(most: int) -> NDArray[np.float32]:
    """Every code divided by the largest."""
    return np.arange(most + 1, dtype=np.float32) / np.float32(most)


def _parsed(text: str) -> TimeCode | None:
    """`01:00:00:00`, with a semicolon before the frames for drop frame."""
    words = text.replace(";", ":").split(":")
    if len(words) != 4 or not all(word.isdecimal() for word in words):
        return None
    hours, minutes, seconds, frame = map(int, words)
    if hours > 23 or minutes > 59 or seconds > 59 or frame > 99:
        return None
    return TimeCode(hours, minutes, seconds, frame, ";" in text)
