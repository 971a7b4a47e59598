"""A client survives dead daemons, damaged files and silence."""

import threading
import time
from pathlib import Path

import pytest
from voidbridge_artist import client_of, plates, results, shot

from voidbridge_protocol.errors import (
    DaemonUnavailable,
    JobCancelled,
    TransferFailed,
)
from voidbridge_protocol.job_task import Listener
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.testing.fake_daemon import FakeDaemon, Script, fake_daemon
from voidbridge_protocol.wire import connection
from voidbridge_protocol.wire.messages import Get, Hello, Limits, Ping, Put, Status, Submit, Watch

SMALL = Limits(chunk=1000, window=4000)


# -- what is survived -------------------------------------------------------------------------------


def test_a_daemon_that_dies_in_the_middle_of_an_upload_is_sent_only_what_is_missing(
    tmp_path: Path,
) -> None:
    trouble: list[str] = []
    task = shot(tmp_path, frames=4, size=8000)
    total = 8 * 8000
    script = Script(limits=SMALL, dies_at=(11_000, 37_000))
    with fake_daemon(script) as daemon, client_of(daemon) as client:
        outcome = client.run(task, Listener(trouble=trouble.append))

    assert daemon.lives == 3
    assert trouble
    assert results(tmp_path) == plates(tmp_path)
    # At each death one window may be on its way; what was taken is not sent again.
    assert total <= daemon.taken <= total + 2 * SMALL.window
    assert total <= outcome.uploaded <= total + 2 * SMALL.window


def test_a_daemon_that_dies_while_it_gives_is_asked_only_for_what_is_missing(
    tmp_path: Path,
) -> None:
    task = shot(tmp_path, frames=3, size=8000)
    script = Script(limits=SMALL, dies_giving=(5, 16))
    with fake_daemon(script) as daemon, client_of(daemon) as client:
        outcome = client.run(task)

    assert daemon.lives == 3
    assert results(tmp_path) == plates(tmp_path)
    assert outcome.uploaded == 6 * 8000
    submits = [m for m in daemon.received if isinstance(m, Submit)]
    watches = [m for m in daemon.received if isinstance(m, Watch)]
    assert (len(submits), len(watches)) == (1, 2), "what was uploaded is watched, not started anew"


def test_a_daemon_that_does_not_come_back_is_given_up(tmp_path: Path) -> None:
    task = shot(tmp_path)
    trouble = threading.Event()
    daemon = FakeDaemon(Script(holds=True))
    daemon.start()

    def told(status: Status) -> None:
        if status.state is JobState.RUNNING:
            daemon.stop()

    with client_of(daemon, patience=0.3, reconnect=0.5) as client:
        with pytest.raises(DaemonUnavailable):
            client.run(task, Listener(status=told, trouble=lambda text: trouble.set()))
    assert trouble.is_set()


def test_who_cancels_while_the_daemon_is_away_is_free(tmp_path: Path) -> None:
    daemon = FakeDaemon(Script(holds=True))
    daemon.start()
    gone = threading.Event()

    def told(status: Status) -> None:
        if status.state is JobState.RUNNING:
            daemon.stop()
            gone.set()

    with client_of(daemon, patience=0.3, reconnect=60.0) as client:
        with pytest.raises(JobCancelled):
            client.run(shot(tmp_path), Listener(status=told, should_cancel=gone.is_set))


def test_a_question_after_the_daemon_was_restarted_is_asked_again(tmp_path: Path) -> None:
    script = Script(dies_giving=(2,))
    with fake_daemon(script) as daemon, client_of(daemon) as idle:
        assert idle.jobs() == []
        with client_of(daemon) as client:
            job = client.run(shot(tmp_path)).job
        assert daemon.lives == 2
        assert idle.status(job).state is JobState.DONE


def test_uploads_that_arrive_damaged_are_sent_again(tmp_path: Path) -> None:
    with fake_daemon(Script(limits=SMALL, spoilt_uploads=2)) as daemon, client_of(daemon) as client:
        outcome = client.run(shot(tmp_path))
    assert outcome.uploaded == 6 * 2500
    assert results(tmp_path) == plates(tmp_path)


def test_a_file_that_always_arrives_damaged_ends_the_upload_with_its_name(tmp_path: Path) -> None:
    with fake_daemon(Script(spoilt_uploads=99)) as daemon, client_of(daemon) as client:
        with pytest.raises(TransferFailed, match=r"\.exr: the bytes have another hash"):
            client.run(shot(tmp_path))


