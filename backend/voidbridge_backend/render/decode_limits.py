"""How large a picture from outside may be, and how much the process may grow while one is decoded.

The first is checked before a decoder sees a byte. The second is the system's own limit on private memory
(RLIMIT_DATA), set anew whenever a decode begins and taken away when none is going on: a limit for good would
have to count the weights of a model, and one on addresses (RLIMIT_AS) what the driver of a card reserves: that is
not private memory until it is used.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from voidbridge_backend.exr.header import Header
from voidbridge_protocol.errors import UnreadableFrame, UnsupportedFrame

if sys.platform != "win32":
    import resource

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class DecodeLimits:
    """What a file may ask for; 0 is as much as it likes."""

    pixels: int = 0
    """Of the data window of any part."""
    growth: int = 0
    """Bytes that the process may grow by while a file is decoded. On Linux."""

    def checked(self, header: Header) -> Header:
        """Raises `UnsupportedFrame` for a picture that is too large."""
        for part in header.parts:
            window = part.data_window
            if 0 < self.pixels < window.width * window.height:
                raise UnsupportedFrame(
                    f"{window.width}x{window.height} pixels; this daemon takes "
                    f"{self.pixels / 1e6:.0f} megapixels",
                    "Crop or scale the plate, or raise the daemon's setting max_megapixels.",
                )
        return header

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Raises `UnreadableFrame` for what would take more memory than that."""
        if not self.growth or not STATUS.exists():
            yield
            return
        _BOUND.begin(self.growth)
        try:
            yield
        except MemoryError as error:
            raise UnreadableFrame(
                f"it takes more than {self.growth / 2**20:.0f} MB to decode this",
                "The file is damaged, or the daemon's setting decode_memory_mb is too small for it.",
            ) from error
        finally:
            _BOUND.end()


UNBOUNDED = DecodeLimits()


class _Bound:
    """The one limit of this process, for all that decode at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._going = 0

    def begin(self, growth: int) -> None:
        with self._lock:
            self._going += 1
            self._set(_data_bytes() + growth)

    def end(self) -> None:
        with self._lock:
            self._going -= 1
            if not self._going:
                self._set(None)

    def _set(self, limit: int | None) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = most if limit is None else limit
        if most != resource.RLIM_INFINITY:
            wanted = min(wanted, most)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, most))


_BOUND = _Bound()


def _data_bytes() -> int:
    """Private memory of this process as RLIMIT_DATA counts it."""
    for line in STATUS.read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
