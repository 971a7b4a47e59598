"""Small shots with a known truth: made by the script of a folder, removed by a whole job in this process.

    python benchmarks/removal.py --cases FOLDER [CASE...] [--against CHECKOUT]

`FOLDER/make.py` has to hold SHOTS, functions by name that take the number of a frame and give (plate, truth,
matte), and N, how many frames there are.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines import registry
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.exr.reader import decode
from voidbridge_backend.render import remove
from voidbridge_backend.render.job import RenderJob
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.messages import FrameFile, Request

FIRST = 1001
Frames = NDArray[np.float32]
"""[frame, height, width(, 3)]."""


@dataclass(frozen=True)
class Known:
    """A shot and what is behind its object."""

    name: str
    plate: Frames
    truth: Frames
    matte: Frames


class Silent:
    """A context that hears nothing."""

    def step(self, stage: str, done: int, of: int) -> None: ...

    def warn(self, text: str) -> None: ...


def shots(folder: Path, names: list[str]) -> Iterator[Known]:
    """The shots of `folder/make.py` with these names, or all."""
    spec = importlib.util.spec_from_file_location("known_shots", folder / "make.py")
    assert spec
    assert spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, make in module.SHOTS.items():
        if not names or name in names:
            made = [make(index) for index in range(module.N)]
            parts = (np.array([one[part] for one in made], np.float16) for part in range(3))
            yield Known(name, *(part.astype(np.float32) for part in parts))


def removed(shot: Known, folder: Path, part: slice = slice(None)) -> Frames:
    """The result of a job with the default settings; its files are written to `folder`.

    The frames outside `part` are handles.
    """
    files = []
    for role in ("matte", "plate"):
        for index in range(len(shot.plate)):
            half = getattr(shot, role)[index].astype(np.float16)
            planes = (
                {"A": half}
                if role == "matte"
                else dict(zip("RGB", np.moveaxis(half, -1, 0), strict=True))
            )
            data = new_file({name: np.ascontiguousarray(plane) for name, plane in planes.items()})
            digest = hashlib.sha256(data).hexdigest()
            (folder / digest).write_bytes(data)
            files.append(FrameFile(role, FIRST + index, digest, len(data)))
    frames = range(FIRST, FIRST + len(shot.plate))[part]
    request = Request(frames[0], frames[-1], RemoveSettings(color_space="ACEScg"), tuple(files))
    results = folder / "results"
    results.mkdir()
    order = RenderJob("job", request, lambda sha256: folder / sha256, results)
    remove.run(order, registry.make("remove", "cleanplate"), Silent(), lambda result: None)
    return np.array([decode((results / f"{frame}.exr").read_bytes()).rgb() for frame in frames])


def inpainted(shot: Known, paint: Callable[[NDArray[np.uint8], NDArray[np.uint8]], Any]) -> Frames:
    """Each frame by itself: `paint` gets 8 bit colors and what is hidden (255), grown by 4 pixels."""
    filled = []
    for plate, matte in zip(shot.plate, shot.matte, strict=True):
        display = (np.clip(plate, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)
        hidden = cv2.dilate((matte > 0.5).astype(np.uint8) * 255, np.ones((9, 9)))
        filled.append((paint(display, np.asarray(hidden, np.uint8)) / 255.0) ** 2.2)
    return np.array(filled, np.float32)


def telea(shot: Known) -> Frames:
    return inpainted(shot, lambda plate, hidden: cv2.inpaint(plate, hidden, 3, cv2.INPAINT_TELEA))


def fsr(shot: Known) -> Frames | None:
    """OpenCV's frequency selective reconstruction; None without opencv-contrib."""
    photo: Any = getattr(cv2, "xphoto", None)
    if photo is None:
        return None

    def paint(plate: NDArray[np.uint8], hidden: NDArray[np.uint8]) -> Any:
        found = np.zeros_like(plate)
        photo.inpaint(plate, 255 - hidden, found, photo.INPAINT_FSR_FAST)
        return found

    return inpainted(shot, paint)


def quality(shot: Known, result: Frames) -> tuple[float, float]:
    """Peak signal to noise ratio in the matte, in dB of scene-linear light: (over all frames, of the worst)."""
    errors = [
        float(np.square(r - t)[m > 0.5].mean())
        for r, t, m in zip(result, shot.truth, shot.matte, strict=True)
    ]
    mean, worst = (-10 * np.log10(max(e, 1e-12)) for e in (float(np.mean(errors)), max(errors)))
    return float(mean), float(worst)


def before(folder: Path, name: str, checkout: Path) -> str:
    """The figure of another release for a shot, by the script of that checkout."""
    path = os.pathsep.join(str(checkout / room) for room in ("backend", "protocol"))
    done = subprocess.run(
        [sys.executable, checkout / "benchmarks/removal.py", "--cases", folder, name],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return done.stdout.splitlines()[-1].split("|")[2].strip()


def table(folder: Path, names: list[str], checkout: Path | None = None) -> Iterator[str]:
    """One line for each shot, as Markdown; `checkout` is another release to be run in turn."""
    other_title = " | before" if checkout else ""
    yield f"| shot | cleanplate | worst frame | Telea | FSR | seconds{other_title} |"
    yield "|---|---|---|---|---|---|" + "---|" * bool(checkout)
    for shot in shots(folder, names):
        with tempfile.TemporaryDirectory() as where:
            began = time.perf_counter()
            result = removed(shot, Path(where))
            seconds = time.perf_counter() - began
        mean, worst = quality(shot, result)
        other, _ = quality(shot, telea(shot))
        painted = fsr(shot)
        third = "not installed" if painted is None else f"{quality(shot, painted)[0]:.1f}"
        line = f"| {shot.name} | {mean:.1f} | {worst:.1f} | {other:.1f} | {third} | {seconds:.1f} |"
        yield line + (f" {before(folder, shot.name, checkout)} |" if checkout else "")
