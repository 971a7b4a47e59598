"""What a thread has let go of is there for the next one, and what lasts is not looked through for garbage."""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
import weakref

import pytest

from voidbridge_backend.worker import malloc

only_glibc = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallopt"),
    reason="only glibc is told how to keep memory",
)

FAULTS = """
import ctypes, json, resource, sys, threading
from voidbridge_backend.worker import malloc

if sys.argv[1] == "kept":
    malloc.keep_large_blocks()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
found = []

def work():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for size in 2 << 20, 30 << 20, 100 << 20:
        block = libc.malloc(size)
        ctypes.memset(block, 1, size)
        libc.free(block)
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

for _ in range(3):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
print(json.dumps(found))
"""


def faults(how: str) -> list[int]:
    """The pages that each of three threads had to be given for the same three blocks."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True, timeout=120
    )
    return [int(count) for count in json.loads(done.stdout)]


@only_glibc
def test_a_block_of_a_frame_is_given_once_to_all_threads() -> None:
    first, *later = faults("kept")
    # With pages of 2 MiB, 100 MiB are 50 faults; a thread's own stack takes some.
    assert first > 40
    assert max(later) < 40


@only_glibc
def test_without_it_every_thread_asks_again() -> None:
    assert min(faults("not")) > 40


class Cycle:
    """Garbage as soon as nobody else holds it."""

    def __init__(self) -> None:
        self.self = self


def test_garbage_is_looked_for_outside_what_lasts_and_everywhere_when_all_is_collected() -> None:
    with malloc.lasting_objects():
        assert not gc.isenabled()
        inside = weakref.ref(Cycle())
    assert gc.isenabled()
    outside = weakref.ref(Cycle())
    gc.collect()
    assert inside() is not None
    assert outside() is None
    malloc.collect_all()
    assert inside() is None
    gc.freeze()  # the modules of the tests last again
