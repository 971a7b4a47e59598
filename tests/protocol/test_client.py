"""A client and a daemon on real sockets: what arrives, what fails, what is survived."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from voidbridge_artist import client_of, plates, results, shot
from voidbridge_machine import in_time

from voidbridge_protocol.client import Client
from voidbridge_protocol.errors import (
    DaemonUnavailable,
    JobCancelled,
    OutOfMemory,
    UnknownJob,
    VersionMismatch,
)
from voidbridge_protocol.job_task import Listener
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.testing.fake_daemon import FakeDaemon, Script, fake_daemon
from voidbridge_protocol.wire.messages import (
    PROTOCOL,
    Cancel,
    Hello,
    Limits,
    Message,
    Put,
    Status,
    Submit,
)

SMALL = Limits(chunk=1000, window=4000)


# -- a job that ends well ---------------------------------------------------------------------------


def test_results_arrive_and_every_step_is_told(tmp_path: Path) -> None:
    told: list[Status] = []
    fetched: list[int] = []
    accepted: list[str] = []
    listener = Listener(status=told.append, fetched=fetched.append, accepted=accepted.append)
    task = shot(tmp_path)
    with fake_daemon(Script(warnings=("grainy",))) as daemon, client_of(daemon) as client:
        outcome = client.run(task, listener)

    assert results(tmp_path) == plates(tmp_path)
    assert outcome.frames == [1001, 1002] == sorted(fetched)
    assert outcome.job == task.request.key("ana") == accepted[0]
    assert outcome.uploaded == 4 * 2500
    assert outcome.warnings == ("grainy",)
    assert json.loads(outcome.provenance) == {"job": outcome.job}
    assert not outcome.from_store
    assert [s.step for s in told if s.state is JobState.RUNNING] == [0, 1, 2]
    assert told[-1].state is JobState.DONE


def test_many_small_results_at_once_do_not_jam_the_sockets(tmp_path: Path) -> None:
    trouble: list[str] = []
    task = shot(tmp_path, frames=150, size=40)
    with fake_daemon() as daemon, client_of(daemon) as client:
        outcome = client.run(task, Listener(trouble=trouble.append))
    assert (len(outcome.frames), trouble, daemon.lives) == (150, [], 1)
    assert results(tmp_path) == plates(tmp_path)


def test_the_same_request_again_is_answered_from_the_store(tmp_path: Path) -> None:
    task = shot(tmp_path)
    with fake_daemon() as daemon:
        with client_of(daemon) as client:
            first = client.run(task)
        with client_of(daemon) as client:
            second = client.run(task)
    assert (second.job, second.from_store, second.uploaded) == (first.job, True, 0)
    assert second.frames == [1001, 1002]


def test_files_that_the_daemon_has_are_not_sent(tmp_path: Path) -> None:
    task = shot(tmp_path)
    with fake_daemon() as daemon, client_of(daemon) as client:
        for file, path in zip(task.request.files[:3], task.sources[:3], strict=True):
            daemon.objects[file.sha256] = path.read_bytes()
        assert client.run(task).uploaded == 2500
    assert {m.sha256 for m in daemon.received if isinstance(m, Put)} == {
        task.request.files[3].sha256
    }


def test_without_waiting_the_client_leaves_once_everything_is_in_the_spool(tmp_path: Path) -> None:
    task = shot(tmp_path)
    with fake_daemon(Script(holds=True)) as daemon, client_of(daemon) as client:
        outcome = client.run(task, wait=False)
        assert (outcome.frames, outcome.uploaded) == ([], 4 * 2500)
        assert len(daemon.objects) == 4
        assert not (tmp_path / "out").exists()
        assert client.status(outcome.job).state is JobState.RUNNING


def test_results_can_be_fetched_later_by_somebody_who_knows_the_job(tmp_path: Path) -> None:
    task = shot(tmp_path)
    with fake_daemon() as daemon:
        with client_of(daemon) as client:
            job = client.run(task, wait=False).job
        with client_of(daemon) as client:
            outcome = client.fetch(job, task.target)
    assert outcome.frames == [1001, 1002]
    assert results(tmp_path) == plates(tmp_path)


def test_jobs_are_listed_with_whom_they_belong_to(tmp_path: Path) -> None:
    with fake_daemon() as daemon, client_of(daemon) as client:
        assert client.jobs() == []
        job = client.run(shot(tmp_path)).job
        assert [(s.job, s.user, s.engine, s.state) for s in client.jobs()] == [
            (job, "ana", "echo", JobState.DONE)
        ]


# -- a job that does not ----------------------------------------------------------------------------


def test_a_failure_is_raised_as_the_error_that_the_daemon_named(tmp_path: Path) -> None:
    failure = OutOfMemory("needs 31 GB, 24 GB free", "Choose fewer frames.")
    with fake_daemon(Script(failure=failure)) as daemon, client_of(daemon) as client:
        with pytest.raises(OutOfMemory, match="31 GB") as raised:
            client.run(shot(tmp_path))
    assert raised.value.hint == "Choose fewer frames."


def test_an_unknown_job_is_said_so_and_the_connection_goes_on(tmp_path: Path) -> None:
    with fake_daemon() as daemon, client_of(daemon) as client:
        with pytest.raises(UnknownJob, match="no-such-job"):
            client.status("no-such-job")
        assert client.jobs() == []
        with pytest.raises(UnknownJob):
            client.fetch("no-such-job", shot(tmp_path).target)


def test_cancelling_ends_the_job_and_frees_the_client_at_once(tmp_path: Path) -> None:
    running: list[float] = []

    def told(status: Status) -> None:
        if status.state is JobState.RUNNING and not running:
            running.append(time.monotonic())

    listener = Listener(status=told, should_cancel=lambda: bool(running))
    with fake_daemon(Script(holds=True)) as daemon, client_of(daemon) as client:
        with pytest.raises(JobCancelled):
            client.run(shot(tmp_path), listener)
        assert in_time(time.monotonic() - running[0], 1.0)
        assert [s.state for s in client.jobs()] == [JobState.CANCELLED]
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_cancel_between_submit_and_accepted_reaches_the_job(tmp_path: Path) -> None:
    with fake_daemon(Script(holds=True)) as daemon, client_of(daemon) as client:
        with pytest.raises(JobCancelled):
            client.run(shot(tmp_path), Listener(should_cancel=lambda: True))
        assert [s.state for s in client.jobs()] == [JobState.CANCELLED]
    assert [type(m) for m in daemon.received if isinstance(m, (Submit, Cancel))] == [Submit, Cancel]


def test_a_daemon_that_does_not_answer_a_cancel_is_not_waited_for(tmp_path: Path) -> None:
    script = Script(holds=True, deaf_to=frozenset({Cancel}))
    with fake_daemon(script) as daemon, client_of(daemon) as client:
        began = time.monotonic()
        with pytest.raises(JobCancelled, match="is being cancelled"):
            client.run(shot(tmp_path), Listener(should_cancel=lambda: True))
    assert in_time(time.monotonic() - began, 3)


def test_a_late_cancel_changes_nothing(tmp_path: Path) -> None:
    with fake_daemon() as daemon, client_of(daemon) as client:
        job = client.run(shot(tmp_path)).job
        assert client.cancel(job).state is JobState.DONE
        assert client.cancel(job).state is JobState.DONE


# -- nobody there, or somebody else -----------------------------------------------------------------


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken, and where nobody listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def test_where_nobody_listens_the_client_says_so_within_its_patience(closed_port: int) -> None:
    address = f"tcp://127.0.0.1:{closed_port}"
    began = time.monotonic()
    with pytest.raises(DaemonUnavailable, match=rf"{address} within 0\.3 s") as raised:
        with Client(address, user="ana", software="tests", patience=0.3):
            pass
    assert in_time(time.monotonic() - began, 2)
    assert "voidbridge serve" in raised.value.hint


def test_silence_is_not_waited_for_forever() -> None:
    with fake_daemon(Script(deaf_to=frozenset({Message}))) as daemon:
        with pytest.raises(DaemonUnavailable, match=r"no answer .* within 0\.2 s"):
            with client_of(daemon, patience=0.2):
                pass
    assert isinstance(daemon.received[0], Hello)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:5577", "tcp://", "tcp://127.0.0.1:port", "carrier://pigeon"]
)
def test_what_is_no_address_is_said_so(address: str) -> None:
    with pytest.raises(DaemonUnavailable, match="is not a valid daemon address") as raised:
        with Client(address, user="ana", software="tests", patience=0.2):
            pass
    assert "tcp://HOST:5577" in raised.value.hint


def test_another_version_is_refused_and_both_are_named() -> None:
    newer = PROTOCOL + 4
    with fake_daemon(Script(versions=(newer, newer))) as daemon:
        with pytest.raises(VersionMismatch, match=rf"\b{PROTOCOL}\b.*\b{newer}\b"):
            with client_of(daemon):
                pass


def test_a_daemon_that_chooses_what_the_client_does_not_speak_is_not_believed() -> None:
    class Stubborn(FakeDaemon):
        def _welcome(self, route: bytes, hello: Hello):  # type: ignore[no-untyped-def]
            return replace(super()._welcome(route, hello), version=PROTOCOL + 4)

    daemon = Stubborn(Script())
    daemon.start()
    try:
        with pytest.raises(VersionMismatch, match=rf"chose protocol {PROTOCOL + 4}.*{PROTOCOL} to"):
            with client_of(daemon):
                pass
    finally:
        daemon.stop()


def test_somebody_elses_server_is_no_daemon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak_http() -> None:
            try:
                for _ in range(3):
                    peer, _ = server.accept()
                    with peer:
                        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(64))
            except OSError:
                pass  # the test is over

        other = threading.Thread(target=speak_http, daemon=True)
        other.start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(DaemonUnavailable):
            with Client(address, user="ana", software="tests", patience=0.5):
                pass
        server.shutdown(socket.SHUT_RDWR)
    other.join()
