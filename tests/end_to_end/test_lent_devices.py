"""A daemon with two devices gives both to one job, takes one back for another, and survives its loss."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import voidbridge_shots as shots
import voidbridge_stage as stage

from voidbridge_backend.engines.void.tiny import make_tiny
from voidbridge_protocol.client import Client

FRAMES = range(1001, 1027)
OPTIONS = {"height": 32, "width": 48, "window": 21, "steps": 20}
SHARED = "steps are shared by up to 2 devices, with the bits of one device"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_tiny(tmp_path_factory.mktemp("models"))
    (folder / "voidbridge.json").write_text(json.dumps(OPTIONS))
    return folder


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> shots.Shot:
    return shots.make_shot(tmp_path_factory.mktemp("shot"), FRAMES, seed=910)


@pytest.fixture(scope="module")
def box(models: Path) -> Iterator[stage.Daemon]:
    with stage.daemon("--devices", "cpu,cpu:1", "--devices-per-job", 2, "--models", models) as made:
        stage.eventually(lambda: made.log.count("worker ready") == 2, "two workers")
        yield made


def words(shot: shots.Shot, folder: Path, address: str, *more: object) -> tuple[object, ...]:
    return stage.run_words(shot, folder, address, "--engine", "void", "--json", *more)


def helper_is_busy(box: stage.Daemon) -> bool:
    return all(device.state == "busy" for device in box.health().devices)


def pid_of_lent_device(box: stage.Daemon) -> tuple[str, int]:
    """The device that was lent last, and the process of its worker."""
    device = re.findall(r" lent .*device=(\S+)", box.log)[-1]
    started = re.findall(rf"worker started .*device={device} .*pid=(\d+)", box.log)
    return device, int(started[-1])


def test_a_job_on_two_devices_has_the_bits_of_one_even_if_a_device_is_lost(
    box: stage.Daemon, shot: shots.Shot, tmp_path: Path
) -> None:
    both = stage.called(*words(shot, tmp_path / "two", box.address))
    assert both.code == 0, both.err
    assert SHARED in both.event("done")["warnings"]

    going = stage.Going(*words(shot, tmp_path / "lost", box.address, "--force"))
    stage.eventually(lambda: helper_is_busy(box), "the lent device at work")
    device, pid = pid_of_lent_device(box)
    os.kill(pid, signal.SIGKILL)
    lost = going.end()
    assert lost.code == 0, lost.err
    warnings = lost.event("done")["warnings"]
    assert any(text.startswith(f"{device} no longer helps") for text in warnings), warnings
    assert not [text for text in warnings if "attempt" in text]

    # While another job has the second device, a job is computed on one.
    neighbor = box.submit(shot, "neighbor", steps=1000)
    box.wait_for_state(neighbor, "running")
    alone = stage.called(*words(shot, tmp_path / "one", box.address, "--force"))
    assert alone.code == 0, alone.err
    assert SHARED not in alone.event("done")["warnings"]
    assert box.status(neighbor).state.value == "running"
    with Client(box.address, user="neighbor", software="test") as client:
        client.cancel(neighbor)
    box.wait_for_state(neighbor, "cancelled")

    for frame in FRAMES:
        expected = shots.channels_of(tmp_path / "one" / f"r.{frame}.exr")
        for name in ("two", "lost"):
            found = shots.channels_of(tmp_path / name / f"r.{frame}.exr")
            assert all(shots.same_bits(found[c], expected[c]) for c in expected), (name, frame)
    for name in ("task-*", "answer-*"):
        assert not list(box.spool.rglob(name))


def test_a_new_job_takes_a_lent_device_back_before_the_first_ends(
    box: stage.Daemon, shot: shots.Shot, tmp_path: Path
) -> None:
    going = stage.Going(*words(shot, tmp_path / "long", box.address, "--steps", 900))
    stage.eventually(lambda: helper_is_busy(box), "the lent device at work")
    other = shots.make_shot(tmp_path / "in", range(1001, 1003), seed=911)
    done = stage.called(*stage.run_words(other, tmp_path / "echo", box.address, "--json"))
    assert done.code == 0, done.err
    assert going.process.poll() is None
    stage.check_echo(other, tmp_path / "echo")
    stopped, _ = going.interrupt()
    assert stopped.code != 0
