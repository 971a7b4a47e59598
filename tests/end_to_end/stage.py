"""Shared by the tests with real processes: small shots on disk, the command line, a daemon.

Loaded under the name `voidbridge_stage` by the `conftest.py` of each folder that uses it.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import queue
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
from numpy.typing import NDArray

from voidbridge_backend.client.submission import Submission
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_backend.tools.demo.screen_scene import ScreenScene
from voidbridge_protocol.client import Client, Listener
from voidbridge_protocol.errors import DaemonUnavailable
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.messages import Health, Status

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120.0  # patience with a busy machine; nothing waits that long when all is well
"""No state that a test waits for takes longer, on a busy machine."""

Channels = dict[str, NDArray[Any]]
Event = dict[str, Any]


# -- frames ---------------------------------------------------------------------------------------


def exr_bytes(channels: Channels, origin: tuple[int, int] = (0, 0), **attributes: Any) -> bytes:
    """A single-part scanline file whose data window begins at `origin`."""
    height, width = next(iter(channels.values())).shape
    corners = origin, (origin[0] + width - 1, origin[1] + height - 1)
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "dataWindow": tuple(np.array(corner, np.int32) for corner in corners),
        **attributes,
    }
    planes = {name: OpenEXR.Channel(name, pixels, 1, 1) for name, pixels in channels.items()}
    file = io.BytesIO()
    OpenEXR.File(header, planes, num_threads=0).write(file)
    return file.getvalue()


def window(left: int, top: int, right: int, bottom: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """A window as OpenEXR.File takes it, corners included."""
    return np.array((left, top), np.int32), np.array((right, bottom), np.int32)


def channels_of(path: Path) -> Channels:
    """Every channel of the first part, in the file's own types."""
    with OpenEXR.File(str(path), separate_channels=True, num_threads=0) as file:
        return {name: channel.pixels.copy() for name, channel in file.channels().items()}


def header_of(path: Path) -> dict[str, Any]:
    with OpenEXR.File(str(path), separate_channels=True, num_threads=0) as file:
        return dict(file.header())


def picture(seed: int, height: int = 48, width: int = 64) -> Channels:
    """R, G and B as halves: noise around a mid gray, so that no two pixels are alike."""
    random = np.random.default_rng(seed)
    return {name: random.normal(0.4, 0.2, (height, width)).astype(np.float16) for name in "RGB"}


def square(
    height: int = 48, width: int = 64, at: tuple[int, int] = (10, 20)
) -> NDArray[np.float16]:
    """A matte: 12x10 pixels set."""
    matte = np.zeros((height, width), np.float16)
    matte[at[0] : at[0] + 12, at[1] : at[1] + 10] = 1
    return matte


def echoed(plate: NDArray[Any], hole: NDArray[np.bool_], seed: int = 0) -> NDArray[Any]:
    """Returns the result of the engine `echo` for a channel under a hard-edged hole."""
    lift = np.float32(0.25 + seed % 16 / 64)
    made = (plate.astype(np.float32) * np.float32(0.5) + lift).astype(plate.dtype)
    return np.where(hole, made, plate)


def same_bits(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


@dataclass(frozen=True)
class Shot:
    """Plate and matte on disk. Each frame differs from all others."""

    folder: Path
    frames: range

    @property
    def plate(self) -> str:
        return str(self.folder / "plate.%04d.exr")

    @property
    def matte(self) -> str:
        return str(self.folder / "matte.%04d.exr")

    @property
    def affected(self) -> str:
        return str(self.folder / "affected.%04d.exr")

    def file(self, role: str, frame: int) -> Path:
        return self.folder / f"{role}.{frame:04d}.exr"

    def write(self, role: str, frame: int, channels: Channels, **more: Any) -> None:
        self.file(role, frame).write_bytes(exr_bytes(channels, **more))

    def remove(self, role: str, frames: Iterable[int]) -> None:
        for frame in frames:
            self.file(role, frame).unlink()

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.folder.iterdir())


def make_shot(
    folder: Path, frames: range, height: int = 48, width: int = 64, seed: int = 0, **more: Any
) -> Shot:
    """`seed` makes the plates of one test differ from those of another; `more` as for `exr_bytes`."""
    folder.mkdir(parents=True, exist_ok=True)
    shot = Shot(folder, frames)
    for frame in frames:
        shot.write("plate", frame, picture(seed * 100_000 + frame, height, width), **more)
        matte = square(height, width, at=(10 + frame % 5, 20))
        shot.write("matte", frame, {"A": matte})
    return shot


def make_screen_shot(folder: Path, frames: range, grain: int = 0) -> Shot:
    """Plate, hint, clean screen and true alpha of a figure before a green screen. `grain` makes shots differ."""
    folder.mkdir(parents=True, exist_ok=True)
    shot, scene = Shot(folder, frames), ScreenScene(height=60, width=100)
    drawn = [scene.frame(number) for number in range(2)]
    for frame in frames:
        seen = drawn[frame % len(drawn)]
        plate = np.abs(seen.plate + np.float32(grain * 1e-4))
        for role, light in (("plate", plate), ("screen", seen.screen)):
            shot.write(role, frame, {c: light[..., i].copy() for i, c in enumerate("RGB")})
        for role, alpha in (("hint", seen.hint), ("truth", seen.alpha)):
            shot.write(role, frame, {"A": alpha.astype(np.float32)})
    return shot


SAMPLE = ROOT.parent / "shared/samples/moving_ball"