def test_results_that_arrive_damaged_are_fetched_again(tmp_path: Path) -> None:
    with fake_daemon(Script(limits=SMALL, spoilt_chunks=2)) as daemon, client_of(daemon) as client:
        client.run(shot(tmp_path))
    assert results(tmp_path) == plates(tmp_path)
    verified = [get for get in daemon.received if isinstance(get, Get) and get.verify]
    assert verified
    assert {get.offset for get in verified} == {0}
    assert not list(tmp_path.rglob("*.tmp"))


def test_what_is_sent_only_grows_and_ends_at_the_whole(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    listener = Listener(sent=lambda sent, total: told.append((sent, total)))
    script = Script(limits=SMALL, dies_at=(30_000,))
    with fake_daemon(script) as daemon, client_of(daemon) as client:
        client.run(shot(tmp_path, size=20_000), listener)
    assert [sent for sent, _ in told] == sorted(sent for sent, _ in told)
    assert told[-1][0] == told[-1][1]


def test_a_daemon_that_takes_nothing_is_not_sent_more_than_the_window(tmp_path: Path) -> None:
    task = shot(tmp_path, frames=2, size=20_000)
    sent: list[int] = []
    looks = 0

    def should_cancel() -> bool:
        """A while after the window is full."""
        nonlocal looks
        looks += bool(sent) and sent[-1] >= SMALL.window
        return looks > 10

    listener = Listener(sent=lambda done, total: sent.append(done), should_cancel=should_cancel)
    script = Script(limits=SMALL, deaf_to=frozenset({Put}))
    with fake_daemon(script) as daemon, client_of(daemon) as client:
        with pytest.raises(JobCancelled):
            client.run(task, listener)
    assert sent[-1] == SMALL.window


# -- life -------------------------------------------------------------------------------------------


class Clock:
    """A connection's, which a test sets forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Pings follow each other sooner than in earnest."""
    made = Clock()
    monkeypatch.setattr(connection, "time", made)
    monkeypatch.setattr(connection, "PING_EVERY_S", 0.3)
    return made


@pytest.mark.usefixtures("clock")
def test_a_daemon_that_answers_pings_is_alive_however_long_a_job_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SILENCE_S", 2.0)
    trouble: list[str] = []

    def pings() -> int:
        return sum(isinstance(message, Ping) for message in daemon.received)

    began = time.monotonic()
    listener = Listener(
        trouble=trouble.append,
        should_cancel=lambda: pings() >= 8 and time.monotonic() - began > 2.5,
    )
    with fake_daemon(Script(holds=True)) as daemon, client_of(daemon) as client:
        with pytest.raises(JobCancelled):
            client.run(shot(tmp_path), listener)
    assert trouble == []


@pytest.mark.usefixtures("clock")
def test_a_daemon_that_falls_silent_is_left_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SILENCE_S", 0.5)
    trouble: list[str] = []
    listener = Listener(trouble=trouble.append, should_cancel=lambda: bool(trouble))
    script = Script(holds=True, deaf_to=frozenset({Ping}))
    with fake_daemon(script) as daemon, client_of(daemon) as client:
        with pytest.raises(JobCancelled):
            client.run(shot(tmp_path), listener)
    assert "silent for 0.5 s" in trouble[0]


def test_a_client_that_was_busy_itself_does_not_blame_the_daemon(
    tmp_path: Path, clock: Clock
) -> None:
    trouble: list[str] = []

    def look_at_it(frame: int) -> None:
        clock.ahead += 3 * connection.SILENCE_S

    listener = Listener(fetched=look_at_it, trouble=trouble.append)
    with fake_daemon() as daemon, client_of(daemon) as client:
        assert client.run(shot(tmp_path), listener).frames == [1001, 1002]
    assert (trouble, daemon.lives) == ([], 1)


def test_questions_may_be_far_apart(clock: Clock) -> None:
    with fake_daemon() as daemon, client_of(daemon) as client:
        assert client.jobs() == []
        clock.ahead += 3 * connection.SILENCE_S
        assert client.jobs() == []
    assert sum(isinstance(message, Hello) for message in daemon.received) == 1


@pytest.mark.parametrize(
    ("control", "announced", "bulk"),
    [
        ("tcp://render7:5577", "5578", "tcp://render7:5578"),
        ("tcp://[::1]:5577", "9", "tcp://[::1]:9"),
        ("ipc:///run/vb", "ipc:///run/vb.bulk", "ipc:///run/vb.bulk"),
    ],
)
def test_the_bulk_socket_is_on_the_host_that_we_know(
    control: str, announced: str, bulk: str
) -> None:
    assert connection.bulk_address(control, announced) == bulk
