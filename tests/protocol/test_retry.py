"""A client gives up when nothing comes of its connections, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest
from voidbridge_artist import client_of, plates, results, shot

from voidbridge_protocol import retry
from voidbridge_protocol.errors import JobCancelled, NoProgress
from voidbridge_protocol.job_task import Listener
from voidbridge_protocol.retry import LONGEST_PAUSE_S, MOST, STEADY_S, RetryPolicy
from voidbridge_protocol.testing.fake_daemon import Script, fake_daemon
from voidbridge_protocol.wire.connection import ConnectionLost
from voidbridge_protocol.wire.messages import Get, Limits, Message, Put, Submit

GONE = ConnectionLost("the daemon closed the connection")


def test_a_connection_that_brings_something_is_followed_by_the_next_at_once() -> None:
    kept = RetryPolicy("ipc://box", 0.0)
    for turn in range(100):
        kept.connected(turn)
        assert kept.lost(GONE, ("bytes", turn), turn + 0.5) == 0.0


def test_without_anything_new_the_pauses_grow_and_have_an_end() -> None:
    kept = RetryPolicy("ipc://box", 0.0)
    assert kept.lost(GONE, "here", 1.0) == 0.0
    kept.connected(100.0)
    pauses = [kept.lost(GONE, "here", 100.0) for _ in range(MOST - 1)]
    with pytest.raises(
        NoProgress, match=r"ipc://box dropped the connection 9 times in 100 s .*closed"
    ) as end:
        kept.lost(GONE, "here", 101.0)
    assert pauses == sorted(pauses)
    assert 0 < pauses[0] < pauses[-1] <= LONGEST_PAUSE_S
    assert end.value.__cause__ is GONE


@pytest.mark.parametrize("what", ["something new", "a long connection"])
def test_one_good_connection_forgives_all(what: str) -> None:
    kept, now, reached = RetryPolicy("ipc://box", 0.0), 0.0, 0
    for turn in range(50):
        kept.connected(now)
        good = turn % (MOST - 1) == 0
        reached += good and what == "something new"
        now += STEADY_S + 1 if good and what == "a long connection" else 1.0
        kept.lost(GONE, reached, now)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "LONGEST_PAUSE_S", 0.01)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("deadly", [Submit, Put, Get], ids=lambda kind: kind.kind)
def test_a_daemon_that_dies_of_the_same_message_each_time_is_given_up(
    tmp_path: Path, deadly: type[Message]
) -> None:
    trouble: list[str] = []
    script = Script(dies_of=frozenset({deadly}))
    with fake_daemon(script) as daemon, client_of(daemon) as client:
        with pytest.raises(NoProgress, match="dropped the connection 9 times"):
            client.run(shot(tmp_path), Listener(trouble=trouble.append))
    assert len(trouble) == MOST
    assert daemon.lives >= MOST + 1
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.usefixtures("quick")
def test_many_deaths_are_survived_as_long_as_each_life_brings_something(tmp_path: Path) -> None:
    task = shot(tmp_path, frames=12, size=4000)
    deaths = tuple(range(3000, 90_000, 4000))
    script = Script(limits=Limits(chunk=1000, window=2000), dies_at=deaths)
    with fake_daemon(script) as daemon, client_of(daemon) as client:
        client.run(task)
    assert daemon.lives > 2 * MOST
    assert results(tmp_path) == plates(tmp_path)


def test_who_gives_up_in_a_pause_is_free(tmp_path: Path) -> None:
    trouble: list[str] = []
    listener = Listener(trouble=trouble.append, should_cancel=lambda: len(trouble) > 3)
    with fake_daemon(Script(dies_of=frozenset({Submit}))) as daemon, client_of(daemon) as client:
        with pytest.raises(JobCancelled):
            client.run(shot(tmp_path), listener)
