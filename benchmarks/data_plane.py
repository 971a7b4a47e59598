"""How close frames come to the machine's own limits on their way to a daemon and back.

    python benchmarks/data_plane.py [--frames 24] [--size 3840x2160] [--turns 3] [--work FOLDER] [--json]

One run measures everything, and the limits beside it. The best of several turns counts, so other programs
matter less. Every figure is a ratio of speeds, unless stated otherwise:

* `upload_vs_limit`, `download_vs_limit`: a 4K half ZIP shot into and out of a daemon. The limit is the slower of
  bare chunked ZeroMQ on loopback and bare fsynced writing of the same files.
* `upload_curve_vs_limit`, `download_curve_vs_limit`: the same with keys. The limit is the slower of bare CURVE and
  disk.
* `upload_vs_processors` and so on: the limit is the same sending, hashing and writing, bare, on all cores without a
  wait. If that is the lower limit, it is the bound.
* `import_vs_limit`: the daemon imports these files by path. The limit is the slower of the same writing and of
  SHA-256 on one core. `import_vs_upload` compares with sending. `import_sent_bytes` were sent all the same.
* `shot_echo_vs_codec`: a whole shot is hashed, sent, run by `echo` and fetched. The limit is decoding and encoding
  every frame with OpenEXR alone, one frame a thread on every core.
* `shot_echo_vs_ceiling`: the limit is the processor time of a frame in client, daemon and worker, spread over the
  cores. Below 1, cores were idle or used by others.
* `shot_echo_vs_given`: the same without the time that the host of a virtual machine gave to others.

Before each measurement the system reserves the memory for all of its files.

Processor time is given in seconds a gigabyte (2^30 bytes) that went through, for each end.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import limits
import pixels
from served import Served, serving

from voidbridge_backend.worker import malloc
from voidbridge_protocol.job_task import Listener

GIB = 2**30
COPIES = 3
"""Of the shot that what is measured writes, at most: plates in the spool, results there and at the client."""


class Best:
    """The best figure of all turns, by its name: the highest rate, the lowest cost."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}

    def rate(self, name: str, value: float) -> None:
        self.figures[name] = max(value, self.figures.get(name, 0.0))

    def cost(self, name: str, value: float) -> None:
        self.figures[name] = min(value, self.figures.get(name, value))


class Meter:
    """Wall and processor seconds of both ends, from its making on."""

    def __init__(self, daemon: Served) -> None:
        self._daemon = daemon
        self._before = self._now()

    def seconds(self) -> tuple[float, float, float]:
        """(wall, client, daemon)"""
        wall, client, daemon = (b - a for a, b in zip(self._before, self._now(), strict=True))
        return wall, client, daemon

    def _now(self) -> tuple[float, float, float]:
        return time.perf_counter(), time.process_time(), self._daemon.cpu_seconds()


def warm(work: Path, source: Path) -> None:
    """To be called a moment before each stretch that is measured, see `limits.warm`."""
    limits.warm(work, COPIES * sum(path.stat().st_size for path in source.glob("plate.*.exr")))


def transfers(work: Path, source: Path, suffix: str, best: Best) -> None:
    """A shot up to a new daemon, and its results down. Only bytes moving is timed: no hashing before, no job."""
    task = pixels.task_of(source, "echo")
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        with serving(folder / "daemon", encrypted=bool(suffix)) as daemon:
            started: list[Meter] = []
            listener = Listener(sent=lambda *_: started or started.append(Meter(daemon)))
            warm(work, source)
            with daemon.client() as client:
                outcome = client.run(task, listener, wait=False)
            _note(best, f"upload{suffix}", outcome.uploaded, started[0])
            with daemon.client() as client:
                client.fetch(outcome.job, lambda frame: folder / "first" / f"{frame}.exr")
            warm(work, source)
            with daemon.client() as client:
                meter = Meter(daemon)
                client.fetch(outcome.job, lambda frame: folder / "again" / f"{frame}.exr")
            total = sum(path.stat().st_size for path in (folder / "again").iterdir())
            _note(best, f"download{suffix}", total, meter)


def handing_over(work: Path, source: Path, best: Best) -> None:
    """A shot to a new daemon that sees its folder. Timed from the moment when it says what it lacks."""
    task = pixels.task_of(source, "echo")
    total = sum({file.sha256: file.size for file in task.request.files}.values())
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        with serving(folder / "daemon", shares=str(source)) as daemon:
            started: list[Meter] = []
            listener = Listener(accepted=lambda job: started.append(Meter(daemon)))
            warm(work, source)
            with daemon.client() as client:
                outcome = client.run(task, listener, wait=False)
            _note(best, "import", total, started[0])
    best.cost("import_sent_bytes", outcome.uploaded)


