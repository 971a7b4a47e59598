"""What daemons learned since the first: a client uses it where it is, and does without where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from voidbridge_artist import client_of, plates, results, shot

from voidbridge_protocol.messages import Fetched
from voidbridge_protocol.testing import Script, fake_daemon


def test_the_daemon_is_told_when_every_result_is_here(tmp_path: Path) -> None:
    task = shot(tmp_path)
    with fake_daemon() as daemon:
        with client_of(daemon) as client:
            job = client.run(task).job
        assert daemon.heard.count(Fetched(job)) == 1
        with client_of(daemon) as client:
            client.run(task, wait=False)
        assert len([said for said in daemon.heard if isinstance(said, Fetched)]) == 1


@pytest.mark.parametrize(
    "script", [Script(capabilities=()), Script(deaf_to=frozenset({Fetched}))], ids=["old", "deaf"]
)
def test_a_daemon_that_does_not_take_note_of_that_keeps_nobody(
    tmp_path: Path, script: Script
) -> None:
    with fake_daemon(script) as daemon, client_of(daemon) as client:
        client.run(shot(tmp_path))
        assert results(tmp_path) == plates(tmp_path)
        assert (Fetched.kind in {said.kind for said in daemon.heard}) == bool(script.deaf_to)


def test_a_daemon_says_how_it_does_unless_it_is_older_than_the_question() -> None:
    with fake_daemon() as daemon, client_of(daemon) as client:
        health = client.health()
        assert health
        assert (health.ready, [device.name for device in health.devices]) == (True, ["cpu"])
    with fake_daemon(Script(capabilities=())) as daemon, client_of(daemon) as client:
        assert client.health() is None
