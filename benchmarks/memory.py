"""Peak memory of the daemon and its worker while 4K shots of two lengths go through them.

    python benchmarks/memory.py [--lengths 100 400] [--size 3840x2160] [--engine cleanplate] [--json]

A shot is drawn with a moving camera and a moving matte. Its frames are written once and sent to a temporary daemon.
The resident memory of the daemon's process and of its worker is read from /proc until the job is done.
`ratio` is the worker's peak at the last length over that at the first: it must not grow with the clip.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from voidbridge_backend.exr.new.file import new_file

FIRST = 1001
PAN = 3
"""Pixels a frame."""


def draw(folder: Path, length: int, width: int, height: int) -> None:
    """Plate and matte, [height, width]; frames that are there already stay."""
    rng = np.random.default_rng(1)
    coarse = rng.random((height // 16, (width + PAN * length) // 16 + 1, 3), np.float32)
    for number in range(length):
        plate, matte = (folder / f"{name}.{FIRST + number}.exr" for name in ("plate", "matte"))
        if matte.is_file():
            continue
        left = PAN * number
        first, last = left // 16, (left + width) // 16 + 2
        strip = cv2.resize(
            coarse[:, first:last], ((last - first) * 16, height), interpolation=cv2.INTER_CUBIC
        )
        rgb = np.ascontiguousarray(strip[:, left - first * 16 :][:, :width]) * 4
        mask = np.zeros((height, width), np.float32)
        center = int(width * (0.2 + 0.6 * (number % 100) / 100)), height // 2
        cv2.circle(mask, center, height // 8, 1.0, -1)
        rgb[mask > 0] = 0.02
        half = rgb.astype(np.float16)
        plate.write_bytes(new_file({c: half[..., i] for i, c in enumerate("RGB")}))
        matte.write_bytes(new_file({"A": mask.astype(np.float16)}))


def resident_mb(pid: int) -> int:
    """The peak so far, as the kernel has it."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) // 1024
    return 0


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Peaks:
    """Reads /proc until told to stop."""

    def __init__(self, daemon: int) -> None:
        self.daemon_mb = self.worker_mb = 0
        self._pid = daemon
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            try:
                self.daemon_mb = max(self.daemon_mb, resident_mb(self._pid))
                for child in children(self._pid):
                    self.worker_mb = max(self.worker_mb, resident_mb(child))
            except (FileNotFoundError, ProcessLookupError):
                return

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def measure(work: Path, length: int, engine: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=work) as spool, tempfile.TemporaryDirectory() as sockets:
        address = f"ipc://{sockets}/ctl"
        voidbridge = [sys.executable, "-m", "voidbridge_backend"]
        serve = [*voidbridge, "serve", "--listen", address, "--spool", spool]
        log = (work / "daemon.log").open("wb")
        with subprocess.Popen(serve, stderr=log) as daemon:
            while not Path(f"{sockets}/ctl.bulk").exists():
                time.sleep(0.05)
            peaks = Peaks(daemon.pid)
            began = time.monotonic()
            subprocess.run(
                [
                    *(*voidbridge, "run", f"{work}/plate.####.exr", f"{work}/matte.####.exr"),
                    *("-o", f"{work}/out/result.####.exr", "--daemon", address, "--force"),
                    *("--frames", f"{FIRST}-{FIRST + length - 1}", "--engine", engine),
                    *("--color-space", "ACEScg"),
                ],
                check=True,
                stderr=subprocess.DEVNULL,
            )
            seconds = time.monotonic() - began
            peaks.stop()
            daemon.terminate()
    return {
        "frames": length,
        "seconds": round(seconds, 1),
        "daemon_mb": peaks.daemon_mb,
        "worker_mb": peaks.worker_mb,
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--lengths", type=int, nargs="+", default=[100, 400])
    options.add_argument("--size", default="3840x2160")
    options.add_argument("--engine", default="cleanplate")
    options.add_argument("--work", type=Path, default=None, help="keep the frames here")
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    width, height = (int(edge) for edge in chosen.size.split("x"))
    with tempfile.TemporaryDirectory() as temporary:
        work = chosen.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        draw(work, max(chosen.lengths), width, height)
        rows = [measure(work, length, chosen.engine) for length in chosen.lengths]
    ratio = round(rows[-1]["worker_mb"] / rows[0]["worker_mb"], 3)
    if chosen.json:
        print(json.dumps({"engine": chosen.engine, "rows": rows, "ratio": ratio}))
        return
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    print(f"ratio {ratio}")


if __name__ == "__main__":
    main()
