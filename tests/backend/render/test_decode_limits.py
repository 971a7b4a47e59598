"""A picture from outside is no larger, and takes no more memory, than the daemon's owner allows."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from voidbridge_shots import make_shot
from voidbridge_stage import environment

from voidbridge_backend.exr.header import read_header
from voidbridge_backend.exr.layers import choose_picture
from voidbridge_backend.render.decode_limits import DecodeLimits
from voidbridge_backend.render.inputs import InputFiles
from voidbridge_protocol.errors import UnreadableFrame, UnsupportedFrame


def source(folder: Path, allowance: DecodeLimits) -> InputFiles:
    """One plate of 64 x 48."""
    shot = make_shot(folder, range(1001, 1002))
    return InputFiles({"plate": {1001: shot.file("plate", 1001)}}, allowance)


@pytest.mark.parametrize("pixels", [0, 64 * 48])
def test_a_picture_that_is_allowed_is_read(tmp_path: Path, pixels: int) -> None:
    found = source(tmp_path, DecodeLimits(pixels, 1 << 30))
    assert found.header("plate", 1001).parts[0].data_window.width == 64
    assert found.read("plate", 1001, choose_picture).window.height == 48


def test_a_picture_that_is_too_large_is_refused_by_its_header(tmp_path: Path) -> None:
    found = source(tmp_path, DecodeLimits(64 * 48 - 1))
    for ask in (
        lambda: found.header("plate", 1001),
        lambda: found.read("plate", 1001, lambda header: pytest.fail("chosen and decoded")),
    ):
        with pytest.raises(UnsupportedFrame, match=r"plate frame 1001: .*64x48") as refused:
            ask()
        assert "max_megapixels" in refused.value.hint


def test_a_small_file_of_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """Zeros compress a thousandfold: a file of some kilobytes can ask for gigabytes."""
    shot = make_shot(tmp_path, range(1001, 1002))
    decoded = max(part.decoded_bytes for part in read_header(shot.file("plate", 1001)).parts)
    files = {"plate": {1001: shot.file("plate", 1001)}}
    found = InputFiles(files, DecodeLimits(growth=decoded))
    with pytest.raises(UnsupportedFrame, match=r"plate frame 1001: .*MB to decode") as refused:
        found.header("plate", 1001)
    assert "decode_memory_mb" in refused.value.hint
    InputFiles(files, DecodeLimits(growth=2 * decoded)).header("plate", 1001)


GROWS = """
import threading
import numpy as np
from voidbridge_backend.exr.layers import choose_picture
from voidbridge_backend.render.decode_limits import DecodeLimits
from voidbridge_protocol.errors import UnreadableFrame

MB = 1 << 20

def grow(megabytes):
    return np.ones(megabytes * MB, np.uint8)

held = grow(300)  # what was there before does not count
allowance = DecodeLimits(growth=100 * MB)
with allowance.decoding():
    fits = grow(50)
try:
    with allowance.decoding():
        grow(200)
except UnreadableFrame as error:
    assert "100 MB" in error.text, error.text
else:
    raise SystemExit("it could grow by 200 MB")
free = grow(400)  # no limit outside

inside, go_on, found = threading.Event(), threading.Event(), []

def other():
    with allowance.decoding():
        inside.set()
        go_on.wait(120)
        try:
            grow(200)
        except MemoryError:
            found.append("held")

thread = threading.Thread(target=other)
thread.start()
inside.wait(120)
with allowance.decoding():
    pass  # the end of one is not the end of the other
go_on.set()
thread.join()
assert found == ["held"], found
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_decode_that_takes_too_much_memory_is_stopped_and_nothing_else_is() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GROWS],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=240,
    )
    assert done.returncode == 0, done.stderr


RESERVES = """
import ctypes, mmap, resource
import numpy as np
from voidbridge_backend.exr.layers import choose_picture
from voidbridge_backend.render.decode_limits import DecodeLimits, _data_bytes
from voidbridge_protocol.errors import UnreadableFrame

MB = 1 << 20
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
RESERVED = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
before = _data_bytes()
assert libc.mmap(None, 1 << 40, 0, RESERVED, -1, 0) not in (None, ctypes.c_void_p(-1).value)
assert _data_bytes() - before < MB, "what is only reserved was counted"

allowance = DecodeLimits(growth=100 * MB)
with allowance.decoding():
    fits = np.ones(50 * MB, np.uint8)
try:
    with allowance.decoding():
        np.ones(200 * MB, np.uint8)
except UnreadableFrame:
    pass
else:
    raise SystemExit("it could grow by 200 MB")

# The other limit would count it: nothing at all could be decoded.
resource.setrlimit(resource.RLIMIT_AS, (4096 * MB, resource.RLIM_INFINITY))
try:
    np.ones(50 * MB, np.uint8)
except MemoryError:
    pass
else:
    raise SystemExit("RLIMIT_AS did not mind")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_addresses_that_a_driver_reserves_do_not_count() -> None:
    """CUDA reserves as many as all cards and the machine have memory, and uses few: here a terabyte."""
    done = subprocess.run(
        [sys.executable, "-c", RESERVES],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=240,
    )
    assert done.returncode == 0, done.stderr


def test_a_header_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "endless.exr"
    attribute = b"a" * 20 + b"\0string\0" + struct.pack("<i", 1 << 20) + bytes(1 << 20)
    path.write_bytes(struct.pack("<ii", 20000630, 2) + attribute * 80)
    began = time.process_time()
    with pytest.raises(UnreadableFrame, match="more than 64 MB"):
        read_header(path)
    assert time.process_time() - began < 5
