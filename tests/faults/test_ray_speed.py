"""The price of a Ray cluster: throughput of several devices, time of a job, speed of frames.

`--full` runs it; a machine with other work on it makes all figures worse.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from voidbridge_figures import Note
from voidbridge_ray_cluster import Cluster, cluster
from voidbridge_shots import Shot, make_shot
from voidbridge_stage import Daemon, check_echo, check_same, daemon, environment, eventually

from voidbridge_backend.client.submission import Submission
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.client import Client
from voidbridge_protocol.operations.remove import RemoveSettings

pytest.importorskip("ray", reason="the extra ray is not installed")

CARDS = 4
TINY = {"height": 32, "width": 48, "window": 21, "steps": 2}
"""Settings of a tiny `void`."""
STEPS, PACE_S = 500, 0.02
"""A job that sleeps for ten seconds."""
FRAME, COUNT, TURNS = 30_000_000, 12, 5
"""Bytes of a 4K frame in half, compressed by ZIP, frames of a shot, and turns of each way."""
BARE = """
import socket, sys, time
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    line, place, busy = server.accept()[0], memoryview(bytearray(1 << 20)), time.process_time()
    with open(sys.argv[1], "wb", buffering=0) as file:
        while count := line.recv_into(place):
            file.write(place[:count])
    line.sendall(b"x")
    print(time.process_time() - busy)
"""
"""Bare TCP from file to file: it checks nothing. With /dev/null, from file to nowhere."""
OURS = """
import json, os, sys, threading, time
from pathlib import Path
from voidbridge_backend.cluster.proxy import Proxy
proxy = Proxy(json.loads(sys.argv[1]), lambda event, **fields: None)
proxy.start()
print(flush=True)
for line in sys.stdin:
    user = Path(line.rstrip())
    names = sorted(path.name for path in user.iterdir())
    began, busy = time.monotonic(), time.process_time()
    proxy._delivery.send(user, names, threading.Event())
    print(time.monotonic() - began, time.process_time() - busy, flush=True)
os._exit(0)
"""


@pytest.fixture(scope="module")
def node(full: bool) -> Iterator[Cluster]:
    if not full:
        pytest.skip("takes minutes; --full runs it")
    with cluster("a", cards=CARDS) as made:
        yield made


@pytest.fixture(scope="module")
def models(node: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of `void`."""
    pytest.importorskip("torch", reason="the extra void is not installed")
    from voidbridge_backend.engines.void.tiny import make_tiny

    folder = make_tiny(tmp_path_factory.mktemp("models"))
    (folder / "voidbridge.json").write_text(json.dumps(TINY))
    return folder


def served(
    node: Cluster,
    stack: ExitStack,
    folder: Path,
    devices: int,
    resource: str = "GPU",
    more: tuple[object, ...] = (),
) -> Daemon:
    """A daemon with the devices of this resource, once all are ready."""
    extra = {**node.access, "VOIDBRIDGE_RAY_CACHE": str(folder), "VOIDBRIDGE_RAY_BY_PATH": "false"}
    options = ("--devices", "auto", "--ray", node.address, "--ray-resource", resource, *more)
    made = stack.enter_context(daemon(*options, extra=extra))
    eventually(
        lambda: [d.state for d in made.health().devices] == ["ready"] * devices, "all devices"
    )
    return made


