"""Devices of a Ray cluster: two nodes with a pretended card each, on this machine; with --full two cards each."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from voidbridge_ray_cluster import Cluster, cluster
from voidbridge_shots import Shot, channels_of, make_shot, same_bits
from voidbridge_stage import (
    SECONDS,
    Daemon,
    Going,
    called,
    check_echo,
    check_same,
    daemon,
    environment,
    eventually,
    is_alive,
    run_words,
    voidbridge,
)

from voidbridge_backend.cli.options import ALL_FRAMES
from voidbridge_backend.client.submission import Submission
from voidbridge_backend.daemon.workers.supervisor import Supervisor, WorkerEvent, WorkerExit
from voidbridge_backend.daemon.workers.watchdog import MOST_FAILURES, PROBE_S, SAME_LOSS_S
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.errors import DeviceAway, VoidbridgeError, WorkerDied
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.operations.train import LORA, PLOT, TrainSettings
from voidbridge_protocol.wire.messages import FrameFile, Request

pytest.importorskip("ray", reason="the extra ray is not installed")

ENDS = {"done", "failed", "cancelled"}
FRAMES = range(1001, 1004)
TINY = {"height": 32, "width": 48, "window": 21, "steps": 20}
"""Settings of a tiny `void`: a shot of 26 frames has two windows."""
WORKER = "voidbridge_backend.worker.process"
"""In the command line of a worker."""


@pytest.fixture(scope="module")
def cards(full: bool) -> int:
    """Cards of each node: every one costs seconds of processes that import Ray."""
    return 2 if full else 1


@pytest.fixture(scope="module")
def nodes(cards: int) -> Iterator[Cluster]:
    with cluster("a", "b", cards=cards) as made:
        yield made


class OneWorker:
    """A supervisor with one device, of either kind, and what its worker said."""

    def __init__(self, folder: Path, nodes: Cluster | None, node: str = "a") -> None:
        self.device, self.folder, self.nodes = f"ray:{node}/0" if nodes else "cpu", folder, nodes
        self.later = 0.0
        """Seconds that its clock is ahead."""
        setup = setup_of(folder, nodes)
        self.news: queue.SimpleQueue[WorkerEvent | WorkerExit] = queue.SimpleQueue()
        self.supervisor = Supervisor([] if nodes else ["cpu"], setup, self.news.put)
        if nodes:
            self.supervisor.set_remote([self.device], "")

    def now(self) -> float:
        return time.monotonic() + self.later

    def start(self) -> None:
        self.supervisor.tick(self.now())
        self.until("ready")

    def until(self, *events: str) -> list[dict[str, Any]]:
        """All that is said up to one of these events."""
        heard: list[dict[str, Any]] = []
        while not heard or heard[-1]["event"] not in events:
            news = self.news.get(timeout=SECONDS)
            assert isinstance(news, WorkerEvent), (news, heard)
            self.supervisor.received(news.device, news.fields, self.now())
            heard.append(news.fields)
            assert heard[-1]["event"] in events or heard[-1]["event"] not in ENDS, heard[-1]
        return heard

    def end(self) -> VoidbridgeError:
        """The reason of the worker's end, which is awaited."""
        while isinstance(news := self.news.get(timeout=SECONDS), WorkerEvent):
            self.supervisor.received(news.device, news.fields, self.now())
        return self.supervisor.exited(news.device, news.code, self.now())

    def run(
        self, name: str, steps: int = 0, damaged: bool = False, user: str = ""
    ) -> tuple[Shot, Path]:
        """Gives the worker a job whose files are where the spool has them. Its user is `name` if not named."""
        shot = make_shot(self.folder / name, FRAMES, seed=len(name))
        submission = Submission(
            {"plate": Sequence.parse(shot.plate), "matte": Sequence.parse(shot.matte)},
            RemoveSettings(engine="echo", steps=steps, grow=0, soften=0),
        )
        task = submission.task(lambda frame: Path(), lambda done, of: None, lambda: False)
        objects, folder = self.folder / "objects" / (user or name), self.folder / "jobs" / name
        objects.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True)
        for file, path in zip(task.request.files, task.sources, strict=True):
            (objects / file.sha256).write_bytes(path.read_bytes())
        if damaged:
            (objects / task.request.files[0].sha256).write_bytes(b"something else")
        (folder / "request.json").write_bytes(task.request.canonical())
        command = {"request": str(folder / "request.json"), "objects": str(objects)}
        self.supervisor.run(self.device, name, {**command, "folder": str(folder)}, time.monotonic())
        return shot, folder

    def trained(self, name: str, pairs: list[Path]) -> tuple[Path, dict[str, str]]:
        """Gives the worker a training. Returns its folder and the command."""
        settings = TrainSettings(
            steps=40, rank=2, accumulate=1, warmup=2, checkpoint_every=40, validate_every=40
        )
        objects, folder = self.folder / "objects" / name, self.folder / "jobs" / name
        objects.mkdir(parents=True)
        folder.mkdir(parents=True)
        files = []
        for number, path in enumerate(pairs):
            data = path.read_bytes()
            sha256 = hashlib.sha256(data).hexdigest()
            (objects / sha256).write_bytes(data)
            files.append(FrameFile("pair", number, sha256, len(data)))
        made = Request(LORA, PLOT, settings, tuple(files), operation="train")
        (folder / "request.json").write_bytes(made.canonical())
        command = {"request": str(folder / "request.json"), "objects": str(objects)}
        command["folder"] = str(folder)
        self.supervisor.run(self.device, name, command, time.monotonic())
        return folder, command


