"""The command line and a daemon as real processes, for the tests of all folders."""

from __future__ import annotations

import io
import json
import os
import queue
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from voidbridge_machine import short_folder, stopped
from voidbridge_shots import Shot, channels_of, echoed, same_bits

from voidbridge_backend import cli
from voidbridge_backend.client.submission import Submission
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.client import Client, Listener
from voidbridge_protocol.errors import DaemonUnavailable
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.messages import Health, Status

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120.0  # patience with a busy machine; nothing waits that long when all is well
"""No state that a test waits for takes longer, on a busy machine."""

LISTENS = "; spool: "
"""Part of a daemon's line in the log when its sockets are open."""

Event = dict[str, Any]


# -- the command line -------------------------------------------------------------------------------


UNCONFINED = {"VOIDBRIDGE_SANDBOX": "off"}
"""For tests that put code of their own into a worker, which reads and writes files that a worker has no need of."""


def environment() -> dict[str, str]:
    """That of a user who has the packages on the path, and nothing else of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VOIDBRIDGE_")}
    kept.pop("OCIO", None)
    path = os.pathsep.join(str(ROOT / part) for part in ("protocol", "backend"))
    return {**kept, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "voidbridge_backend", *map(str, words)]


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[Event]:
        return [json.loads(line) for line in self.out.splitlines()]

    def event(self, name: str) -> Event:
        """The last event of that name."""
        found = [event for event in self.events if event["event"] == name]
        assert found, f"no {name!r} among {[e['event'] for e in self.events]}\n{self.err}"
        return found[-1]

    def states(self) -> list[str]:
        """The job's states as they were told, each once in a row."""
        told = [event["state"] for event in self.events if event["event"] == "status"]
        return [state for i, state in enumerate(told) if i == 0 or told[i - 1] != state]


def voidbridge(
    *words: object, cwd: Path | None = None, extra: dict[str, str] | None = None
) -> Finished:
    """Runs a command to its end."""
    variables = {**environment(), **(extra or {})}
    done = subprocess.run(
        command(*words), capture_output=True, env=variables, cwd=cwd, timeout=2 * SECONDS
    )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


def called(
    *words: object, cwd: Path | None = None, extra: dict[str, str] | None = None
) -> Finished:
    """Runs a command to its end in this process: for what it says and writes, in a fifth of the time.

    Each command also runs as a process of its own in some test.
    """
    before, out, err = dict(os.environ), io.StringIO(), io.StringIO()
    try:
        os.environ.clear()
        os.environ.update(environment() | (extra or {}))
        with chdir(cwd or Path.cwd()), redirect_stdout(out), redirect_stderr(err):
            code = cli.main([str(word) for word in words])
    except SystemExit as ended:  # --help
        code = int(ended.code or 0)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return Finished(code, out.getvalue(), err.getvalue())