def _note(best: Best, what: str, total: int, meter: Meter) -> None:
    wall, client, daemon = meter.seconds()
    best.rate(f"{what}_bytes_s", total / wall)
    best.cost(f"{what}_client_cpu_s_gb", client / total * GIB)
    best.cost(f"{what}_daemon_cpu_s_gb", daemon / total * GIB)


def _note_bare(best: Best, what: str, found: limits.Bare) -> None:
    best.rate(f"{what}_bytes_s", found.rate)
    best.cost(f"{what}_cpu_s_gb", found.cost * GIB)


def whole_shot(work: Path, source: Path, frames: int, best: Best) -> None:
    """From files to files through a daemon."""
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        with serving(folder / "daemon") as daemon:
            warm(work, source)
            workers, stolen = daemon.cpu_seconds_of_workers(), limits.stolen_seconds()
            meter = Meter(daemon)
            with daemon.client() as client:
                client.run(pixels.task_of(source, "echo", folder))
            wall, *used = meter.seconds()
            busy = sum(used) + daemon.cpu_seconds_of_workers() - workers
            stolen = limits.stolen_seconds() - stolen
    there = wall * (os.cpu_count() or 1)
    best.rate("shot_echo_frames_s", frames / wall)
    best.rate("shot_echo_vs_ceiling", busy / there)
    best.rate("shot_echo_vs_given", busy / (there - stolen))


def measure(work: Path, frames: int, size: tuple[int, int], turns: int) -> dict[str, Any]:
    source = work / "source"
    source.mkdir()
    pixels.draw(source, frames, *size)
    plates = sorted(source.glob("plate.*.exr"))
    total = sum(path.stat().st_size for path in plates)
    best = Best()
    bare: dict[str, Callable[[], limits.Bare]] = {
        "loopback": lambda: limits.loopback(total),
        "loopback_curve": lambda: limits.encrypted_loopback(total),
        "disk": lambda: limits.disk(work, plates),
        "hash": lambda: limits.hashing(plates),
    }
    for _ in range(turns):
        for what, measured in bare.items():
            warm(work, source)
            _note_bare(best, what, measured())
        transfers(work, source, "", best)
        handing_over(work, source, best)
        transfers(work, source, "_curve", best)
        warm(work, source)
        best.rate("codec_frames_s", pixels.apart(pixels.codec, source)[0])
        whole_shot(work, source, frames, best)
    return {
        "frames": frames,
        "frame_mb": round(total / frames / 2**20, 1),
        "turns": turns,
        **_shown(best.figures),
        **_ratios(best.figures),
    }


def _shown(figures: dict[str, float]) -> dict[str, float]:
    return {
        name.replace("_bytes_s", "_mb_s"): round(value / 2**20)
        if name.endswith("_bytes_s")
        else round(value, 3)
        for name, value in figures.items()
    }


def _ratios(figures: dict[str, float]) -> dict[str, float]:
    imported = figures["import_bytes_s"]
    ratios = {
        "shot_echo_vs_codec": figures["shot_echo_frames_s"] / figures["codec_frames_s"],
        "import_vs_limit": imported / min(figures["disk_bytes_s"], figures["hash_bytes_s"]),
        "import_vs_upload": imported / figures["upload_bytes_s"],
    }
    for suffix in ("", "_curve"):
        limit = min(figures["disk_bytes_s"], figures[f"loopback{suffix}_bytes_s"])
        bare = (figures[f"{name}_cpu_s_gb"] for name in (f"loopback{suffix}", "hash", "disk"))
        processors = (os.cpu_count() or 1) * GIB / sum(bare)
        for way in ("upload", "download"):
            rate = figures[f"{way}{suffix}_bytes_s"]
            ratios[f"{way}{suffix}_vs_limit"] = rate / limit
            ratios[f"{way}{suffix}_vs_processors"] = rate / processors
    return {name: round(value, 3) for name, value in ratios.items()}


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--frames", type=int, default=24)
    options.add_argument("--size", default="3840x2160")
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--work", type=Path, default=None, help="on the disk to be measured")
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    malloc.keep_large_blocks()  # as the command does, whose part this process plays
    width, height = (int(edge) for edge in chosen.size.split("x"))
    if chosen.work:
        chosen.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=chosen.work) as folder:
        report = measure(Path(folder), chosen.frames, (width, height), chosen.turns)
    if chosen.json:
        print(json.dumps(report))
    else:
        print("\n".join(f"{key:30} {value}" for key, value in report.items()))


if __name__ == "__main__":
    main()
