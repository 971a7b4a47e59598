"""Reading a ProRes clip frame by frame, beside PyAV alone, and its peak memory at two lengths.

    python benchmarks/clips.py [--lengths 20 200] [--size 3840x2160] [--turns 3] [--work FOLDER] [--json]

Ten frames are encoded once and repeated. Each figure is the best of the turns, in a process of its own.

* `read_fps`: frames a second as the worker reads them, R, G and B in float32 on all cores.
* `decode_fps`, `rgb_fps`: PyAV's decoder alone, and with its conversion to RGB of 16 bits. `read_vs_decode`
  and `read_vs_rgb` are the shares of these that `read_fps` reaches.
* `peak_mb`: peak resident memory of the reading at each length; `peak_ratio`: the last over the first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

DRAWN = 10

WAYS = """
import json, resource, sys, time
from pathlib import Path
from voidbridge_backend.worker.malloc import keep_large_blocks
way, path, length = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
keep_large_blocks()  # as the worker does; for PyAV alone too

def decode(convert):
    import av
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in file.decode(stream):
            if convert:
                frame.to_ndarray(format="rgb48le")
            yield

def read():
    from voidbridge_backend.exr.layers import choose_picture
    from voidbridge_backend.formats.files import FrameReader
    from voidbridge_backend.parallel import Pool
    reader = FrameReader()
    one = lambda index: bool(reader.read(path, path.name, choose_picture, lambda h: h, index))
    with Pool() as pool:
        yield from pool.each(one, range(length))

frames = read() if way == "read" else decode(way == "rgb")
next(frames)  # opening the clip and loading the libraries are no part of a rate
began = time.perf_counter()
count = sum(1 for _ in frames)
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps({"frames": count + 1, "fps": count / seconds, "peak_mb": peak}))
"""


def draw(path: Path, length: int, width: int, height: int) -> None:
    """A soft ramp with noise that moves, ProRes 422 HQ of 10 bits, 24 frames a second."""
    noise = np.random.default_rng(0).normal(0, 300, (height, width, 3)).astype(np.float32)
    ramp = np.linspace(9000, 50000, width, dtype=np.float32)[None, :, None]
    picture = (noise + ramp).clip(0, 65535).astype(np.uint16)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("prores_ks", rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv422p10le"
        packets = []
        for number in range(min(DRAWN, length)):
            moved = np.roll(picture, 8 * number, 1)
            packets += stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb48le"))
        packets += stream.encode()
        drawn = [bytes(packet) for packet in packets]
        for number in range(length):
            packet = av.Packet(drawn[number % len(drawn)])
            packet.stream, packet.time_base = stream, Fraction(1, 24)
            packet.pts = packet.dts = number
            packet.is_keyframe = True
            file.mux(packet)


def measured(way: str, path: Path, length: int) -> dict[str, Any]:
    words = [sys.executable, "-c", WAYS, way, str(path), str(length)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["frames"] == length, found
    return found


def report(folder: Path, lengths: list[int], size: tuple[int, int], turns: int) -> dict[str, Any]:
    """All figures; rates are those of the shortest clip."""
    peaks, rates = [], {"decode": 0.0, "rgb": 0.0, "read": 0.0}
    for length in lengths:
        path = folder / f"clip.{length}.mov"
        draw(path, length, *size)
        if length == lengths[0]:
            for _ in range(turns):
                for way in rates:  # in turn, so that other work disturbs all alike
                    rates[way] = max(rates[way], measured(way, path, length)["fps"])
        peaks.append(measured("read", path, length)["peak_mb"])
        path.unlink()
    return {
        "size": list(size),
        "lengths": lengths,
        **{f"{way}_fps": round(rate, 2) for way, rate in rates.items()},
        "read_vs_decode": round(rates["read"] / rates["decode"], 3),
        "read_vs_rgb": round(rates["read"] / rates["rgb"], 3),
        "peak_mb": peaks,
        "peak_ratio": round(peaks[-1] / peaks[0], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", nargs="+", type=int, default=[20, 200])
    parser.add_argument("--size", default="3840x2160")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--work", type=Path, help="folder for the clips, which are removed again")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        found = report(Path(folder), options.lengths, (width, height), options.turns)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:16} {value}")
    print(f"took {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
