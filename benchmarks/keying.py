"""Processor seconds a frame and memory of `chroma`, beside `pymatting` on the whole frame.

    python benchmarks/keying.py [--frames 48] [--size 3840x2160] [--json]

The shot is drawn at the size of the plate: hair of 1 to 3 pixels, a limb with motion blur, a pane of glass, uneven
light and grain, another picture in every frame. Each side works in a process of its own: `chroma` as a job runs it
over all frames, without the files; `pymatting` with its closed-form matting and its multi-level foreground on the
first frame, with the same solid and clear regions. It is no dependency: `pip install pymatting` first. Its
compilation is not counted. `ratio` is its seconds over those of `chroma`. Both use one core; processor time is the
figure that other work on the machine changes least.
"""

from __future__ import annotations

import argparse
import json
import os
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
from voidbridge_protocol.operations.key import KeySettings

GREEN = (0.06, 0.42, 0.10)
"""Linear RGB of the screen where it is lit fully."""
GRAIN = 0.008
"""Standard deviation of the grain at a value of 0.25, as a share of 1; it grows with the root of the value."""
HAIRS = 900
SHUTTER = 9
"""Places of the limb within the time of a frame."""
ONE_CORE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
Array = NDArray[np.float32]
Mask = NDArray[np.uint8]


class DrawnShot:
    """A figure before a green screen, in linear light. Distances are shares of the height."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32) / np.float32(height)
        ripple = 1 + 0.25 * np.sin(rows * 211) * np.cos(columns * 173) - 0.3 * rows
        self._shading = ripple[..., None]
        uneven = 0.85 + 0.2 * columns - 0.15 * (rows - 0.4) ** 2
        self._screen = uneven[..., None] * np.float32(GREEN)
        rng = np.random.default_rng(1)
        self._noise = rng.standard_normal((height + 64, width + 64, 3), np.float32)
        self._hairs = rng.uniform((3.0, 0.15, -0.9, 0, 0.5), (6.4, 0.33, 0.9, 6, 3.2), (HAIRS, 5))

    def plate(self, number: int) -> Array:
        """Returns the frame `number`, [height, width, 3]."""
        head = (0.8 + 0.01 * np.sin(number * 0.7), 0.36)
        light = self._screen.copy()
        self._over(light, self._glass(), (0.30, 0.32, 0.34), 0.35)
        self._over(light, self._ellipse(0.8, 0.98, 0.26, 0.42), (0.16, 0.10, 0.24))
        self._over(light, self._limb(number), (0.48, 0.30, 0.22))
        self._over(light, self._hair(head, number), (0.07, 0.05, 0.035))
        self._over(light, self._ellipse(*head, 0.13, 0.17), (0.48, 0.30, 0.22))
        down, right = np.random.default_rng(number).integers(0, 64, 2)
        noise = self._noise[down : down + self.height, right : right + self.width]
        grainy: Array = light + GRAIN * noise * np.sqrt(np.clip(light, 0.02, 1) / 0.25)
        return grainy

    def _over(self, light: Array, matte: Mask, color: Sequence[float], most: float = 1) -> None:
        x, y, width, height = cv2.boundingRect(matte)
        part = np.s_[y : y + height, x : x + width]
        cover = matte[part][..., None] * np.float32(most / 255)
        light[part] += cover * (self._shading[part] * np.float32(color) - light[part])

    def _empty(self) -> Mask:
        return np.zeros((self.height, self.width), np.uint8)

    def _points(self, places: Any) -> NDArray[np.int32]:
        return np.round(np.asarray(places) * self.height * 16).astype(np.int32)

    def _ellipse(self, x: float, y: float, across: float, down: float) -> Mask:
        matte = self._empty()
        place, radii = self._points((x, y)), self._points((across, down))
        cv2.ellipse(matte, place.tolist(), radii.tolist(), 0, 0, 360, 255, -1, cv2.LINE_AA, 4)
        return matte

    def _glass(self) -> Mask:
        corners = self._points([(1.1, 0.25), (1.35, 0.22), (1.38, 0.62), (1.12, 0.66)])
        return np.asarray(cv2.fillPoly(self._empty(), [corners], 255, cv2.LINE_AA, 4))

    def _limb(self, number: int) -> Mask:
        total = np.zeros((self.height, self.width), np.float32)
        for step in range(SHUTTER):
            swing = 0.12 * np.sin((number + step / SHUTTER / 2) * 1.1)
            matte = self._ellipse(0.38, 0.62 - swing, 0.06, 0.06)
            arm = self._points([(0.38, 0.62 - swing), (0.7, 0.75)])
            total += cv2.polylines(
                matte, [arm], False, 255, self.height // 14, cv2.LINE_AA, shift=4
            )
        return np.round(total / SHUTTER).astype(np.uint8)

    def _hair(self, head: tuple[float, float], number: int) -> Mask:
        matte, along = self._empty(), np.linspace(0.1, 1, 24)
        for angle, length, curl, phase, thick in self._hairs:
            wave = angle + curl * along + 0.06 * np.sin(number * 0.9 + phase) * along
            reach = 0.12 + length * along
            line = np.stack([head[0] + np.cos(wave) * reach, head[1] + np.sin(wave) * reach], 1)
            cv2.polylines(
                matte, [self._points(line)], False, 255, max(1, round(thick)), cv2.LINE_AA, 4
            )
        return matte


def draw(folder: Path, width: int, height: int, frames: int) -> None:
    """Writes plates as half, [height, width, 3]."""
    shot = DrawnShot(height, width)
    for number in range(frames):
        np.save(folder / f"{number}.npy", shot.plate(number).astype(np.float16))


class Clip:
    """The shot as an engine sees it."""

    to_rec709 = np.eye(3)

    def __init__(self, folder: Path, frames: int) -> None:
        self.frames: Sequence[int] = range(frames)
        self._folder = folder

    def plate(self, frame: int) -> Array:
        return np.load(self._folder / f"{frame}.npy").astype(np.float32)

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
        "mean": round(float(np.mean(seconds)), 2),
        "most": round(max(seconds), 2),
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
    screen = clean_screen(seen_screen(plate, color), [], *plate.shape[:2], 1)
    core = alphas._surely_core(alphas.first_alpha(plate, screen, color))
    clear = alphas._surely_clear(plate, screen, color) & ~core
    return np.where(core, 1.0, np.where(clear, 0.0, 0.5))


def measured(side: str, folder: Path, frames: int) -> dict[str, Any]:
    """One side in a process of its own."""
    words = [sys.executable, __file__, "--side", side, "--folder", str(folder)]
    done = subprocess.run(
        [*words, "--frames", str(frames)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        env={**os.environ, **dict.fromkeys(ONE_CORE, "1")},
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--size", default="3840x2160")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.side:
        folder = options.folder
        found = chroma(folder, options.frames) if options.side == "chroma" else whole_frame(folder)
        found["mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(found))
        return
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as place:
        draw(Path(place), width, height, options.frames)
        result = {
            side: measured(side, Path(place), options.frames) for side in ("chroma", "pymatting")
        }
    ratio = result["pymatting"]["seconds"] / result["chroma"]["seconds"]
    result |= {"size": options.size, "frames": options.frames, "ratio": round(ratio, 2)}
    result["load"] = [round(value, 1) for value in os.getloadavg()]
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
