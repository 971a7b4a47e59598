"""Controls how this process keeps freed memory, and where it looks for garbage."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGE = 1 << 30


def keep_large_blocks() -> None:
    """Keeps large freed blocks in the process.

    By default glibc returns them to the system at once, and page faults bring them back the next time. For a 4K
    frame, 25 to 100 MB, the faults cost as much as the arithmetic. For file pieces of 2 MiB they cost a fifth
    of a transfer.

    Call it before threads start. Each thread would get its own heap, which keeps no block over 64 MiB and
    shares none with other threads. With this call, all threads share one heap.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(M_MMAP_THRESHOLD, LARGE)
            libc.mallopt(M_TRIM_THRESHOLD, LARGE)
            libc.mallopt(M_ARENA_MAX, 1)


def give_back() -> None:
    """Gives memory that is free back to the system: for when nothing will need it soon."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "malloc_trim"):
            libc.malloc_trim(0)


@contextmanager
def lasting_objects() -> Iterator[None]:
    """Never looks for garbage among the objects that are made inside, now or later.

    The modules of PyTorch and diffusers are a million objects. Looking through them again and again took a fifth
    of the time in which an engine loads.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def collect_all() -> None:
    """Finds all garbage, also among objects that were to last."""
    gc.unfreeze()
    gc.collect()
