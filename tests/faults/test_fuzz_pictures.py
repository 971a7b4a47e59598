"""Plates and mattes of any bytes: each is a frame or a typed error."""

from __future__ import annotations

import queue
import resource
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from voidbridge_figures import Note
from voidbridge_stage import environment

HERE = Path(__file__).parent
HANG_S = 60.0


class Cases:
    """A process that works on shots, and another in its place whenever it crashes or hangs."""

    def __init__(self, kind: str, folder: Path, wild: list[Path]) -> None:
        self._kind, self._folder, self._wild = kind, folder, wild
        self.outcomes: Counter[str] = Counter()
        self.slowest = 0.0
        self.bad: list[str] = []
        """Cases that ended otherwise than in a result or an error that has a name."""

    def run(self, count: int) -> None:
        first = 0
        while first < count:
            first = self._some(first, count)

    def _some(self, first: int, end: int) -> int:
        """Cases from `first` on, until one takes its process along; the next one to try."""
        words = [sys.executable, HERE / "exr_cases.py", self._kind, first, end, self._folder]
        process = subprocess.Popen(
            [str(word) for word in (*words, *self._wild)],
            stdout=subprocess.PIPE,
            env=environment(),
            text=True,
        )
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()

        def listen() -> None:
            assert process.stdout
            with process.stdout as stream:
                for line in stream:
                    lines.put(line)
            lines.put("")

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        assert lines.get(timeout=60) == "ready\n"
        number = first
        while number < end:
            try:
                line = lines.get(timeout=HANG_S)
            except queue.Empty:
                process.kill()
                self.bad.append(f"{number} hangs")
                line = ""
            if not line:
                break
            _, seconds, outcome = line.split(maxsplit=2)
            self.slowest = max(self.slowest, float(seconds))
            self.outcomes[outcome.split()[0]] += 1
            if outcome.startswith("untyped"):
                self.bad.append(line)
            number += 1
        code = process.wait(HANG_S)
        listener.join()
        if number < end:
            self.outcomes["process lost"] += 1
            self.bad.append(f"{number} ended its process with {code}")
            number += 1
        return number


@pytest.mark.parametrize("kind", ["plate", "matte", "quadmask"])
def test_a_file_of_any_bytes_is_a_frame_or_an_error_that_has_a_name(
    kind: str, tmp_path: Path, full: bool, note: Note, request: pytest.FixtureRequest
) -> None:
    wild = Path(request.config.getoption("--exr"))
    small = sorted(path for path in wild.rglob("*.exr") if path.stat().st_size < 150_000)
    cases = Cases(kind, tmp_path, small if kind == "plate" else [])
    often, seldom = {"plate": (10_000, 150), "matte": (5000, 100), "quadmask": (5000, 40)}[kind]
    count = often if full else seldom
    cases.run(count)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    note(
        10,
        what=f"{kind} files, {len(small)} from the wild among them" if kind == "plate" else kind,
        cases=count,
        **cases.outcomes,
        slowest_s=cases.slowest,
        peak_mb=round(peak),
    )
    assert cases.bad == []
    assert cases.outcomes["done"]
