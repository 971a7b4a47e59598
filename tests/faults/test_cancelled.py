"""Ctrl-C and `voidbridge cancel` at every stage of a job: the client is free at once, the daemon goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from voidbridge_machine import in_time
from voidbridge_relay import Net, relayed_daemon
from voidbridge_shots import Shot, make_shot
from voidbridge_stage import Going, called, check_echo, eventually, leftovers, run_words

AT_ONCE_S = 3.0
"""A client is free within a second, Python's end included."""
STAGES = ("upload", "queue", "run", "fetch")


@pytest.fixture(scope="module")
def box() -> Iterator[Net]:
    with relayed_daemon("--window-mb", 2) as made:
        made.daemon.wait_for_worker()
        yield made


@pytest.fixture
def net(box: Net) -> Iterator[Net]:
    """The daemon, its line mended and its jobs ended after each test."""
    yield box
    made = box.daemon
    box.relay.release()
    for job in made.jobs():
        if not job.state.is_final:
            called("cancel", job.job, "--daemon", made.address)
    eventually(lambda: all(job.state.is_final for job in made.jobs()))


def bring_to(stage: str, net: Net, tmp_path: Path, seed: int) -> tuple[Going, str, Shot]:
    """A client whose job is just there, with the job's id."""
    shot = make_shot(tmp_path / "in", range(1001, 1007), 90, 160, seed=seed)
    steps = {"run": 500}.get(stage, 0)
    if stage == "upload":
        net.relay.hold("up", shot.size() // 2)
    elif stage == "fetch":
        net.relay.hold("down", shot.size() // 4)
    elif stage == "queue":
        other = make_shot(tmp_path / "other", range(1001, 1003), seed=seed + 50)
        busy = net.daemon.submit(other, user="somebody else", steps=500)
        net.daemon.wait_for_state(busy, "running")
    going = Going(*run_words(shot, tmp_path / "out", net.address, "--steps", steps))
    job = going.until_event("accepted")["job"]
    if stage == "upload":
        net.relay.wait_until_held("up")
    elif stage == "queue":
        assert going.until_state("queued")["ahead"] == 1
    elif stage == "run":
        going.until(lambda event: event.get("stage") == "removing")
    else:
        going.until_state("done")
        net.relay.wait_until_held("down")
    return going, job, shot


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_frees_the_artist_at_once(net: Net, tmp_path: Path, stage: str) -> None:
    going, job, _ = bring_to(stage, net, tmp_path, 100 + STAGES.index(stage))
    done, seconds = going.interrupt()
    assert (done.code, done.event("error")["code"]) == (5, "job.cancelled"), done.err
    assert in_time(seconds, AT_ONCE_S)
    assert leftovers(tmp_path) == []
    # Results that were made before stay made.
    net.daemon.wait_for_state(job, "done" if stage == "fetch" else "cancelled")


@pytest.mark.parametrize("stage", STAGES[:3])
def test_a_cancel_from_elsewhere_ends_the_client_that_waits(
    net: Net, tmp_path: Path, stage: str
) -> None:
    going, job, _ = bring_to(stage, net, tmp_path, 110 + STAGES.index(stage))
    assert called("cancel", job, "--daemon", net.daemon.address).code == 0
    done = going.end()
    assert (done.code, done.event("error")["code"]) == (5, "job.cancelled"), done.err
    assert leftovers(tmp_path) == []
    net.daemon.wait_for_state(job, "cancelled")


def test_after_a_cancel_in_the_upload_the_rest_is_all_that_travels(
    net: Net, tmp_path: Path
) -> None:
    going, job, shot = bring_to("upload", net, tmp_path, 120)
    going.interrupt()
    net.relay.cut()
    net.relay.release()
    net.daemon.wait_for_state(job, "cancelled")
    done = called(*run_words(shot, tmp_path / "out", net.address, "--json"))
    assert done.code == 0, done.err
    assert done.event("done")["job"] == job
    assert 0 < done.event("done")["uploaded"] < shot.size()
    check_echo(shot, tmp_path / "out")


def test_pressing_the_button_again_right_after_a_cancel_runs_the_job(
    net: Net, tmp_path: Path
) -> None:
    shot = make_shot(tmp_path / "in", range(1001, 1004), seed=121)
    going = Going(*run_words(shot, tmp_path / "out", net.address, "--steps", 20))
    going.until(lambda event: event.get("stage") == "removing")
    going.interrupt()
    done = called(*run_words(shot, tmp_path / "out", net.address, "--steps", 20, "--json"))
    assert done.code == 0, done.err
    check_echo(shot, tmp_path / "out")
