"""Runs `cleanplate` alone over a clip in files, in a process of its own.

    PYTHONPATH=CHECKOUT/backend:CHECKOUT/protocol python benchmarks/removal.py CLIP
    PYTHONPATH=backend:protocol python benchmarks/removal.py --cases FOLDER [CASE...] [--against CHECKOUT]

The second way prints how well small shots with a known truth are done, beside per-frame inpainting and
another release (`known_truth`).
Prints seconds, processor seconds and peak memory as JSON. Needs nothing of the project but the engine.

`resampling_cpu_seconds` is the least that an engine with several source frames needs. It reads them, cuts the
sources out, and warps light, luma and hole of each to the frame at hand.
`over_resampling` is the processor time of the whole engine over that.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

INDEX = "clip.json"


class DiskClip:
    """A clip as an engine sees it, from files: what is measured is the engine, not the drawing.

    `plate.FRAME.npy` and `truth.FRAME.npy` are [height, width, 3] float32, `mask.FRAME.npy` [height, width] uint8.
    """

    def __init__(self, folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text())
        self.height, self.width = int(index["height"]), int(index["width"])
        self.frames: Sequence[int] = index["frames"]
        self._holes = set(index["holes"])
        self._folder = folder

    def plate(self, frame: int) -> NDArray[np.float32]:
        return self._read(f"plate.{frame}")

    def truth(self, frame: int) -> NDArray[np.float32]:
        return self._read(f"truth.{frame}")

    def quadmask(self, frame: int) -> NDArray[np.uint8]:
        return self._read(f"mask.{frame}")

    def has_hole(self, frame: int) -> bool:
        return frame in self._holes

    def _read(self, name: str) -> NDArray[Any]:
        """Mapped, and copied where it is written to: reading is no part of what is measured."""
        return np.asarray(np.load(self._folder / f"{name}.npy", mmap_mode="c"))


class Quiet:
    """A watch that hears nothing."""

    def step(self, stage: str, done: int, of: int) -> None: ...

    def warn(self, text: str) -> None: ...


class Meter:
    """Adds up the processor time of the calls that go through it, on whichever thread."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock = threading.Lock()
        self._inside = threading.local()

    def watch(self, owner: Any, name: str) -> None:
        """Nothing where this release has none of that name. A call within another counts once."""
        if work := getattr(owner, name, None):
            setattr(owner, name, self._metered(work))

    def _metered(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def metered(*words: Any, **more: Any) -> Any:
            if getattr(self._inside, "counts", False):
                return work(*words, **more)
            self._inside.counts = True
            began = time.thread_time()
            try:
                return work(*words, **more)
            finally:
                self._inside.counts = False
                with self._lock:
                    self.seconds += time.thread_time() - began

        return metered


def apart(clip: Path, checkout: Path) -> dict[str, Any]:
    """Measures the `cleanplate` of a checkout on a clip, with the script of that checkout."""
    path = os.pathsep.join(str(checkout / room) for room in ("backend", "protocol"))
    done = subprocess.run(
        [sys.executable, str(checkout / "benchmarks/removal.py"), str(clip)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(done.stdout))


def main(folder: Path) -> None:
    from voidbridge_backend.engines.cleanplate import combine
    from voidbridge_backend.engines.cleanplate.engine import Cleanplate
    from voidbridge_backend.engines.cleanplate.motion import align, sources
    from voidbridge_protocol.operations.remove import RemoveSettings

    meter = Meter()
    meter.watch(sources.Sources, "get")
    for room, name in ((combine, "_fetched"), (combine, "_shown"), (align, "warp_grey")):
        meter.watch(room, name)
    clip = DiskClip(folder)
    began, cpu = time.perf_counter(), time.process_time()
    frames = sum(1 for _ in Cleanplate().remove(clip, RemoveSettings(), Quiet()))
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    report = {
        "frames": frames,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(used, 2),
        "resampling_cpu_seconds": round(meter.seconds, 2),
        "over_resampling": round(used / meter.seconds, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(report))


def main_cases(words: list[str]) -> None:
    from known_truth import table

    folder, *names = words
    against = None
    if "--against" in names:
        at = names.index("--against")
        against = Path(names[at + 1])
        del names[at : at + 2]
    for line in table(Path(folder), names, against):
        print(line, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--cases":
        main_cases(sys.argv[2:])
    else:
        main(Path(sys.argv[1]))
