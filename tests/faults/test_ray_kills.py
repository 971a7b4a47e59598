"""A daemon and two nodes of a Ray cluster, each in a network of its own, and what is killed or cut there.

Everything here takes minutes, so only `--full` runs it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from voidbridge_figures import Note
from voidbridge_ray_cluster import Cluster, Spaces, cluster
from voidbridge_shots import make_shot
from voidbridge_stage import Daemon, check_echo, check_same, daemon, eventually, leftovers

from voidbridge_backend.client.submission import Submission
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.client import Client
from voidbridge_protocol.job_task import Listener
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.messages import Status

pytest.importorskip("ray", reason="the extra ray is not installed")

FRAMES = range(1001, 1007)
STEPS = 12
MOMENTS = int(os.environ.get("VOIDBRIDGE_RAY_MOMENTS", "30"))
ENGINES = ("echo", "cleanplate", "void")
"""Of the jobs that are disturbed, in turn."""
TINY = {"height": 32, "width": 48, "window": 21, "steps": STEPS}
"""Settings of a tiny `void`."""
DEVICE = re.compile(r"ray:\w+/\d+")


@pytest.fixture(scope="module")
def spaces(full: bool) -> Iterator[Spaces]:
    if not full:
        pytest.skip("takes half an hour; --full runs it")
    with Spaces("a", "b") as made:
        yield made


@pytest.fixture(scope="module")
def nodes(spaces: Spaces) -> Iterator[Cluster]:
    with cluster("a", "b", spaces=spaces, cards=1) as made:
        yield made


@pytest.fixture(scope="module")
def models(spaces: Spaces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of `void`."""
    pytest.importorskip("torch", reason="the extra void is not installed")
    from voidbridge_backend.engines.void.tiny import make_tiny

    folder = make_tiny(tmp_path_factory.mktemp("models"))
    (folder / "voidbridge.json").write_text(json.dumps(TINY))
    return folder


