"""A daemon at work for long: some jobs are cancelled, some go wrong, and it does not grow."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from voidbridge_figures import Note
from voidbridge_shots import make_shot
from voidbridge_stage import Daemon, check_echo, daemon, eventually

from voidbridge_protocol.client import Client, Listener
from voidbridge_protocol.errors import JobCancelled, UnreadableFrame

ARTISTS, BATCH = 2, 20
CANCELS, FAULTS = 0.10, 0.02
FRAMES = range(1001, 1003)


@dataclass(frozen=True)
class Reading:
    """The resources of a process: memory in MB, descriptors, threads."""

    memory: float
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Reading:
        status = Path(f"/proc/{pid}/status").read_text()
        value = dict(re.findall(r"^(\w+):\s+(\d+)", status, re.M))
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return cls(int(value["VmRSS"]) / 1024, descriptors, int(value["Threads"]))


def at_rest(on: Daemon) -> Reading:
    """The least of some readings: a connection that is just being closed is none."""
    assert on.process
    found = []
    for _ in range(10):
        found.append(Reading.of(on.process.pid))
        threading.Event().wait(0.1)
    return Reading(
        min(reading.memory for reading in found),
        min(reading.descriptors for reading in found),
        min(reading.threads for reading in found),
    )


@dataclass
class Soak:
    """Submits one job after the other to the daemon, and keeps the outcomes."""

    daemon: Daemon
    folder: Path
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def job(self, number: int) -> None:
        chance = random.Random(number)
        folder = self.folder / str(number)
        lot = chance.random()
        try:
            if lot < CANCELS:
                self.outcomes[self._cancelled(folder, number, chance)] += 1
            elif lot < CANCELS + FAULTS:
                fault = chance.choice([self._damaged, self._worker_killed, self._client_gone])
                self.outcomes[fault(folder, number)] += 1
            else:
                self.outcomes[self._plain(folder, number)] += 1
        finally:
            shutil.rmtree(folder)

    def _plain(self, folder: Path, number: int) -> str:
        shot = make_shot(folder / "in", FRAMES, seed=number)
        began = time.monotonic()
        self.daemon.fetch(self.daemon.submit(shot), folder / "out")
        self.seconds.append(time.monotonic() - began)
        check_echo(shot, folder / "out")
        return "done"

    def _cancelled(self, folder: Path, number: int, chance: random.Random) -> str:
        """At any moment: in the queue, while it runs, when it is done."""
        shot = make_shot(folder / "in", FRAMES, seed=number)
        job = self.daemon.submit(shot, steps=chance.choice([0, 5, 100]))
        threading.Event().wait(chance.random() / 2)
        with Client(self.daemon.address, user="somebody", software="test") as client:
            client.cancel(job)
        return self._final(job, {"cancelled", "done"})

    def _damaged(self, folder: Path, number: int) -> str:
        shot = make_shot(folder / "in", FRAMES, seed=number)
        path = shot.file("plate", FRAMES[1])
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2 + 200] + bytes(len(whole) // 2 - 200))
        job = self.daemon.submit(shot)
        self._final(job, {"failed"})
        assert self.daemon.status(job).code == UnreadableFrame.code
        return "damaged"

    def _worker_killed(self, folder: Path, number: int) -> str:
        shot = make_shot(folder / "in", FRAMES, seed=number)
        job = self.daemon.submit(shot, steps=20)
        with suppress(ProcessLookupError):
            os.kill(self.daemon.worker_pids()[-1], signal.SIGKILL)
        assert self.daemon.process
        self.daemon.process.send_signal(signal.SIGHUP)  # somebody sees to the device
        self._final(job, {"done"})
        self.daemon.fetch(job, folder / "out")
        check_echo(shot, folder / "out")
        return "worker killed"

    def _client_gone(self, folder: Path, number: int) -> str:
        """In the middle of its upload; it comes back later."""
        shot = make_shot(folder / "in", FRAMES, seed=number)

        class Gone(BaseException):
            pass

        def leave(sent: int, of: int) -> None:
            raise Gone

        with suppress(Gone, JobCancelled):
            self.daemon.submit(shot, listener=Listener(sent=leave))
        self.daemon.fetch(self.daemon.submit(shot), folder / "out")
        check_echo(shot, folder / "out")
        return "client gone"

    def _final(self, job: str, wanted: set[str]) -> str:
        state = eventually(
            lambda: found.state if (found := self.daemon.status(job)).state.is_final else None
        )
        assert state.value in wanted
        return str(state.value)


def idle_worker(on: Daemon) -> int:
    """The process of a worker that is there and has nothing to do."""

    def is_ready() -> bool:
        with Client(on.address, user="probe", software="test") as client:
            health = client.health()
        return health is not None and [device.state for device in health.devices] == ["ready"]

    eventually(is_ready, "a worker that is ready")
    return on.worker_pids()[-1]


def in_batches(count: int, do: Callable[[int], None], after: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(ARTISTS) as artists:
        for first in range(0, count, BATCH):
            list(artists.map(do, range(first, min(first + BATCH, count))))
            after(first + BATCH)


def slope(values: list[float]) -> float:
    """Least squares, a value."""
    middle, mean = (len(values) - 1) / 2, sum(values) / len(values)
    over = sum((i - middle) * (value - mean) for i, value in enumerate(values))
    return over / sum((i - middle) ** 2 for i in range(len(values)))


def test_a_long_day_leaves_no_trace(tmp_path: Path, full: bool, note: Note) -> None:
    count = 2000 if full else 60
    readings: list[Reading] = []
    workers: dict[int, list[Reading]] = {}
    with daemon() as made:
        made.wait_for_worker()
        soak = Soak(made, tmp_path)

        def read(done: int) -> None:
            readings.append(at_rest(made))
            pid = idle_worker(made)
            workers.setdefault(pid, []).append(Reading.of(pid))

        in_batches(count, soak.job, read)
        assert sum(soak.outcomes.values()) == count == len(made.jobs())
        assert "loop.py" not in made.log  # a worker may say where it failed
        assert not list((made.spool / "parts").iterdir())
    settled = readings[len(readings) // 4 :] if full else readings[1:]
    a_hundred = slope([reading.memory for reading in settled]) * 100 / BATCH
    half = len(soak.seconds) // 2
    early, late = (sorted(part)[half // 2] for part in (soak.seconds[:half], soak.seconds[half:]))
    longest = max(workers.values(), key=len)
    note(
        19,
        jobs=count,
        **{name.replace(" ", "_"): times for name, times in soak.outcomes.items()},
        daemon_mb=(round(settled[0].memory, 1), round(settled[-1].memory, 1)),
        mb_a_100_jobs=round(a_hundred, 2),
        descriptors=(settled[0].descriptors, settled[-1].descriptors),
        threads=(settled[0].threads, settled[-1].threads),
        worker_mb=(round(longest[0].memory, 1), round(longest[-1].memory, 1)),
        worker_descriptors=(longest[0].descriptors, longest[-1].descriptors),
        worker_threads=(longest[0].threads, longest[-1].threads),
        seconds_a_job=(round(early, 3), round(late, 3)),
    )
    assert settled[-1].descriptors <= settled[0].descriptors + 2
    assert settled[-1].threads <= settled[0].threads
    assert longest[-1].descriptors <= longest[0].descriptors + 2
    assert longest[-1].threads <= longest[0].threads + 2
    assert a_hundred < (1 if full else 6)  # a short run still fills its caches
