"""Limits the size of pictures from outside, and the memory growth while one is decoded.

The size is checked before a decoder sees a byte. The memory limit is the system's own limit on private memory
(RLIMIT_DATA), set when a decode begins and lifted when none is running. A permanent limit would have to include
a model's weights. A limit on addresses (RLIMIT_AS) would count memory that a GPU driver only reserves.
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
OVERHEAD = 1.1
"""Memory that decoding takes, as a multiple of the decoded bytes. Measured with 4096 x 4096 pixels, 2026-11-29:
1.00 to 1.01 with ZIP, 1.04 with PIZ, 1.07 with DWAB.
"""


@dataclass(frozen=True)
class DecodeLimits:
    """Limits for one file; 0 means no limit."""

    pixels: int = 0
    """Maximum pixels of the data window of any part."""
    growth: int = 0
    """Maximum growth of the process in bytes while a file is decoded, on Linux."""

    def checked(self, header: Header) -> Header:
        """Raises `UnsupportedFrame` if the picture is too large, in pixels or in decoded bytes."""
        for part in header.parts:
            window = part.data_window
            if 0 < self.pixels < window.width * window.height:
                raise UnsupportedFrame(
                    f"{window.width}x{window.height} pixels; this daemon takes "
                    f"{self.pixels / 1e6:.0f} megapixels",
                    "Crop or scale the plate, or increase the daemon's setting max_megapixels.",
                )
            needed = int(part.decoded_bytes * OVERHEAD)
            if 0 < self.growth < needed:
                raise UnsupportedFrame(
                    f"{window.width}x{window.height} pixels of {len(part.channels)} channels need "
                    f"{needed / 2**20:.0f} MB to decode; this daemon takes {self.growth / 2**20:.0f} MB",
                    "Write fewer channels or half instead of float, or increase the daemon's setting "
                    "decode_memory_mb.",
                )
        return header

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Raises `UnreadableFrame` if decoding needs more memory than the limit."""
        if not self.growth or not STATUS.exists():
            yield
            return
        _BOUND.begin(self.growth)
        try:
            yield
        except MemoryError as error:
            raise UnreadableFrame(
                f"decoding it needs more than {self.growth / 2**20:.0f} MB",
                "The file is damaged, or the daemon's setting decode_memory_mb is too small for it.",
            ) from error
        finally:
            _BOUND.end()


UNBOUNDED = DecodeLimits()


class _Bound:
    """The one limit of this process, shared by all running decodes."""

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
    """Returns the private memory of this process as RLIMIT_DATA counts it."""
    for line in STATUS.read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