@pytest.fixture(scope="module")
def far(
    nodes: Cluster, spaces: Spaces, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """A daemon in the head's network; its frames cross the network, because nobody reads its disk."""
    extra = {
        **nodes.access,
        "VOIDBRIDGE_RAY_CACHE": str(tmp_path_factory.mktemp("cache")),
        "VOIDBRIDGE_RAY_BY_PATH": "false",
        "VOIDBRIDGE_RAY_LOST_S": "5",
    }
    options = ("--devices", "auto", "--models", models, "--ray", nodes.address)
    with daemon(*options, extra=extra, before=tuple(spaces.inside("head"))) as made:
        yield made


def all_ready(on: Daemon) -> bool:
    states = {device.name: device.state for device in on.health().devices}
    return [states.get(f"ray:{name}/0") for name in "ab"] == ["ready", "ready"]


def wait_until_ready(on: Daemon) -> None:
    """All devices work; losses that the test caused are forgiven."""
    assert on.process
    on.process.send_signal(signal.SIGHUP)
    eventually(lambda: all_ready(on), "two devices")


class Watched:
    """One job, and something that is done after a number of its events."""

    def __init__(
        self,
        on: Daemon,
        folder: Path,
        seed: int,
        at: int,
        act: Callable[[str], None],
        engine: str = "echo",
        user: str = "somebody",
    ):
        """`act` gets the job's id after the event `at`, or at the end of a job with fewer."""
        self._engine, self._user = engine, user
        self.shot = make_shot(folder / "in", FRAMES, seed=seed)
        self.results = folder / "out"
        self.results.mkdir()
        self.names: list[str] = []
        self.job = ""
        self._on, self._at, self._act = on, at, act
        self._has_acted = False

    def run(self) -> str:
        """Runs the job to its end, checks its results, and returns the name of the moment."""
        plate, matte = Sequence.parse(self.shot.plate), Sequence.parse(self.shot.matte)
        settings = RemoveSettings(engine=self._engine, grow=0, soften=0, steps=STEPS)
        submission = Submission({"plate": plate, "matte": matte}, settings)
        target = Sequence.parse(self.results / "r.%04d.exr").path
        task = submission.task(target, lambda done, of: None, lambda: False)
        listener = Listener(
            status=self._status,
            sent=lambda sent, total: self._event(f"sent {sent} of {total} bytes"),
            fetched=lambda frame: self._event(f"frame {frame} fetched"),
            accepted=self._accepted,
        )
        with Client(self._on.address, user=self._user, software="test") as client:
            client.run(task, listener)
        if not self._has_acted:
            self._at = len(self.names) + 1
            self._event("the end")
        if self._engine == "echo":
            check_echo(self.shot, self.results)
        return f"{self._engine}: {self.names[self._at - 1]}"

    def _accepted(self, job: str) -> None:
        self.job = job
        self._event("accepted")

    def _status(self, status: Status) -> None:
        self.job = status.job
        stage = DEVICE.sub("a node", status.stage)
        self._event(f"{status.state.value} {stage} {status.step} of {status.of}".strip())

    def _event(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) == self._at and not self._has_acted:
            self._has_acted = True
            self._act(self.job)


def node_of(on: Daemon, job: str) -> str:
    """The node that got the job last, or the first one."""
    found = re.findall(rf"started job={job} device=ray:(\w+)/0", on.log) if job else []
    return found[-1] if found else "a"


def check_spool(on: Daemon, ended: set[str]) -> None:
    """Each job is there once, done, and nothing is half-written."""
    jobs = on.jobs()
    assert len({job.job for job in jobs}) == len(jobs)
    assert ended <= {job.job for job in jobs}
    assert {job.state.value for job in jobs if job.job in ended} == {"done"}
    assert leftovers(on.spool) == []
    for job in ended:
        names = {path.name for path in (on.spool / "jobs" / job).iterdir()}
        wanted = {f"{frame}.exr" for frame in FRAMES}
        assert wanted <= names <= wanted | {"request.json", "provenance.json"}, names


def at_moments(
    on: Daemon, folder: Path, seed: int, act: Callable[[str], None], mend: Callable[[], None]
) -> tuple[list[str], float]:
    """Acts at 30 moments of 30 jobs, spread from a job's first event to its end. Returns their names."""
    calm = folder / "calm"
    calm.mkdir()
    wait_until_ready(on)
    undisturbed = {}
    for engine in ENGINES:
        (calm / engine).mkdir()
        undisturbed[engine] = Watched(on, calm / engine, seed, 10_000, lambda job: None, engine)
        undisturbed[engine].run()
    named, ended, slowest = [], {one.job for one in undisturbed.values()}, 0.0
    for n in range(MOMENTS):
        one = folder / str(n)
        one.mkdir()
        wait_until_ready(on)
        engine = ENGINES[n % len(ENGINES)]
        count = len(undisturbed[engine].names)
        at = 1 + n * count * 4 // (5 * MOMENTS)  # a disturbed job may have fewer events
        watched = Watched(on, one, seed, at, act, engine, f"user{n}")
        began = time.monotonic()
        named.append(watched.run())
        check_same(one / "out", undisturbed[engine].results)
        slowest = max(slowest, time.monotonic() - began)
        print(f"{n}: {named[-1]}, {time.monotonic() - began:.1f} s", flush=True)
        mend()
        ended.add(watched.job)
        check_spool(on, ended)
    return named, slowest


def test_a_job_is_exact_if_its_actor_is_killed(
    far: Daemon, nodes: Cluster, tmp_path: Path, note: Note
) -> None:
    def kill(job: str) -> None:
        assert nodes.signal(node_of(far, job), signal.SIGKILL, "ray::Card")

    named, slowest = at_moments(far, tmp_path, 1000, kill, lambda: None)
    note(
        25,
        killed="actor",
        moments=len(named),
        different=len(set(named)),
        slowest_s=f"{slowest:.1f}",
    )


def test_a_job_is_exact_if_the_raylet_of_its_node_is_killed(
    far: Daemon, nodes: Cluster, tmp_path: Path, note: Note
) -> None:
    down: list[str] = []

    def kill(job: str) -> None:
        down.append(node_of(far, job))
        assert nodes.signal(down[-1], signal.SIGKILL, "raylet/raylet ")

    def mend() -> None:
        nodes.kill(down[-1])
        nodes.start_nodes(down[-1], cards=1)

    named, slowest = at_moments(far, tmp_path, 2000, kill, mend)
    note(
        25,
        killed="raylet",
        moments=len(named),
        different=len(set(named)),
        slowest_s=f"{slowest:.1f}",
    )


def test_a_job_is_exact_if_the_daemon_is_killed(far: Daemon, tmp_path: Path, note: Note) -> None:
    def kill(job: str) -> None:
        far.kill()
        far.start()

    named, slowest = at_moments(far, tmp_path, 3000, kill, lambda: None)
    note(
        25,
        killed="daemon",
        moments=len(named),
        different=len(set(named)),
        slowest_s=f"{slowest:.1f}",
    )


def test_a_job_is_exact_if_the_head_is_killed_and_started_again(
    far: Daemon, nodes: Cluster, tmp_path: Path, note: Note
) -> None:
    def kill(job: str) -> None:
        nodes.kill("head")
        nodes.start_head()

    named, slowest = at_moments(far, tmp_path, 4000, kill, lambda: None)
    note(
        25, killed="head", moments=len(named), different=len(set(named)), slowest_s=f"{slowest:.1f}"
    )


def test_a_cut_of_thirty_seconds_costs_a_job_no_attempt(
    far: Daemon, nodes: Cluster, spaces: Spaces, tmp_path: Path, note: Note
) -> None:
    """The other node takes the job; the node that was cut off comes back as a new one."""
    wait_until_ready(far)
    cut: list[str] = []

    def pull(job: str) -> None:
        cut.append(node_of(far, job))
        spaces.plug(cut[-1], "down")

    watched = Watched(far, tmp_path, 5000, 12, pull)
    began = time.monotonic()
    moment = watched.run()
    elsewhere = time.monotonic() - began
    threading.Event().wait(max(began + 30.0 - time.monotonic(), 0.0))
    assert not all_ready(far)
    spaces.plug(cut[-1], "up")
    mended = time.monotonic()
    eventually(lambda: not nodes.pids(cut[-1], "raylet/raylet "), "the end of the cut-off raylet")
    nodes.kill(cut[-1])
    nodes.start_nodes(cut[-1], cards=1)
    eventually(lambda: all_ready(far), "the node's return")
    check_spool(far, {watched.job})
    assert node_of(far, watched.job) != cut[-1]
    back = time.monotonic() - mended
    note(25, cut=moment, done_elsewhere_s=f"{elsewhere:.1f}", back_s=f"{back:.1f}")
