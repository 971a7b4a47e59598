"""`cleanplate` alone over a clip in files, in a process of its own, whichever release of it is on the path.

    PYTHONPATH=CHECKOUT/backend:CHECKOUT/protocol python benchmarks/removal.py CLIP

Prints seconds, processor seconds and peak memory as JSON. Needs nothing of the project but the engine, so that it
runs with the first release of that too.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
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
        return np.asarray(np.load(self._folder / f"plate.{frame}.npy"), np.float32)

    def truth(self, frame: int) -> NDArray[np.float32]:
        return np.asarray(np.load(self._folder / f"truth.{frame}.npy"), np.float32)

    def quadmask(self, frame: int) -> NDArray[np.uint8]:
        return np.asarray(np.load(self._folder / f"mask.{frame}.npy"), np.uint8)

    def has_hole(self, frame: int) -> bool:
        return frame in self._holes


class Quiet:
    """A watch that hears nothing."""

    def step(self, stage: str, done: int, of: int) -> None: ...

    def warn(self, text: str) -> None: ...


def apart(clip: Path, checkout: Path) -> dict[str, Any]:
    """What the `cleanplate` of a checkout takes for a clip."""
    path = os.pathsep.join(str(checkout / room) for room in ("backend", "protocol"))
    done = subprocess.run(
        [sys.executable, __file__, str(clip)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(done.stdout))


def main(folder: Path) -> None:
    from voidbridge_backend.engine.cleanplate import Cleanplate
    from voidbridge_protocol.messages import Settings

    clip = DiskClip(folder)
    began, cpu = time.perf_counter(), time.process_time()
    frames = sum(1 for _ in Cleanplate().remove(clip, Settings(), Quiet()))
    report = {
        "frames": frames,
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