def shots_a_second(on: Daemon, folder: Path, devices: int) -> float:
    """Three shots for each device, whose engine is loaded. Every result is checked."""
    shots = [make_shot(folder / str(n), range(1001, 1002), seed=n) for n in range(4 * devices)]
    first, rest = shots[:devices], shots[devices:]
    for job in [on.submit(shot, steps=STEPS // 5) for shot in first]:
        on.wait_for_state(job, "done")
    began = time.monotonic()
    jobs = [on.submit(shot, steps=STEPS) for shot in rest]
    for job in jobs:
        on.wait_for_state(job, "done")
    took = time.monotonic() - began
    for n, job in enumerate(jobs):
        on.fetch(job, folder / f"out{n}")
        check_echo(rest[n], folder / f"out{n}")
    return len(rest) / took


def test_four_devices_that_sleep_do_nearly_four_times_as_much_as_one(
    node: Cluster, tmp_path: Path, note: Note
) -> None:
    """Held against one device of the cluster, and against one that only sleeps: other work slows both."""
    with ExitStack() as stack:
        one = shots_a_second(served(node, stack, tmp_path / "1", 1, "spare"), tmp_path / "one", 1)
    with ExitStack() as stack:
        on = served(node, stack, tmp_path / "4", CARDS)
        four = shots_a_second(on, tmp_path / "four", CARDS)
    asleep = 1 / (STEPS * PACE_S)
    note(26, devices=CARDS, times_one=f"{four / one:.2f}", times_asleep=f"{four / asleep:.2f}")
    assert four / one >= 3.8


def test_two_hundred_jobs_of_three_engines_over_four_devices_are_exact(
    node: Cluster, models: Path, tmp_path: Path, note: Note
) -> None:
    """The results of `cleanplate` and `void` are held against those of a daemon with one device of its own."""
    frames = {"echo": 2, "cleanplate": 4, "void": 6}
    engines = [("cleanplate", "echo", "echo", "void", "echo")[n % 5] for n in range(200)]
    shots = {
        (engine, n): make_shot(tmp_path / f"{engine}{n}", range(1001, 1001 + count), seed=n)
        for engine, count in frames.items()
        for n in range(120 if engine == "echo" else 4)
    }
    with daemon("--models", models) as near:
        for engine, n in ((engine, n) for engine in ("cleanplate", "void") for n in range(4)):
            job = near.submit(shots[engine, n], engine=engine)
            near.wait_for_state(job, "done")
            near.fetch(job, tmp_path / f"right-{engine}{n}")
    with ExitStack() as stack:
        on = served(node, stack, tmp_path / "cache", CARDS, more=("--models", models))
        began, jobs = time.monotonic(), dict[str, tuple[str, int]]()
        for n, engine in enumerate(engines):
            seed = engines[:n].count(engine) % (120 if engine == "echo" else 4)
            job = on.submit(shots[engine, seed], f"user{n}", engine=engine)
            jobs[job] = engine, seed
        assert len(jobs) == 200
        for job in jobs:
            on.wait_for_state(job, "done")
        took = time.monotonic() - began
        for job, (engine, seed) in jobs.items():
            out = tmp_path / f"out-{job}"
            on.fetch(job, out)
            if engine == "echo":
                check_echo(shots[engine, seed], out)
            else:
                check_same(out, tmp_path / f"right-{engine}{seed}")
        used = {d.name for d in on.health().devices if f"device={d.name}" in on.log}
    note(
        26,
        jobs=200,
        **{engine: engines.count(engine) for engine in frames},
        seconds=f"{took:.0f}",
        devices_used=len(used),
        load=f"{os.getloadavg()[0]:.1f}",
    )
    assert len(used) == CARDS


def seconds_of(on: Daemon, shot: Shot, folder: Path) -> float:
    """From the request to the last result on the client's disk."""
    plate, matte = Sequence.parse(shot.plate), Sequence.parse(shot.matte)
    settings = RemoveSettings(engine="echo", grow=0, soften=0)
    folder.mkdir()
    task = Submission({"plate": plate, "matte": matte}, settings).task(
        Sequence.parse(folder / "r.%04d.exr").path, lambda done, of: None, lambda: False
    )
    began = time.monotonic()
    with Client(on.address, user="somebody", software="test") as client:
        client.run(task)
    took = time.monotonic() - began
    check_echo(shot, folder)
    return took


def test_a_job_takes_little_longer_on_a_node_than_here(
    node: Cluster, tmp_path: Path, note: Note
) -> None:
    """The median of pairs, one job after the other on each."""
    there, here = [], []
    with ExitStack() as stack:
        far = served(node, stack, tmp_path / "cache", 1, "spare")
        near = stack.enter_context(daemon())
        near.wait_for_worker()
        for n in range(31):
            shot = make_shot(tmp_path / f"in{n}", range(1001, 1005), seed=n)
            there.append(seconds_of(far, shot, tmp_path / f"there{n}"))
            here.append(seconds_of(near, shot, tmp_path / f"here{n}"))
    more = statistics.median(a - b for a, b in zip(there[1:], here[1:], strict=True))
    note(26, local_s=f"{statistics.median(here):.3f}", more_on_a_node_s=f"{more:.3f}")
    assert more <= 0.150


def test_frames_arrive_at_a_node_whole(node: Cluster, tmp_path: Path, note: Note) -> None:
    """Beside bare TCP of the same bytes, in turn.

    Processor time is held against the asked share, because other programs make both slower; time is stated.
    """
    users = [tmp_path / "objects" / f"user{n}" for n in range(TURNS)]
    for user in users:
        user.mkdir(parents=True)
        for _ in range(COUNT):
            content = os.urandom(FRAME)
            (user / hashlib.sha256(content).hexdigest()).write_bytes(content)
    setup = {
        "device": "ray:a/0",
        "models": "",
        "ocio": "",
        "spool": str(tmp_path),
        "sandbox": "off",
        "cluster": {
            "address": node.address,
            "resource": "GPU",
            "cache": str(tmp_path / "cache"),
            "cache_gb": 10,
            "by_path": False,
            "lost_s": 60,
        },
    }
    took: dict[str, list[tuple[float, float]]] = {"ours": [], "to a file": [], "to nowhere": []}
    with subprocess.Popen(
        [sys.executable, "-c", OURS, json.dumps(setup)],
        env={**environment(), **node.access},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin
        assert child.stdout
        child.stdout.readline()  # the actor is there
        actors = node.pids("a", "ray::Card")
        for turn, user in enumerate(users):
            _make_memory_ready()
            child.stdin.write(f"{user}\n")
            child.stdin.flush()
            before = _busy(actors)
            wall, busy = map(float, child.stdout.readline().split())
            took["ours"].append((wall, busy + _busy(actors) - before))
            _make_memory_ready()
            took["to a file"].append(_bare(user, tmp_path / f"received{turn}"))
            took["to nowhere"].append(_bare(user, Path(os.devnull)))
        child.stdin.close()
    cached = {path.name for path in (tmp_path / "cache" / "objects").rglob("*") if path.is_file()}
    assert cached == {path.name for user in users for path in user.iterdir()}
    walls = {way: statistics.median(wall for wall, _ in turns) for way, turns in took.items()}
    busy = {way: statistics.median(busy for _, busy in turns) for way, turns in took.items()}
    size = FRAME * COUNT
    note(
        26,
        ours=f"{size / walls['ours'] / 1e6:.0f} MB/s",
        **{
            f"share {way}": f"{wall / walls['ours']:.2f} of {size / wall / 1e6:.0f} MB/s"
            for way, wall in list(walls.items())[1:]
        },
        busy=", ".join(f"{way} {s / size * 1e9:.2f} s/GB" for way, s in busy.items()),
        load=f"{os.getloadavg()[0]:.1f}",
    )
    assert busy["to a file"] / busy["ours"] >= 0.7


def _busy(pids: Iterable[int]) -> float:
    """Seconds of processor time of processes so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _make_memory_ready() -> None:
    """A virtual machine asks its host for each page of a new file, unless it has just had as many."""
    with mmap.mmap(-1, 2 * FRAME * COUNT) as memory:
        for begin in range(0, len(memory), mmap.PAGESIZE):
            memory[begin] = 1


def _bare(user: Path, target: Path) -> tuple[float, float]:
    """The same files through one TCP connection to a process that writes them to `target`.

    Returns seconds, and seconds of processor time of both ends.
    """
    with subprocess.Popen(
        [sys.executable, "-c", BARE, target], stdout=subprocess.PIPE, text=True
    ) as receiver:
        assert receiver.stdout
        port = int(receiver.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)) as line:
            began, busy = time.monotonic(), time.process_time()
            for path in user.iterdir():
                with path.open("rb") as file:
                    line.sendfile(file)
            line.shutdown(socket.SHUT_WR)
            assert line.recv(1)
            wall, busy = time.monotonic() - began, time.process_time() - busy
        return wall, busy + float(receiver.stdout.readline())