def ball_of_sample(
    folder: Path, frames: range, first: int = 12
) -> tuple[Shot, dict[int, NDArray[np.bool_]], tuple[int, int]]:
    """Frames of the sample `moving_ball` from `first` on, 384 pixels wide, in linear light.

    Returns the shot, the true area of the ball by frame, and the place of one click on it from the top left corner.
    The test is skipped where the sample is absent.
    """
    import cv2

    if not SAMPLE.is_dir():
        pytest.skip(f"the sample {SAMPLE} is absent")
    folder.mkdir(parents=True, exist_ok=True)
    shot, found = Shot(folder, frames), {}
    pictures = _decoded(SAMPLE / "input_video.mp4", "rgb24", first, len(frames))
    codes = _decoded(SAMPLE / "quadmask_0.mp4", "gray", first, len(frames))
    for frame, picture, code in zip(frames, pictures, codes, strict=True):
        small = cv2.resize(picture, (384, 216), interpolation=cv2.INTER_AREA)
        light = (small.astype(np.float32) / 255) ** 2.2
        shot.write("plate", frame, {c: light[..., i].copy() for i, c in enumerate("RGB")})
        removed = (code <= 95).astype(np.float32)
        found[frame] = cv2.resize(removed, (384, 216), interpolation=cv2.INTER_AREA) > 0.5
    inside = np.pad(found[frames[0]].astype(np.uint8), 1)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return shot, found, (int(x), int(y))


def _decoded(path: Path, form: str, first: int, count: int) -> list[NDArray[np.uint8]]:
    import av

    with av.open(str(path)) as clip:
        decoded = itertools.islice(clip.decode(video=0), first, first + count)
        return [frame.to_ndarray(format=form) for frame in decoded]


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


def voidbridge(*words: object, cwd: Path | None = None) -> Finished:
    """Runs a command to its end."""
    done = subprocess.run(
        command(*words), capture_output=True, env=environment(), cwd=cwd, timeout=2 * SECONDS
    )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


class Going:
    """A command that runs, its JSON events as they come."""

    def __init__(self, *words: object, extra: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            command(*words, "--json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment(), **(extra or {})},
            start_new_session=True,
        )
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
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, f"waited in vain for {what or question}"
        threading.Event().wait(0.02)
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
        with (self.folder / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.before, *command(*words)],
                stderr=log,
                env={**environment(), "VOIDBRIDGE_DRAIN_S": "1", **self.extra},
            )
        eventually(self._answers, f"a daemon at {self.address}")

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.log
        try:
            with Client(self.address, user="probe", software="test", patience=1.0):
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

    def worker_pids(self) -> list[int]:
        """Of every worker that was ever started, oldest first."""
        return [int(pid) for pid in re.findall(r"worker started .*pid=(\d+)", self.log)]

    def wait_for_worker(self) -> int:
        """The process of the youngest worker, when it is ready."""

        def is_ready() -> bool:
            log = self.log
            assert log.count("worker died") < 6, log
            return log.count("worker ready") >= log.count("worker started") > 0

        eventually(is_ready, "a worker that is ready")
        return self.worker_pids()[-1]

    def jobs(self) -> list[Status]:
        with Client(self.address, user="probe", software="test") as client:
            return client.jobs()

    def status(self, job: str) -> Status:
        with Client(self.address, user="probe", software="test") as client:
            return client.status(job)

    def health(self) -> Health:
        with Client(self.address, user="probe", software="test") as client:
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
    ) -> str:
        """As the command `submit` does, without the start of a process; the engine is `echo`."""
        assignment = Submission(
            {"plate": Sequence.parse(shot.plate), "matte": Sequence.parse(shot.matte)},
            settings=RemoveSettings(engine="echo", grow=0, soften=0, steps=steps),
            priority=priority,
        )
        task = assignment.task(lambda frame: Path(), lambda done, of: None, lambda: False)
        with Client(self.address, user=user, software="test") as client:
            return client.run(task, listener, wait=False).job

    def fetch(self, job: str, folder: Path) -> None:
        """As the command `fetch`, to r.FRAME.exr in `folder`."""
        with Client(self.address, user="somebody", software="test") as client:
            client.fetch(job, Sequence.parse(folder / "r.%04d.exr").path)

    def wait_for_state(self, job: str, state: str) -> Status:
        return eventually(
            lambda: found if (found := self.status(job)).state.value == state else None,
            f"{job} to be {state}",
        )

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
    # Paths of sockets are short; pytest's own folders may be too deep for one.
    folder = Path(tempfile.mkdtemp(prefix="vbt-"))
    address = address or f"ipc://{folder}/ctl"
    made = Daemon(folder, address, ("--devices", "cpu", *options), extra or {}, before)
    try:
        made.start()
        yield made
    finally:
        if made.process and made.process.poll() is None:
            made.process.terminate()
            try:
                made.process.wait(20)
            except subprocess.TimeoutExpired:
                made.process.kill()
                made.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


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


def run_words(shot: Shot, folder: Path, address: str, *more: object) -> tuple[object, ...]:
    """`voidbridge run` with the engine `echo`, a hard edge, and results as `check_echo` wants them."""
    return (
        "run", shot.plate, shot.matte, "-o", folder / "r.%04d.exr", "--engine", "echo",
        "--grow", 0, "--soften", 0, "--daemon", address, *more,
    )  # fmt: skip


def leftovers(folder: Path) -> list[str]:
    """Half-written files."""
    return [str(path) for path in folder.rglob("*.tmp")]