def check_results(shot: Shot, folder: Path, heard: list[dict[str, Any]]) -> None:
    """Each frame was announced once, is there, and is right; nothing else is there."""
    assert sorted(e["frame"] for e in heard if e["event"] == "result") == list(shot.frames)
    names = {path.name for path in folder.iterdir()}
    assert names == {"provenance.json", "request.json"} | {f"{f}.exr" for f in shot.frames}
    for frame in shot.frames:
        (folder / f"{frame}.exr").rename(folder / f"r.{frame}.exr")
    check_echo(shot, folder)


def setup_of(folder: Path, nodes: Cluster | None) -> dict[str, Any]:
    """Frames go to the node as over a network, because it does not get their path."""
    cache = {"cache": str(folder / "cache"), "cache_gb": 1, "by_path": False, "lost_s": 5}
    address = nodes.address if nodes else ""
    return {
        "models": str(folder),
        "ocio": "",
        "spool": str(folder),
        "sandbox": "off",
        "cluster": {"address": address, "resource": "spare", **cache},
    }


@pytest.fixture(params=["local process", "Ray actor"], scope="module")
def worker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OneWorker]:
    """A worker of each kind."""
    nodes = request.getfixturevalue("nodes") if request.param == "Ray actor" else None
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (nodes.access if nodes else {}).items():
            patch.setenv(name, value)
        made = OneWorker(tmp_path_factory.mktemp("worker"), nodes)
        made.start()
        yield made
        made.supervisor.stop(patience_s=5.0)


# -- what both kinds of worker do -------------------------------------------------------------------


def test_a_job_is_run_and_its_engine_stays_loaded(worker: OneWorker) -> None:
    shot, folder = worker.run("first")
    check_results(shot, folder, worker.until("done"))
    worker.supervisor.release(worker.device, time.monotonic())
    shot, folder = worker.run("second")
    heard = worker.until("done")
    check_results(shot, folder, heard)
    stages = {event["stage"] for event in heard if event["event"] == "progress"}
    assert "loading the engine" not in stages


def test_a_running_job_is_cancelled_and_the_worker_goes_on(worker: OneWorker) -> None:
    pid = worker.supervisor.pids()[worker.device]
    worker.run("long", steps=500)
    while worker.until("progress")[-1]["stage"] != "removing":
        continue
    worker.supervisor.interrupt(worker.device, "long", time.monotonic())
    worker.until("cancelled")
    worker.supervisor.release(worker.device, time.monotonic())
    shot, folder = worker.run("after")
    check_results(shot, folder, worker.until("done"))
    assert worker.supervisor.pids()[worker.device] == pid


def test_a_frame_that_changed_on_the_disk_fails_its_job_only(worker: OneWorker) -> None:
    worker.run("damaged", damaged=True)
    failed = worker.until("failed")[-1]
    assert failed["code"] == "job.damaged-file"
    assert len(failed["files"]) == 1
    worker.supervisor.release(worker.device, time.monotonic())
    shot, folder = worker.run("whole")
    check_results(shot, folder, worker.until("done"))
    for cached in worker.folder.glob("cache/objects/whole/*"):
        cached.write_bytes(
            cached.read_bytes() + b"more"
        )  # on a node: the daemon's own are sent again
    worker.supervisor.release(worker.device, time.monotonic())
    shot, folder = worker.run("equal", user="whole")
    check_results(shot, folder, worker.until("done"))


