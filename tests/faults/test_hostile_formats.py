"""Damaged, truncated and lying files of every format: typed errors, no crash, no hang, bounded memory."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import OpenImageIO as oiio
from voidbridge_mutations import mutated
from voidbridge_shots import exr_bytes, picture
from voidbridge_stage import environment

MUTATIONS, MUTATIONS_FULL = 360, 5000
EACH_S, MEMORY_MB = 5.0, 1500

READ = """
import json, os, sys, time
from pathlib import Path
from voidbridge_backend.exr.layers import choose_picture
from voidbridge_backend.formats.files import FrameReader
from voidbridge_backend.render.decode_limits import DecodeLimits
from voidbridge_protocol.errors import VoidbridgeError

limits = DecodeLimits(1 << 24, 1 << 30)
for path in sorted(Path(sys.argv[1]).iterdir()):
    began = time.process_time()
    print(path.name, file=sys.stderr, flush=True)
    try:
        with limits.decoding():
            FrameReader().read(path, path.name, choose_picture, limits.checked, 1 if "clip" in path.name else 0)
        outcome = "read"
    except VoidbridgeError as error:
        outcome = error.code
    path.unlink()
    print(json.dumps([path.name, outcome, time.process_time() - began]))
# Not ru_maxrss: Linux counts the process that started this one in it.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps(["peak", "", int(peak.split()[1]) / 1024]))
"""


def clip(
    path: Path, codec: str, kind: str, size: tuple[int, int] = (64, 48), **options: str
) -> bytes:
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=Fraction(24), options=options)
        stream.width, stream.height, stream.pix_fmt = *size, kind
        for index in range(4):
            pixels = np.random.default_rng(index).integers(0, 255, (*size[::-1], 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            for packet in stream.encode(frame):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    return path.read_bytes()


def samples(folder: Path) -> dict[str, bytes]:
    """A small sound file of each format, by name."""
    noise = np.random.default_rng(0).random((48, 64, 3)).astype(np.float32)
    found = {"exr": exr_bytes(picture(1))}
    for name, ending, kind in (
        *(("png8", "png", "uint8"), ("png16", "png", "uint16"), ("tiff8", "tif", "uint8")),
        *(("tiff16", "tif", "uint16"), ("tifff", "tif", "float"), ("dpx", "dpx", "uint16")),
        ("dpx12", "dpx", "uint16"),
        *(("jpeg", "jpg", "uint8"), ("tga", "tga", "uint8"), ("bmp", "bmp", "uint8")),
        ("hdr", "hdr", "float"),
    ):
        path = folder / f"sound.{ending}"
        file = oiio.ImageOutput.create(str(path))
        spec = oiio.ImageSpec(64, 48, 3, kind)
        if ending == "dpx":
            spec.attribute("oiio:BitsPerSample", 12 if name == "dpx12" else 10)
        file.open(str(path), spec)
        file.write_image(noise)
        file.close()
        found[name] = path.read_bytes()
    _, coded = cv2.imencode(".png", (noise[..., 0] * 255).astype(np.uint8))
    found["gray"] = coded.tobytes()
    found["clip-prores"] = clip(folder / "a.mov", "prores_ks", "yuv422p10le")
    found["clip-h264"] = clip(folder / "a.mp4", "libx264", "yuv420p")
    found["clip-h265"] = clip(
        folder / "c.mp4", "libx265", "yuv420p10le", **{"x265-params": "log-level=0"}
    )
    for ending in ("mov", "mxf"):
        found[f"clip-dnxhr-{ending}"] = clip(
            *(folder / f"d.{ending}", "dnxhd", "yuv422p10le", (256, 128)), profile="dnxhr_hqx"
        )
    found["clip-mjpeg"] = clip(folder / "b.mov", "mjpeg", "yuvj420p")
    return found


def test_no_mutated_file_of_any_format_does_more_than_fail(tmp_path: Path, full: bool) -> None:
    made = samples(tmp_path)
    chance = random.Random(11)
    folder = tmp_path / "hostile"
    folder.mkdir()
    names = sorted(made)
    for number in range(MUTATIONS_FULL if full else MUTATIONS):
        name = names[number % len(names)]
        data = mutated(made[name], chance, list(made.values()))
        (folder / f"{number:05}.{name}").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(folder)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600 if full else 120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *found, (_, _, peak) = [
        json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")
    ]
    assert len(found) == (MUTATIONS_FULL if full else MUTATIONS)
    slow = [(name, seconds) for name, _, seconds in found if seconds > EACH_S]
    assert not slow
    outcomes = {outcome for _, outcome, _ in found}
    assert outcomes <= {"read", "request.unreadable", "request.unsupported", "request.layer"}
    assert "request.unreadable" in outcomes
    assert peak < MEMORY_MB


def test_a_file_that_was_cut_off_anywhere_is_never_taken_for_whole(tmp_path: Path) -> None:
    """Within its pixels; what only holds metadata behind them may be missing."""
    made = samples(tmp_path)
    folder = tmp_path / "cut"
    folder.mkdir()
    for name in ("exr", "png8", "tiff8", "dpx", "dpx12", "jpeg", "bmp", "hdr", "tga"):
        for share in (0.2, 0.5, 0.8):
            data = made[name]
            (folder / f"{name}-{share}").write_bytes(data[: int(len(data) * share)])
    done = subprocess.run(
        [sys.executable, "-c", READ, str(folder)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    taken = [name for name, outcome, _ in found if outcome == "read"]
    assert taken == []
