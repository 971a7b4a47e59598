"""Runs real 4K clips with quadmasks through `voidbridge run` and checks what comes back, bit by bit.

    python benchmarks/real_clips.py FOLDER_OF_CLIPS [--clips lime ...] [--frames N] [--work FOLDER] [--json]

A clip is a folder with input_video.mp4 and quadmask_0.mp4. Its frames are linearised and written as half EXR
from frame 1001. They have an overscan, a data window that does not begin at 0, a timecode and an additional
attribute. The object is removed, and everything outside the grown matte is compared with the source.
Prints seconds, peak memory, and how many bits, channels, windows or attributes differ: all must be 0.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import OpenEXR

from voidbridge_backend.exr import reader

OVERSCAN = 16
FIRST = 1001
GROW, SOFTEN = 8, 8


def frames_of(path: Path, format: str, most: int) -> Iterator[np.ndarray[Any, Any]]:
    with av.open(str(path)) as video:
        for number, frame in enumerate(video.decode(video=0)):
            if number == most:
                return
            yield frame.to_ndarray(format=format)


def linear(code: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    value = code.astype(np.float32) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def write_plate(path: Path, rgb: np.ndarray[Any, Any], number: int) -> None:
    height, width = rgb.shape[:2]
    padded = cv2.copyMakeBorder(rgb, *(OVERSCAN,) * 4, cv2.BORDER_REFLECT_101).astype(np.float16)
    padded[0, :4] = [[np.nan] * 3, [np.inf] * 3, [-0.0] * 3, [-1.5] * 3]
    corner = np.array([-OVERSCAN, -OVERSCAN], np.int32)
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "displayWindow": (np.array([0, 0], np.int32), np.array([width - 1, height - 1], np.int32)),
        "dataWindow": (corner, corner + np.array(padded.shape[1::-1], np.int32) - 1),
        "timeCode": OpenEXR.TimeCode(
            1, 2, 3, number % 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
        ),
        "shot": "as written",
    }
    planes = {name: np.ascontiguousarray(padded[..., i]) for i, name in enumerate("RGB")}
    planes["A"] = np.ones(padded.shape[:2], np.float16)
    OpenEXR.File(header, planes).write(str(path))


def write_matte(path: Path, codes: np.ndarray[Any, Any]) -> None:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"Y": (codes.astype(np.float32) / 255).astype(np.float16)}).write(
        str(path)
    )


def prepare(clip: Path, folder: Path, most: int) -> int:
    """Writes plate and quadmask; how many frames there are."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    pictures = frames_of(clip / "input_video.mp4", "rgb24", most)
    masks = frames_of(clip / "quadmask_0.mp4", "gray", most)
    for number, (picture, mask) in enumerate(zip(pictures, masks, strict=False)):
        frame = FIRST + number
        write_plate(folder / f"plate.{frame}.exr", linear(picture), number)
        levels = np.array([0, 63, 127, 255], np.int16)
        nearest = np.abs(mask.astype(np.int16)[..., None] - levels).argmin(-1)
        write_matte(folder / f"mask.{frame}.exr", levels[nearest])
        count += 1
    return count


def differences(folder: Path, frame: int) -> dict[str, int]:
    """Returns the differences outside the matte, where there must be none."""
    source = reader.read(folder / f"plate.{frame}.exr")
    result = reader.read(folder / "out" / f"result.{frame}.exr")
    codes = reader.read(folder / f"mask.{frame}.exr", lambda header: 0).channels["Y"]
    hole = np.zeros((source.window.height, source.window.width), np.uint8)
    hole[OVERSCAN:-OVERSCAN, OVERSCAN:-OVERSCAN] = codes < 0.99
    away = cv2.distanceTransform(1 - hole, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > GROW + SOFTEN
    bits = 0
    for name, samples in source.channels.items():
        words = samples.view(f"u{samples.dtype.itemsize}")
        other = result.channels[name].view(words.dtype)
        where = away if name in source.rgb_names else np.ones_like(away)
        bits += int((words != other)[where].sum())
    kept = [a for a in result.part.attributes if not a.name.startswith("voidbridge/")]
    return {
        "bits": bits,
        "attributes": len(set(source.part.attributes) ^ set(kept)),
        "channels": int(source.part.channels != result.part.channels),
        "windows": int(
            (source.part.data_window, source.part.display_window)
            != (result.part.data_window, result.part.display_window)
        ),
    }


def run(clip: Path, folder: Path, most: int, engine: str, passes: int) -> dict[str, Any]:
    count = prepare(clip, folder, most)
    prompt = json.loads((clip / "prompt.json").read_text())
    command = [
        *(sys.executable, "-m", "voidbridge_backend", "run"),
        *(f"{folder}/plate.####.exr", f"{folder}/mask.####.exr"),
        *(
            "-o",
            f"{folder}/out/result.####.exr",
            "--color-space",
            "lin_rec709",
            "--matte-kind",
            "quadmask",
        ),
        *("--grow", str(GROW), "--soften", str(SOFTEN), "--engine", engine),
        *("--passes", str(passes)),
        *("--prompt", next(iter(prompt.values()), ""), "--json"),
    ]
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    seconds = time.monotonic() - began
    last = json.loads(done.stdout.splitlines()[-1])
    found: dict[str, int] = {}
    for frame in range(FIRST, FIRST + count):
        for what, number in differences(folder, frame).items():
            found[what] = found.get(what, 0) + number
    return {
        "clip": clip.name,
        "frames": count,
        "range": last["frames"],
        "seconds": round(seconds, 1),
        "seconds_a_frame": round(seconds / count, 2),
        "peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
        **{f"{what}_differing": number for what, number in found.items()},
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("folder", type=Path)
    options.add_argument("--clips", nargs="*", default=["lime", "moving_ball", "pillow"])
    options.add_argument("--frames", type=int, default=1000, help="at most so many of each clip")
    options.add_argument("--engine", default="cleanplate")
    options.add_argument("--passes", type=int, default=1, help="of the engine void")
    options.add_argument("--work", type=Path, default=None, help="keep everything here")
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = chosen.work or Path(temporary)
        for clip in chosen.clips:
            report = run(
                chosen.folder / clip, work / clip, chosen.frames, chosen.engine, chosen.passes
            )
            if chosen.json:
                print(json.dumps(report))
            else:
                print("  ".join(f"{key} {value}" for key, value in report.items()))


if __name__ == "__main__":
    main()
