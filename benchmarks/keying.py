"""Processor seconds a frame and memory of `chroma`, beside `pymatting` on the whole frame.

    python benchmarks/keying.py [--frames 3] [--size 3840x2160] [--json]

A drawn shot with hair, blur, glass and grain is enlarged, so that its unknown band is as wide as in a real
plate. Each side works in a process of its own: `chroma` as a job runs it, without the files; `pymatting` with its
closed-form matting and its multi-level foreground on the first frame, with the same solid and clear regions. It is
no dependency: `pip install pymatting` first. Its compilation is not counted. `ratio` is its seconds over those of
`chroma`. Both use one core; processor time is what other work on the machine changes least.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.chroma import alpha as alphas
from voidbridge_backend.engines.chroma.engine import Chroma
from voidbridge_backend.engines.chroma.screen import clean_screen, measured_color, seen_screen
from voidbridge_backend.tools.demo.screen_scene import ScreenScene
from voidbridge_protocol.operations.key import KeySettings

DRAWN = 3
"""Frames that are drawn; longer shots repeat them."""
LARGER = 6
"""Factor by which they are enlarged."""
Array = NDArray[np.float32]


def draw(folder: Path, width: int, height: int) -> None:
    """Writes plates as half, [height, width, 3]."""
    scene = ScreenScene(height=height // LARGER, width=width // LARGER, grain=0.0)
    for number in range(DRAWN):
        seen = scene.frame(number)
        alpha, light, screen = (
            cv2.resize(np.asarray(part, np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
            for part in (seen.alpha, seen.foreground, seen.screen)
        )
        cover = np.clip(alpha, 0, 1)[..., None]
        plate = cover * np.maximum(light, 0) + (1 - cover) * np.maximum(screen, 1e-3)
        grain = np.random.default_rng(number).standard_normal(plate.shape, np.float32)
        plate += 0.008 * grain * np.sqrt(plate / 0.25)
        np.save(folder / f"{number}.npy", plate.astype(np.float16))


class Clip:
    """The shot as an engine sees it."""

    to_rec709 = np.eye(3)

    def __init__(self, folder: Path, frames: int) -> None:
        self.frames: Sequence[int] = range(frames)
        self._folder = folder

    def plate(self, frame: int) -> Array:
        return np.load(self._folder / f"{frame % DRAWN}.npy").astype(np.float32)

    def hint(self, frame: int) -> None:
        return None

    def clean_screen(self, frame: int) -> None:
        return None


class Silent:
    """Nobody listens to this job."""

    def step(self, stage: str, done: int, of: int) -> None: ...

    def warn(self, text: str) -> None: ...


def chroma(folder: Path, frames: int) -> dict[str, Any]:
    """Keys every frame. The first pays for the color of the screen."""
    clip = Clip(folder, frames)
    seconds, solid = [], []
    began = time.process_time()
    for _, keyed in Chroma().key(clip, clip.frames, KeySettings(), Silent()):
        seconds.append(time.process_time() - began)
        solid.append(float((keyed.alpha >= 0.99).mean()))
        began = time.process_time()
    return {
        "seconds": round(float(np.median(seconds)), 2),
        "solid": round(float(np.mean(solid)), 3),
    }


def whole_frame(folder: Path) -> dict[str, Any]:
    """Alpha and foreground of one frame by `pymatting`."""
    from pymatting import estimate_alpha_cf, estimate_foreground_ml

    plate = Clip(folder, 1).plate(0)
    trimap = _trimap(plate)
    small = np.random.default_rng(0).random((32, 32, 3))
    regions = np.repeat([0.0, 0.5, 0.5, 1.0], 8)[:, None] * np.ones(32)
    estimate_foreground_ml(small, estimate_alpha_cf(small, regions))
    began = time.process_time()
    light = np.clip(plate, 0, 1).astype(np.float64)
    estimate_foreground_ml(light, estimate_alpha_cf(light, trimap))
    unknown = round(float((trimap == 0.5).mean()), 3)
    return {"seconds": round(time.process_time() - began, 2), "unknown": unknown}


def _trimap(plate: Array) -> NDArray[np.float64]:
    """1 where `chroma` is sure of foreground, 0 where it is sure of screen, else 0.5."""
    color = measured_color([plate])
    screen = clean_screen(seen_screen(plate, color), [], *plate.shape[:2])
    core = alphas._surely_core(alphas.first_alpha(plate, screen, color))
    clear = alphas._surely_clear(plate, screen, color) & ~core
    return np.where(core, 1.0, np.where(clear, 0.0, 0.5))


def measured(side: str, folder: Path, frames: int) -> dict[str, Any]:
    """One side in a process of its own."""
    words = [sys.executable, __file__, "--side", side, "--folder", str(folder)]
    done = subprocess.run(
        [*words, "--frames", str(frames)], stdout=subprocess.PIPE, check=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--size", default="3840x2160")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        folder = options.folder
        found = chroma(folder, options.frames) if options.side == "chroma" else whole_frame(folder)
        found["mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(found))
        return
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as place:
        draw(Path(place), width, height)
        result = {
            side: measured(side, Path(place), options.frames) for side in ("chroma", "pymatting")
        }
    ratio = result["pymatting"]["seconds"] / result["chroma"]["seconds"]
    result |= {"size": options.size, "frames": options.frames, "ratio": round(ratio, 2)}
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