class Going:
    """A command that runs, its JSON events as they come."""

    running: ClassVar[list[Going]] = []

    def __init__(self, *words: object, extra: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            command(*words, "--json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment(), **(extra or {})},
            start_new_session=True,
        )
        Going.running.append(self)
        self.events: list[Event] = []
        self._new: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._errors = b""
        self._readers = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def until(self, wanted: Callable[[Event], bool]) -> Event:
        """The first event from here on that is as wanted."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                event = self._new.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"waited in vain; last of all {self.events[-3:]}") from None
            if event is None:
                self.process.wait(SECONDS)
                raise AssertionError(f"ended before: {self.events[-3:]}\n{self._errors.decode()}")
            if wanted(event):
                return event

    def until_event(self, name: str) -> Event:
        return self.until(lambda event: event["event"] == name)

    def until_state(self, state: str) -> Event:
        return self.until(lambda event: event["event"] == "status" and event["state"] == state)

    def kill(self) -> None:
        self.process.kill()
        self.end()

    @classmethod
    def end_all(cls) -> None:
        """Kills what a test that failed has left. It would be in the way of the next."""
        for each in cls.running:
            if each.process.poll() is None:
                each.kill()
        cls.running.clear()

    def interrupt(self) -> tuple[Finished, float]:
        """Ctrl-C; what came of it, and the seconds until the command had ended."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(SECONDS)
        seconds = time.monotonic() - began
        return self.end(), seconds

    def end(self) -> Finished:
        """Waits for the command's own end."""
        try:
            self.process.wait(2 * SECONDS)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        for reader in self._readers:
            reader.join()
        out = "".join(json.dumps(event) + "\n" for event in self.events)
        return Finished(self.process.returncode, out, self._errors.decode())

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue  # half a line of a command that was killed
                self.events.append(event)
                self._new.put(event)
        self._new.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr
        with self.process.stderr as stream:
            self._errors = stream.read()


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """For this process: a limit on the size of files stands for the full disk."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


# -- the daemon -------------------------------------------------------------------------------------


def eventually(question: Callable[[], Any], what: str = "", seconds: float = SECONDS) -> Any:
    """The first true answer. The longer it takes, the less often it is asked for."""
    began = time.monotonic()
    while not (answer := question()):
        waited = time.monotonic() - began
        assert waited < seconds, f"waited in vain for {what or question}"
        threading.Event().wait(min(0.01 + waited / 20, 0.05))
    return answer


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits for its parent to ask does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@dataclass
class Daemon:
    """A daemon as a process, on one spool and one address over all its starts."""

    folder: Path
    address: str
    options: tuple[object, ...] = ()
    extra: dict[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    """Words before its command, such as those that start it in another network."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    @property
    def log(self) -> str:
        path = self.folder / "daemon.log"
        return path.read_text() if path.exists() else ""

    def start(self) -> None:
        words = ("serve", "--listen", self.address, "--spool", self.spool, *self.options)
        listening = self.log.count(LISTENS)
        with (self.folder / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.before, *command(*words)],
                stderr=log,
                env={**environment(), "VOIDBRIDGE_DRAIN_S": "1", **self.extra},
            )
        # A client that comes before the sockets waits ever longer until it tries again.
        eventually(lambda: self._runs() and self.log.count(LISTENS) > listening, "its sockets")
        eventually(self._answers, f"a daemon at {self.address}")

    def _runs(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.log
        return True

    def _answers(self) -> bool:
        self._runs()
        try:
            with Client(self.address, user="probe", software="test", patience=10.0):
                return True
        except DaemonUnavailable:
            return False

    def kill(self) -> None:
        """kill -9."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def terminate(self) -> tuple[int, float]:
        """SIGTERM: the exit code, and the seconds it took."""
        assert self.process
        began = time.monotonic()
        self.process.terminate()
        code = self.process.wait(SECONDS)
        return code, time.monotonic() - began

    def end(self) -> None:
        """It is gone afterwards."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)  # a test that failed may have stopped it
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def worker_pids(self) -> list[int]:
        """Of every worker that was ever started, oldest first."""
        return [int(pid) for pid in re.findall(r"worker started .*pid=(\d+)", self.log)]

    def wait_for_worker(self) -> int:
        """The process of the youngest worker, when it is ready."""

        def is_ready() -> bool:
            log = self.log
            assert log.count("worker died") < 6, log
            is_told = log.count("worker ready") >= log.count("worker started") > 0
            return is_told and is_alive(self.worker_pids()[-1])  # its end may not be noticed yet

        eventually(is_ready, "a worker that is ready")
        return self.worker_pids()[-1]

    def asking(self, user: str = "probe") -> Client:
        """A client that waits for a busy machine."""
        return Client(self.address, user=user, software="test", patience=SECONDS)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Its next job stays at its beginning meanwhile, so that no look at it comes too late."""
        with stopped(self.wait_for_worker()):
            yield

    def has_running_job(self) -> bool:
        return any(job.state.value == "running" for job in self.jobs())

    def jobs(self) -> list[Status]:
        with self.asking() as client:
            return client.jobs()

    def status(self, job: str) -> Status:
        with self.asking() as client:
            return client.status(job)

    def health(self) -> Health:
        with self.asking() as client:
            found = client.health()
        assert found
        return found

    def submit(
        self,
        shot: Shot,
        user: str = "somebody",
        steps: int = 0,
        priority: int = 0,
        listener: Listener | None = None,
        engine: str = "echo",
    ) -> str:
        """As the command `submit` does, without the start of a process."""
        assignment = Submission(
            {"plate": Sequence.parse(shot.plate), "matte": Sequence.parse(shot.matte)},
            settings=RemoveSettings(engine=engine, grow=0, soften=0, steps=steps),
            priority=priority,
        )
        task = assignment.task(lambda frame: Path(), lambda done, of: None, lambda: False)
        with self.asking(user) as client:
            return client.run(task, listener, wait=False).job

    def fetch(self, job: str, folder: Path) -> None:
        """As the command `fetch`, to r.FRAME.exr in `folder`."""
        with self.asking("somebody") as client:
            client.fetch(job, Sequence.parse(folder / "r.%04d.exr").path)

    def wait_for_state(self, job: str, state: str) -> Status:
        def found() -> Status | None:
            now = client.status(job)
            is_past = state == "running" and now.state.is_final
            assert not is_past, f"{job} is {now.state.value} already: {now.text}"
            return now if now.state.value == state else None

        with self.asking() as client:
            return eventually(found, f"{job} to be {state}")

    def resident_mb(self) -> float:
        """Memory of the daemon's process itself."""
        assert self.process
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024


@contextmanager
def daemon(
    *options: object,
    address: str = "",
    extra: dict[str, str] | None = None,
    before: tuple[str, ...] = (),
) -> Iterator[Daemon]:
    """One that is started and, whatever happens, gone at the end."""
    with short_folder("vbd") as folder:
        address = address or f"ipc://{folder}/ctl"
        made = Daemon(folder, address, ("--devices", "cpu", *options), extra or {}, before)
        try:
            made.start()
            yield made
        finally:
            made.end()


def check_echo(shot: Shot, folder: Path) -> None:
    """Every frame of the shot is there as r.FRAME.exr, right to the bit, and nothing else is."""
    results = {path.name for path in folder.glob("*.exr")}
    assert results == {f"r.{frame:04d}.exr" for frame in shot.frames}
    for frame in shot.frames:
        hole = channels_of(shot.file("matte", frame))["A"] > 0
        result = channels_of(folder / f"r.{frame:04d}.exr")
        for name, samples in channels_of(shot.file("plate", frame)).items():
            assert same_bits(result[name], echoed(samples, hole)), (frame, name)
    assert leftovers(folder) == []


def check_same(found: Path, expected: Path) -> None:
    """Both folders have the same results, right to the bit."""
    names = {path.name for path in expected.glob("*.exr")}
    assert names
    assert {path.name for path in found.glob("*.exr")} == names
    for name in names:
        ours, theirs = channels_of(found / name), channels_of(expected / name)
        assert ours.keys() == theirs.keys()
        assert all(same_bits(ours[channel], theirs[channel]) for channel in ours), name


def run_words(shot: Shot, folder: Path, address: str, *more: object) -> tuple[object, ...]:
    """`voidbridge run` with the engine `echo`, a hard edge, and results as `check_echo` wants them."""
    return (
        "run", shot.plate, shot.matte, "-o", folder / "r.%04d.exr", "--engine", "echo",
        "--grow", 0, "--soften", 0, "--daemon", address, *more,
    )  # fmt: skip


def leftovers(folder: Path) -> list[str]:
    """Half-written files, but for those that the daemon deletes when it has time."""
    return [str(path) for path in folder.rglob("*.tmp") if "trash" not in path.parts]
