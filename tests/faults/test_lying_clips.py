"""Clips that lie: streams by the hundred, sizes, numbers of frames and times without sense, frames that grow."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from voidbridge_stage import environment

from voidbridge_backend.formats.clip_length import frames_in
from voidbridge_protocol.errors import VoidbridgeError

EACH_S, MEMORY_MB = 5.0, 400
KNOWN = {"read", "request.unreadable", "request.unsupported"}

READ = """
import json, sys, time
from pathlib import Path
from voidbridge_backend.exr.layers import choose_picture
from voidbridge_backend.formats.files import FrameReader
from voidbridge_backend.render.decode_limits import DecodeLimits
from voidbridge_protocol.errors import VoidbridgeError

def peak_mb():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024

limits = DecodeLimits(1 << 24, 1 << 30)
for path in sorted(Path(sys.argv[1]).iterdir()):
    reader = FrameReader()
    for index in (0, 1, 3):
        began = time.process_time()
        try:
            with limits.decoding():
                frame = reader.read(path, path.name, choose_picture, limits.checked, index)
            window = frame.header.parts[0].data_window
            shapes = {plane.shape for plane in frame.channels.values()}
            outcome = "read" if shapes == {(window.height, window.width)} else "wrong size"
        except VoidbridgeError as error:
            outcome = error.code
        print(json.dumps([path.name, outcome, time.process_time() - began, peak_mb()]))
"""


def encoded(path: Path, codec: str, kind: str, streams: int = 1, frames: int = 4) -> bytes:
    with av.open(str(path), "w") as file:
        made = [file.add_stream(codec, rate=Fraction(24)) for _ in range(streams)]
        for stream in made:
            stream.width, stream.height, stream.pix_fmt = 64, 48, kind
        for number in range(frames):
            pixels = np.full((48, 64, 3), 20 * number, np.uint8)
            for stream in made:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        for stream in made:
            file.mux(stream.encode())
    return path.read_bytes()


def growing(path: Path) -> bytes:
    """Two frames of 64 x 48 pixels and two of 4000 x 4000."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mjpeg", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        number = 0
        for width, height in ((64, 48), (4000, 4000)):
            coder = av.CodecContext.create("mjpeg", "w")
            coder.width, coder.height, coder.pix_fmt = width, height, "yuvj420p"
            coder.time_base = Fraction(1, 24)
            frame = av.VideoFrame.from_ndarray(
                np.full((height, width, 3), 90, np.uint8), format="rgb24"
            )
            for packet in (*coder.encode(frame), *coder.encode(frame), *coder.encode()):
                moved = av.Packet(bytes(packet))
                moved.stream, moved.time_base, moved.is_keyframe = stream, Fraction(1, 24), True
                moved.pts = moved.dts = number
                number += 1
                file.mux(moved)
    return path.read_bytes()


def patched(data: bytes, box: bytes, offset: int, kind: str, *values: int) -> bytes:
    """The file with numbers behind the name of its first box of this name."""
    made = bytearray(data)
    struct.pack_into(kind, made, made.index(box) + 4 + offset, *values)
    return bytes(made)


def lies(folder: Path) -> dict[str, bytes]:
    sound = {
        "prores": encoded(folder / "a.mov", "prores_ks", "yuv422p10le"),
        "h264": encoded(folder / "b.mp4", "libx264", "yuv420p"),
    }
    found = {
        "streams-200": encoded(folder / "s.mov", "mjpeg", "yuvj420p", 200, 2),
        "growing": growing(folder / "g.mov"),
        # ProRes has its size in each frame: size 4, icpf 4, head 2, version 2, creator 4, width, height.
        "huge-prores-frame": patched(sound["prores"], b"icpf", 8, ">HH", 65535, 65535),
    }
    for name, data in sound.items():
        for value in (0, 1, 0x7FFFFFFF, 0xFFFFFFFF):
            found[f"{name}-timescale-{value}"] = patched(data, b"mdhd", 12, ">I", value)
            found[f"{name}-duration-{value}"] = patched(data, b"stts", 12, ">I", value)
            found[f"{name}-edit-{value}"] = patched(data, b"elst", 8, ">II", value, value)
        for count in (0, 10_000_000, 0xFFFFFFFF):
            found[f"{name}-times-{count}"] = patched(data, b"stts", 8, ">I", count)
            found[f"{name}-frames-{count}"] = patched(data, b"stsz", 8, ">I", count)
            found[f"{name}-bytes-{count}"] = patched(data, b"stsz", 4, ">II", 1, count)
            found[f"{name}-chunk-{count}"] = patched(data, b"stsc", 12, ">I", count)
    return found


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lies")
    made = lies(tmp_path_factory.mktemp("sound"))
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return folder


def test_no_clip_that_lies_takes_time_or_memory_or_shows_another_size(clips: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ, str(clips)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(found) == 3 * len(list(clips.iterdir()))
    assert {outcome for _, outcome, _, _ in found} == KNOWN - {"request.unsupported"}
    assert [(name, seconds) for name, _, seconds, _ in found if seconds > EACH_S] == []
    assert found[-1][3] - found[0][3] < MEMORY_MB
    outcomes = {(name, at % 3): outcome for at, (name, outcome, _, _) in enumerate(found)}
    assert outcomes["streams-200", 1] == "read"
    assert outcomes["growing", 1] == "read"
    assert outcomes["growing", 2] == "request.unreadable"


def test_the_client_counts_the_frames_of_a_clip_that_lies_or_refuses_it(clips: Path) -> None:
    counts, refused = [], []
    for path in sorted(clips.iterdir()):
        try:
            counts.append(frames_in(path))
        except VoidbridgeError as error:
            refused.append((error.code, bool(error.hint)))
    assert all(0 < count <= 10_000_000 for count in counts)
    assert {code for code, _ in refused} <= KNOWN
    assert all(has_hint for _, has_hint in refused)
