"""Small questions beside a job: whether results arrived, and how the daemon does."""

from __future__ import annotations

from pathlib import Path

from voidbridge_artist import client_of, plates, results, shot

from voidbridge_protocol.testing.fake_daemon import Script, fake_daemon
from voidbridge_protocol.wire.messages import Fetched


def test_the_daemon_is_told_when_every_result_is_here(tmp_path: Path) -> None:
    task = shot(tmp_path)
    with fake_daemon() as daemon:
        with client_of(daemon) as client:
            job = client.run(task).job
        assert daemon.received.count(Fetched(job)) == 1
        with client_of(daemon) as client:
            client.run(task, wait=False)
        assert len([said for said in daemon.received if isinstance(said, Fetched)]) == 1


def test_a_daemon_that_does_not_take_note_of_that_keeps_nobody(tmp_path: Path) -> None:
    with fake_daemon(Script(deaf_to=frozenset({Fetched}))) as daemon, client_of(daemon) as client:
        job = client.run(shot(tmp_path)).job
        assert results(tmp_path) == plates(tmp_path)
        assert Fetched(job) in daemon.received


def test_a_daemon_says_how_it_does() -> None:
    with fake_daemon() as daemon, client_of(daemon) as client:
        health = client.health()
        assert (health.ready, [device.name for device in health.devices]) == (True, ["cpu"])
