"""How this process keeps memory that it has let go of."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGE = 1 << 30


def keep_large_blocks() -> None:
    """glibc gives large blocks back to the system at once, and faults their pages in anew the next time.

    Of a 4K frame, 25 to 100 MB, the faults cost as much as the arithmetic; of pieces of files, 2 MiB each, a
    fifth of what a transfer costs.

    To be called before there are threads. Each would have a heap of its own, of which no block over 64 MiB is
    ever kept and none is of use to another thread: they share one.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(M_MMAP_THRESHOLD, LARGE)
            libc.mallopt(M_TRIM_THRESHOLD, LARGE)
            libc.mallopt(M_ARENA_MAX, 1)
