"""How close a shot comes to what its files cost alone: merge, `echo` and `cleanplate` beside OpenEXR's codec.

    python benchmarks/pixels.py [--frames 24] [--size 3840x2160] [--turns 3] [--json]

Frames a second and peak memory of a panning, grainy half ZIP plate whose matte covers a quarter of the rows:

* `codec`: decoding and encoding every frame with OpenEXR and nothing else, one frame a thread on every core.
* `merge`: decoded frames joined with a result inside the matte, as a job does it for each; nothing read or written.
* `echo`, `cleanplate`: the whole shot from files to files, without a daemon.

All take turns, each in a process of its own, and the best of each counts, so that what else the machine does
matters less.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import OpenEXR

from voidbridge_backend.client.submission import Submission
from voidbridge_backend.engines import registry
from voidbridge_backend.engines.base import InputSpec
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.imaging.color import ColorPlan
from voidbridge_backend.imaging.crop import whole
from voidbridge_backend.render import remove
from voidbridge_backend.render.composite import Composite
from voidbridge_backend.render.engine_input import EngineInput
from voidbridge_backend.render.inputs import InputFiles, Plates, canvas_of
from voidbridge_backend.render.job import RenderJob
from voidbridge_backend.render.mattes import Mattes
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.job_task import JobTask
from voidbridge_protocol.operations.remove import RemoveSettings

FIRST = 1001
PAN = 6
"""Pixels a frame."""
SPACE = "ACEScg"


def draw(folder: Path, frames: int, width: int, height: int) -> None:
    """A panning plate whose grain ZIP packs as badly as a real one's, and a matte on a quarter of its rows."""
    rng = np.random.default_rng(5)
    reach = width + PAN * frames
    coarse = rng.random((height // 24, reach // 24, 3), np.float32)
    scene = cv2.resize(coarse, (reach, height), interpolation=cv2.INTER_CUBIC).clip(0) ** 2
    for number in range(frames):
        base = scene[:, PAN * number :][:, :width]
        grain = rng.standard_normal((height, width, 3), np.float32)
        half = (base + grain * (0.0025 + 0.018 * np.sqrt(base))).astype(np.float16)
        mask = np.zeros((height, width), np.float16)
        left = width // 4 + number * width // (2 * frames)
        mask[height * 3 // 8 : height * 5 // 8, left : left + width // 4] = 1
        half[mask > 0] = 0.02
        planes = {name: half[..., i] for i, name in enumerate("RGB")}
        (folder / f"plate.{FIRST + number}.exr").write_bytes(new_file(planes))
        (folder / f"matte.{FIRST + number}.exr").write_bytes(new_file({"A": mask}))


def task_of(folder: Path, engine: str, results: Path = Path()) -> JobTask:
    """The request for what `draw` wrote; its results go into the folder `results`."""
    assignment = Submission(
        {role: Sequence.parse(folder / f"{role}.####.exr") for role in ("plate", "matte")},
        RemoveSettings(engine=engine, color_space=SPACE),
    )
    return assignment.task(
        lambda frame: results / f"{frame}.exr", lambda done, of: None, lambda: False
    )


class Quiet:
    """A watch that hears nothing."""

    def step(self, stage: str, done: int, of: int) -> None: ...

    def warn(self, text: str) -> None: ...


def codec(folder: Path) -> float:
    plates = sorted(folder.glob("plate.*.exr"))

    def through(path: Path) -> int:
        file = OpenEXR.File(str(path), separate_channels=True, num_threads=0)
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        planes = {name: channel.pixels for name, channel in file.channels().items()}
        out = io.BytesIO()
        OpenEXR.File(header, planes, num_threads=0).write(out)
        return len(out.getvalue())

    began = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(through, plates))
    return len(plates) / (time.perf_counter() - began)


def merge(folder: Path) -> float:
    task = task_of(folder, "echo")
    source = _source(task)
    (canvas, _), settings = canvas_of(source), task.request.settings
    mattes, plates = (
        Mattes(source, settings, canvas),
        Plates(source, canvas, ColorPlan.choose(SPACE, None)),
    )
    mattes.survey(lambda: None)
    size = canvas.height, canvas.width
    view = EngineInput(plates, mattes, source.frames, whole(source.frames, size), size, None)
    # An engine whose picture has to be made to meet the plate: with the membrane, the most there is to do.
    composite = Composite(view, InputSpec("scene"), None, replace(settings, grain="off"))
    frame = source.frames[0]
    pixels, decoded, turns = view.plate(frame), plates.frame(frame), 4
    mattes.hole(frame)
    began = time.perf_counter()
    for _ in range(turns):
        composite.frame(decoded, frame, pixels)
    return turns / (time.perf_counter() - began)


def echo(folder: Path) -> float:
    return _through(folder, "echo")


def cleanplate(folder: Path) -> float:
    return _through(folder, "cleanplate")


def _through(folder: Path, name: str) -> float:
    task = task_of(folder, name)
    made = registry.make("remove", name)
    with tempfile.TemporaryDirectory(dir=folder) as results:
        order = RenderJob("benchmark", task.request, _finder(task), Path(results))
        began = time.perf_counter()
        remove.run(order, made, Quiet(), lambda result: None)
        seconds = time.perf_counter() - began
    return (task.request.last - task.request.first + 1) / seconds


def _source(task: JobTask) -> InputFiles:
    return InputFiles.of(task.request, _finder(task))


def _finder(task: JobTask) -> Callable[[str], Path]:
    paths = {file.sha256: path for file, path in zip(task.request.files, task.sources, strict=True)}
    return paths.__getitem__


def apart(measure: Callable[[Path], float], folder: Path) -> tuple[float, int]:
    """(frames a second, peak MB) in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
        return other.submit(_with_peak, measure, folder).result()


def _with_peak(measure: Callable[[Path], float], folder: Path) -> tuple[float, int]:
    rate = measure(folder)
    return rate, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--frames", type=int, default=24)
    options.add_argument("--size", default="3840x2160")
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    width, height = (int(edge) for edge in chosen.size.split("x"))
    rates: dict[str, float] = {}
    peaks: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), chosen.frames, width, height)
        for turn in range(chosen.turns):
            # The slow one once: nothing is asked of its ratio.
            for measure in (codec, merge, echo) if turn else (codec, merge, echo, cleanplate):
                rate, peak = apart(measure, Path(folder))
                name = measure.__name__
                rates[name] = max(rate, rates.get(name, 0.0))
                peaks[name] = max(peak, peaks.get(name, 0))
    report = {
        "frames": chosen.frames,
        "size": chosen.size,
        "frames_a_second": {name: round(rate, 2) for name, rate in rates.items()},
        "peak_mb": peaks,
        "echo_vs_codec": round(rates["echo"] / rates["codec"], 3),
    }
    if chosen.json:
        print(json.dumps(report))
        return
    print(f"{chosen.frames} frames of {chosen.size}")
    for name, rate in rates.items():
        print(f"{name:12}{rate:8.2f} frames a second{peaks[name]:8d} MB at most")
    print(f"echo_vs_codec {report['echo_vs_codec']}")


if __name__ == "__main__":
    main()
