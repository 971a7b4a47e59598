"""Files that are made to hurt: headers that claim the world, weights whose tensors lie. Refused at once."""

from __future__ import annotations

import json
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from voidbridge_figures import Note
from voidbridge_machine import in_time
from voidbridge_shots import exr_bytes, picture
from voidbridge_stage import environment

from voidbridge_backend.exr.chunks import file_of
from voidbridge_backend.exr.header import Attribute, parse_header
from voidbridge_protocol.errors import ModelMissing

ALLOCATED_MB, HEADER_S, WEIGHTS_S = 64, 0.1, 5.0

READ = """
import json, sys, time
from pathlib import Path
from voidbridge_backend.exr import reader
from voidbridge_protocol.errors import VoidbridgeError

def peak():
    # Not ru_maxrss: Linux counts the process that started this one in it.
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

reader.read(Path(sys.argv[1]))  # what is loaded at the first file
before = peak()
for path in sys.argv[2:]:
    began = time.process_time()
    try:
        reader.read(Path(path))
        outcome = "read"
    except VoidbridgeError as error:
        outcome = error.code
    print(json.dumps([Path(path).name, outcome, time.process_time() - began, peak() - before]))
"""

WHOLE = exr_bytes(picture(1))


def with_attribute(name: str, kind: str, value: bytes) -> bytes:
    """A sound file but for one attribute."""
    part = parse_header(WHOLE).parts[0]
    others = [each for each in part.attributes if each.name != name]
    header = file_of(2, [[*others, Attribute(name, kind, value)]], [], multipart=False)
    return header + WHOLE[-4000:]


def window(name: str, *corners: int) -> bytes:
    return with_attribute(name, "box2i", struct.pack("<4i", *corners))


def channels(count: int) -> bytes:
    entry = struct.pack("<iB3xii", 1, 0, 1, 1)
    return b"".join(b"c%05d\0" % i + entry for i in range(count)) + b"\0"


def attribute_of_size(size: int) -> bytes:
    return WHOLE[:8] + b"big\0string\0" + struct.pack("<i", size) + b"x" * 1000


HOSTILE: dict[str, Callable[[], bytes]] = {
    "a million by a million pixels": lambda: window("dataWindow", 0, 0, 10**6 - 1, 10**6 - 1),
    "as wide as an integer": lambda: window("dataWindow", 0, 0, 2**31 - 1, 1),
    "from the lowest to the highest integer": lambda: window(
        "dataWindow", -(2**31), -(2**31), 2**31 - 1, 2**31 - 1
    ),
    "inside out": lambda: window("dataWindow", 0, 99, 63, 0),
    "a display without end": lambda: window("displayWindow", 0, 0, 2**31 - 1, 2**31 - 1),
    "a channel for everybody": lambda: with_attribute("channels", "chlist", channels(65_000)),
    "two gigabytes of one attribute": lambda: attribute_of_size(2**31 - 1),
    "an attribute of less than nothing": lambda: attribute_of_size(-1),
    "a hundred thousand attributes": lambda: (
        WHOLE[:8] + b"".join(b"a%d\0int\0\x04\0\0\0\0\0\0\0" % i for i in range(100_000)) + b"\0"
    ),
    "a bomb of pixels": lambda: window("dataWindow", 0, 0, 32_000, 32_000),
    "a name without end": lambda: WHOLE[:8] + b"n" * 1_000_000,
    "nothing but the first word": lambda: WHOLE[:4],
}


def test_a_header_that_claims_the_world_is_refused_before_anything_is_allocated(
    tmp_path: Path, note: Note
) -> None:
    good = tmp_path / "good.exr"
    good.write_bytes(WHOLE)
    paths = []
    for name, make in HOSTILE.items():
        path = tmp_path / name
        path.write_bytes(make())
        paths.append(path)
    done = subprocess.run(
        [sys.executable, "-c", READ, good, *paths],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)),
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [name for name, *_ in found] == list(HOSTILE)
    assert {code for _, code, *_ in found} <= {"request.unreadable", "request.unsupported"}
    slowest, most = max(each[2] for each in found), max(each[3] for each in found)
    note(11, files=len(found), slowest_ms=round(1000 * slowest, 1), allocated_mb=round(most, 1))
    assert slowest < 5 * HEADER_S  # on a machine that has other things to do
    assert most < ALLOCATED_MB


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def tensor(begin: int, end: int, shape: list[int], kind: str = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


LYING = {
    "a header of 200 MB": safetensors(b"{}", length=200 << 20),
    "a header of 2^63 bytes": safetensors(b"{}", length=1 << 63),
    "tensors that overlap": safetensors(
        {"a": tensor(0, 8, [2]), "b": tensor(4, 12, [2])}, bytes(12)
    ),
    "a tensor behind the end": safetensors({"a": tensor(0, 1 << 40, [1 << 38])}, bytes(8)),
    "another size than its shape": safetensors({"a": tensor(0, 8, [3])}, bytes(8)),
    "a shape that overflows": safetensors({"a": tensor(0, 8, [1 << 62, 1 << 62])}, bytes(8)),
    "an unknown type": safetensors({"a": tensor(0, 8, [2], "PY")}, bytes(8)),
    "no JSON": safetensors(b"\x80\x04pickle"),
    "cut off": safetensors({"a": tensor(0, 8, [2])}, bytes(4)),
    "whole numbers": safetensors({"a": tensor(0, 8, [2], "I32")}, bytes(8)),
}


@pytest.mark.parametrize("name", LYING)
def test_weights_that_lie_are_refused_at_once(tmp_path: Path, name: str) -> None:
    torch = pytest.importorskip("torch")
    from voidbridge_backend.engines.void.files.weights import Weights

    def opened(path: Path) -> None:
        found = Weights((path,))
        found.shapes()
        found.read(torch.float32)

    path = tmp_path / "model.safetensors"
    path.write_bytes(LYING[name])
    began = time.monotonic()
    with pytest.raises(ModelMissing, match=path.name):
        opened(path)
    assert in_time(time.monotonic() - began, WEIGHTS_S)