def test_a_stopped_training_goes_on_where_it_stopped(worker: OneWorker, full: bool) -> None:
    """As for a more urgent job. The worker writes a checkpoint, which comes back from a node."""
    if not full:
        pytest.skip("loads a model; --full runs it")
    pytest.importorskip("torch", reason="the extra void is not installed")
    from training_parts import write_pairs

    from voidbridge_backend.engines.void.tiny import make_tiny

    pairs = write_pairs(_made(worker.folder / "pairs"), make_tiny(worker.folder), 3)
    loras = []
    for name in ("unbroken", "stopped"):
        folder, command = worker.trained(name, pairs)
        if name == "stopped":
            while (now := worker.until("progress")[-1])["stage"] != "training" or now["step"] < 3:
                continue
            worker.supervisor.interrupt(worker.device, name, time.monotonic(), 60.0)
            worker.until("cancelled")
            worker.supervisor.release(worker.device, time.monotonic())
            assert [path.name for path in folder.glob("checkpoint*")] == ["checkpoint.safetensors"]
            worker.supervisor.run(worker.device, name, command, time.monotonic())
        heard = worker.until("done")
        worker.supervisor.release(worker.device, time.monotonic())
        loras.append((folder / "1.exr").read_bytes())
    first = next(event for event in heard if event.get("stage") == "training")
    assert first["step"] > 0
    assert loras[0] == loras[1]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_killed_worker_says_how_it_ended_and_another_takes_its_place(worker: OneWorker) -> None:
    worker.run("interrupted", steps=500)
    while worker.until("progress")[-1]["stage"] != "removing":
        continue
    pid = worker.supervisor.pids()[worker.device]
    if worker.nodes:
        assert worker.nodes.signal("a", signal.SIGKILL, WORKER)
    else:
        os.kill(pid, signal.SIGKILL)
    cause = worker.end()
    assert isinstance(cause, WorkerDied)
    assert "SIGKILL while removing" in cause.text
    eventually(lambda: _started(worker), "another worker")
    worker.until("ready")
    shot, folder = worker.run("again")
    check_results(shot, folder, worker.until("done"))


def _started(worker: OneWorker) -> bool:
    worker.supervisor.tick(time.monotonic())
    return worker.device in worker.supervisor.pids()


# -- a daemon with a cluster ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def others(nodes: Cluster) -> set[int]:
    """Workers on the nodes that the daemon has not started: those of the tests above."""
    return {*nodes.pids("a", WORKER), *nodes.pids("b", WORKER)}


