"""How long the page's pictures take, and the page's and the daemon's share of a core while it is looked at.

    python benchmarks/web.py [--size 3840x2160] [--frames 8] [--jobs 100] [--questions 150] [--seconds 15]
        [--work FOLDER] [--json]

One page with one daemon. `first` is the time from the question to the last byte of a picture that was never made
before, 1280 pixels wide, of a plate in OpenEXR half ZIP. `cached` is the same question again, `scrub` the time of
a wanted picture after 100 questions that were given up. Then three players scrub, and another client asks for
`status` and `cancel` as `control.py` does; `quiet` is the same before. At last jobs wait in the queue while short
ones run, so that the place of each changes, and one page follows them. `page_share` and `daemon_share` are shares
of one core; `first_cpu_ms` is the processor time of a picture.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from control import Asker
from served import Served, cpu_seconds, serving

from voidbridge_backend.client.submission import Submission
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.operations.remove import RemoveSettings

LOOK = {"display": "sRGB - Display", "view": "ACES 2.0 - SDR 100 nits (Rec.709)"}
GIVEN_UP = 100


@dataclass(frozen=True)
class Shown:
    """A page that a browser has entered."""

    pid: int
    port: int
    cookie: str

    def ask(self, path: str, *, waits: bool = True) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path, headers={"Cookie": self.cookie})
            if not waits:
                return b""
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{path}: {answer.status} {body!r}")
            return body
        finally:
            connection.close()


@contextmanager
def page(served: Served, folder: Path) -> Iterator[Shown]:
    words = ["web", "--daemon", served.address, "--folder", str(folder), "--user", "benchmark"]
    with subprocess.Popen(
        [sys.executable, "-m", "voidbridge_backend", *words, "--json"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        try:
            link = json.loads(process.stdout.readline())["link"]
            found = re.match(r"http://127\.0\.0\.1:(\d+)(/.*)", link)
            assert found
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)
            connection.request("GET", found[2])
            answer = connection.getresponse()
            cookie = (answer.getheader("set-cookie") or "").partition(";")[0]
            connection.close()
            yield Shown(process.pid, int(found[1]), cookie)
        finally:
            process.terminate()


def plates(folder: Path, width: int, height: int, frames: int) -> str:
    """Grainy plates of half floats, as a camera's are."""
    folder.mkdir()
    random = np.random.default_rng(1)
    ramp = (
        np.linspace(0.02, 4, width, dtype=np.float32)[None] * np.linspace(1, 0.2, height)[:, None]
    )
    for frame in range(1, frames + 1):
        planes = {
            name: (ramp + random.normal(0, 0.01, ramp.shape)).astype(np.float16) for name in "RGB"
        }
        (folder / f"plate.{frame:04d}.exr").write_bytes(new_file(planes))
        (folder / f"matte.{frame:04d}.exr").write_bytes(
            new_file({"A": (planes["R"] > 3.5).astype(np.float16)})
        )
    return str(folder / "plate.%04d.exr")


def picture(plate: str, frame: int, **more: Any) -> str:
    fields = {"kind": "plate", "plate": plate, "frame": frame, "width": 1280, **LOOK, **more}
    return f"/api/picture?{urlencode(fields)}"


def milliseconds(shown: Shown, path: str) -> float:
    began = time.perf_counter()
    shown.ask(path)
    return 1000 * (time.perf_counter() - began)


def pictures(shown: Shown, plate: str, frames: int) -> dict[str, float]:
    """The first frame is left out: the view's cube is computed with it."""
    milliseconds(shown, picture(plate, 1))
    before = cpu_seconds(shown.pid)
    first = [milliseconds(shown, picture(plate, frame)) for frame in range(2, frames + 1)]
    spent = 1000 * (cpu_seconds(shown.pid) - before) / len(first)
    cached = [milliseconds(shown, picture(plate, frame)) for frame in range(2, frames + 1)]
    for number in range(GIVEN_UP):
        shown.ask(picture(plate, 1 + number % frames, gain=number + 1), waits=False)
    scrub = milliseconds(shown, picture(plate, 2, exposure=0.5))
    return {
        "first_ms": statistics.median(first),
        "first_most_ms": max(first),
        "first_cpu_ms": spent,
        "cached_ms": statistics.median(cached),
        "cached_most_ms": max(cached),
        "scrub_ms": scrub,
    }


def queue(
    shown: Shown, served: Served, jobs: int, seconds: float, folder: Path
) -> dict[str, float]:
    """One page follows jobs whose places change."""
    plate = plates(folder, 64, 48, 1)
    files = {"plate": Sequence.parse(plate), "matte": Sequence.parse(folder / "matte.%04d.exr")}
    with served.client() as client:
        for seed in range(jobs):
            settings = RemoveSettings(engine="echo", seed=seed, steps=15, matte_kind="matte")
            task = Submission(files, settings).task(
                lambda _: folder, lambda *_: None, lambda: False
            )
            client.run(task, wait=False)
    connection = http.client.HTTPConnection("127.0.0.1", shown.port, timeout=60)
    connection.request("GET", "/api/events", headers={"Cookie": shown.cookie})
    answer = connection.getresponse()
    answer.readline()
    before = cpu_seconds(shown.pid), served.cpu_seconds()
    began, updates = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        line = answer.readline()
        updates += len(json.loads(line[6:])["jobs"]) if line.startswith(b"data: ") else 0
    lasted = time.monotonic() - began
    connection.close()
    return {
        "updates_s": updates / lasted,
        "page_share": (cpu_seconds(shown.pid) - before[0]) / lasted,
        "daemon_share": (served.cpu_seconds() - before[1]) / lasted,
    }


def control(
    shown: Shown, served: Served, plate: str, frames: int, questions: int
) -> dict[str, Any]:
    """The daemon's answers and its memory, without and with three players."""
    asker = Asker(served)
    quiet = asked(served, asker, questions)
    ends = threading.Event()

    def scrub(number: int) -> None:
        turn = 0
        while not ends.is_set():
            turn += 1
            shown.ask(picture(plate, 1 + (turn + number) % frames, exposure=turn % 20 / 10))

    players = [threading.Thread(target=scrub, args=(number,)) for number in range(3)]
    for player in players:
        player.start()
    try:
        busy = asked(served, asker, questions)
    finally:
        ends.set()
        for player in players:
            player.join()
    return {"quiet": quiet, "players": busy}


def asked(served: Served, asker: Asker, questions: int) -> dict[str, float]:
    for _ in range(questions):
        asker.ask()
    status = Path(f"/proc/{served.pid}/status").read_text()
    memory = re.search(r"VmRSS:\s+(\d+)", status)
    return {**asker.figures(), "daemon_mb": int(memory[1]) / 1024 if memory else 0.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", default="3840x2160")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument(
        "--questions", type=int, default=150, help="to the daemon, without and with players"
    )
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        folder = Path(work)
        with serving(folder / "daemon") as served, page(served, folder) as shown:
            plate = plates(folder / "plates", width, height, options.frames)
            found: dict[str, Any] = pictures(shown, plate, options.frames)
            found |= control(shown, served, plate, options.frames, options.questions)
            found |= queue(shown, served, options.jobs, options.seconds, folder / "small")
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:16} {value if isinstance(value, dict) else round(value, 3)}")


if __name__ == "__main__":
    main()