@pytest.fixture(scope="module")
def models(full: bool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With --full a tiny model of `void`."""
    folder = tmp_path_factory.mktemp("models")
    if full:
        pytest.importorskip("torch", reason="the extra void is not installed")
        from voidbridge_backend.engines.void.tiny import make_tiny

        make_tiny(folder)
        (folder / "voidbridge.json").write_text(json.dumps(TINY))
    return folder


@pytest.fixture(scope="module")
def wide(
    nodes: Cluster,
    cards: int,
    others: set[int],
    models: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Daemon]:
    """A daemon without a device of its own."""
    extra = {
        **nodes.access,
        "VOIDBRIDGE_RAY_CACHE": str(tmp_path_factory.mktemp("cache")),
        "VOIDBRIDGE_RAY_LOST_S": "4",
    }
    words = ("--devices", "auto", "--devices-per-job", 2, "--models", models)
    with daemon(*words, "--ray", nodes.address, extra=extra) as made:
        eventually(lambda: len(ready(made)) == 2 * cards, "all devices")
        yield made


def states(on: Daemon) -> dict[str, str]:
    return {device.name: device.state for device in on.health().devices}


def ready(on: Daemon) -> list[str]:
    return [d.name for d in on.health().devices if d.state in ("ready", "busy")]


def test_jobs_of_several_users_are_exact_while_a_node_dies_and_returns(
    wide: Daemon, nodes: Cluster, cards: int, tmp_path: Path
) -> None:
    shots = [make_shot(tmp_path / f"in{n}", FRAMES, seed=100 + n) for n in range(8)]
    jobs = [wide.submit(shot, f"user{n % 3}", steps=40) for n, shot in enumerate(shots)]
    eventually(lambda: any(job.state.value == "done" for job in wide.jobs()), "a first result")
    nodes.kill("b")
    for job in jobs:
        wide.wait_for_state(job, "done")
    for n, (job, shot) in enumerate(zip(jobs, shots, strict=True)):
        wide.fetch(job, tmp_path / f"out{n}")
        check_echo(shot, tmp_path / f"out{n}")
    assert wide.log.count("done job=") == len(jobs)
    eventually(lambda: states(wide)["ray:b/0"] == "away", "the node to be away")
    nodes.start_nodes("b", cards=cards)
    eventually(lambda: len(ready(wide)) == 2 * cards, "the node's return")


def test_cleanplate_in_two_ranges_makes_the_same_bits_on_nodes_as_here_in_one(
    wide: Daemon, tmp_path: Path
) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1005), seed=7)
    words = ("run", shot.plate, shot.matte, "--engine", "cleanplate", "--handles", ALL_FRAMES)
    there, here = tmp_path / "there", tmp_path / "here"
    ranged = ("-o", there / "r.%04d.exr", "--daemon", wide.address, "--frames")
    for more in ((*ranged, "1001-1002"), (*ranged, "1003-1004"), ("-o", here / "r.%04d.exr")):
        done = called(*words, *more)
        assert done.code == 0, done.err
    check_same(there, here)


def test_two_nodes_share_each_step_of_a_job_with_the_bits_of_one_device_and_lose_one(
    wide: Daemon, models: Path, tmp_path: Path, full: bool
) -> None:
    if not full:
        pytest.skip("takes a minute; --full runs it")
    eventually(lambda: len(ready(wide)) == 4, "four devices")
    shot = make_shot(tmp_path / "in", range(1001, 1027), seed=12)
    words = ("--engine", "void", "--json")
    with daemon("--devices", "cpu", "--models", models) as near:
        alone = called(*run_words(shot, tmp_path / "one", near.address, *words))
    assert alone.code == 0, alone.err
    both = called(*run_words(shot, tmp_path / "two", wide.address, *words))
    assert both.code == 0, both.err
    assert "steps are shared by up to 2 devices" in str(both.event("done")["warnings"])

    before = wide.log.count(" lent ")
    going = Going(*run_words(shot, tmp_path / "lost", wide.address, *words, "--force"))
    eventually(lambda: wide.log.count(" lent ") > before, "a lent device")
    eventually(lambda: states(wide)[_lent_last(wide)] == "busy", "the lent device at work")
    lent = _lent_last(wide)
    proxies = re.findall(rf"worker started .*device={lent} .*pid=(\d+)", wide.log)
    os.kill(int(proxies[-1]), signal.SIGKILL)
    lost = going.end()
    assert lost.code == 0, lost.err
    assert not [text for text in lost.event("done")["warnings"] if "attempt" in text]
    for frame in shot.frames:
        expected = channels_of(tmp_path / "one" / f"r.{frame}.exr")
        for name in ("two", "lost"):
            found = channels_of(tmp_path / name / f"r.{frame}.exr")
            assert all(same_bits(found[c], expected[c]) for c in expected), (name, frame)
    for name in ("task-*", "answer-*"):
        assert not list((wide.spool / "work").rglob(name))


def _lent_last(on: Daemon) -> str:
    return str(re.findall(r" lent .*device=(\S+)", on.log)[-1])


def test_the_workers_of_a_killed_daemon_end_and_the_next_daemon_continues(
    wide: Daemon, nodes: Cluster, others: set[int], tmp_path: Path, full: bool
) -> None:
    if not full:
        pytest.skip("takes half a minute; --full runs it")
    eventually(lambda: len(ready(wide)) == 4, "four devices")
    shot = make_shot(tmp_path / "in", FRAMES, seed=8)
    job = wide.submit(shot, "somebody", steps=200)
    wide.wait_for_state(job, "running")
    former = {*nodes.pids("a", WORKER), *nodes.pids("b", WORKER)} - others
    assert len(former) == 4
    wide.kill()
    eventually(lambda: not any(map(is_alive, former)), "the end of stale workers")
    wide.start()
    wide.wait_for_state(job, "done")
    wide.fetch(job, tmp_path / "out")
    check_echo(shot, tmp_path / "out")


def test_a_stopped_actor_is_lost_and_its_job_runs_elsewhere(
    wide: Daemon, nodes: Cluster, tmp_path: Path, full: bool
) -> None:
    if not full:
        pytest.skip("takes a minute; --full runs it")
    eventually(lambda: len(ready(wide)) == 4, "four devices")
    shot = make_shot(tmp_path / "in", FRAMES, seed=9)
    job = wide.submit(shot, "somebody", steps=1000)
    busy = eventually(
        lambda: [d.name for d in wide.health().devices if d.stage == "removing"], "a running job"
    )
    node = busy[0].removeprefix("ray:").partition("/")[0]
    stopped = nodes.signal(node, signal.SIGSTOP, "ray::Card")
    assert stopped
    eventually(lambda: "did not answer for 4 s" in wide.log, "the loss")
    nodes.signal(node, signal.SIGKILL, "ray::Card")
    wide.wait_for_state(job, "done")
    wide.fetch(job, tmp_path / "out")
    check_echo(shot, tmp_path / "out")


def test_a_node_that_is_lost_three_times_gets_no_worker_for_a_while(
    nodes: Cluster, cards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    """The node really dies three times; only the minutes in between are skipped."""
    if not full:
        pytest.skip("takes a minute; --full runs it")
    for name, value in nodes.access.items():
        monkeypatch.setenv(name, value)
    worker = OneWorker(tmp_path, nodes, "b")
    try:
        for _ in range(MOST_FAILURES):
            assert worker.supervisor.device_statuses(worker.now())[0].state != "quarantined"
            worker.start()
            nodes.kill("b")
            assert isinstance(worker.end(), DeviceAway)
            nodes.start_nodes("b", cards=cards)
            worker.later += SAME_LOSS_S
        status = worker.supervisor.device_statuses(worker.now())[0]
        assert (status.state, status.why[:12]) == ("quarantined", "lost 3 times")
        worker.supervisor.tick(worker.now())
        assert worker.supervisor.pids() == {}
        worker.later += PROBE_S
        worker.start()
    finally:
        worker.supervisor.stop(patience_s=5.0)


def test_an_encrypted_cluster_serves_its_jobs_and_refuses_who_does_not_encrypt(
    tmp_path: Path, full: bool
) -> None:
    if not full:
        pytest.skip("takes a minute; --full runs it")
    if not shutil.which("openssl"):
        pytest.skip("the certificate needs the command openssl")
    with cluster("a", tls=True, cards=1) as secret:
        extra = {
            **secret.access,
            "VOIDBRIDGE_RAY_CACHE": str(tmp_path / "cache"),
            "VOIDBRIDGE_RAY_BY_PATH": "false",
        }
        with daemon("--devices", "auto", "--ray", secret.address, extra=extra) as made:
            eventually(lambda: states(made) == {"ray:a/0": "ready"}, "a device")
            shot = make_shot(tmp_path / "in", FRAMES, seed=10)
            job = made.submit(shot)
            made.wait_for_state(job, "done")
            made.fetch(job, tmp_path / "out")
            check_echo(shot, tmp_path / "out")
        plain = {name: value for name, value in secret.access.items() if "TLS" not in name}
        asked = subprocess.run(
            [sys.executable, "-m", "voidbridge_backend.cluster.session", secret.address],
            env={**environment(), **plain},
            capture_output=True,
            check=False,
        )
    assert asked.returncode not in (0, 10)  # 0: it asks for a token; 10: it answers anybody


# -- refusals ---------------------------------------------------------------------------------------


def test_a_cluster_without_a_token_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    if not full:
        pytest.skip("starts another head; --full runs it")
    with cluster(token=False) as unsafe:
        for name, value in unsafe.access.items():
            monkeypatch.setenv(name, value)
        tmp_path.chmod(0o700)
        words = ("--ray", unsafe.address, "--spool", tmp_path, "--listen", f"ipc://{tmp_path}/c")
        done = voidbridge("serve", *words)
    assert done.code == 3
    assert "serves everybody who reaches it, without a token" in done.err


def test_without_ray_the_daemon_says_what_to_install(tmp_path: Path) -> None:
    program = "import sys; sys.modules['ray'] = None; from voidbridge_backend.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "serve", "--ray", "auto", "--spool", str(tmp_path)],
        env={**environment(), "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'voidbridge[backend,ray]'" in done.stderr
