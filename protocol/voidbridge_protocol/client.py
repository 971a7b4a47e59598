"""The client API for hosts: submit, watch, cancel, list and fetch jobs of one daemon."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from .errors import BadMessage, DaemonUnavailable, UnknownSession
from .job_client import Fetch, Run
from .job_task import JobTask, Listener, Outcome
from .prefetch_upload import More, PrefetchUpload
from .transfer.source_guard import SourceGuard
from .wire import local_socket
from .wire.codec import decode_request
from .wire.connection import ConnectionLost, ConnectionOptions, ServerConnection
from .wire.keys import Keys
from .wire.messages import (
    OLDEST,
    PROTOCOL,
    Cancel,
    GetHealth,
    GetMeasurements,
    GetProvenance,
    GetRequest,
    Health,
    Hello,
    JobRequest,
    Listed,
    ListJobs,
    Measurements,
    Provenance,
    Query,
    Request,
    Status,
    Welcome,
)

PATIENCE_S = 4.0
"""Seconds to wait for an answer. An artist learns within five seconds that no daemon answers."""
AGAIN_S = 0.2
"""Seconds between two connection attempts."""
RECONNECT_S = 600.0

Answer = TypeVar("Answer")


class Client:
    """A client of the daemon at `address`. Use it as a context manager, on one thread.

    `user` owns the jobs if the daemon does not use `keys`; otherwise the key decides the user. Raises
    `DaemonUnavailable` if no daemon answers.
    """

    def __init__(
        self,
        address: str,
        *,
        user: str,
        software: str,
        patience: float = PATIENCE_S,
        reconnect: float = RECONNECT_S,
        keys: Keys | None = None,
    ) -> None:
        address = local_socket.resolved(address)
        hello = Hello(OLDEST, PROTOCOL, uuid.uuid4().hex, user, software)
        self._peer = ConnectionOptions(address, hello, patience, reconnect, keys)
        self._wire: ServerConnection | None = None

    def __enter__(self) -> Client:
        self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hang_up()

    @property
    def welcome(self) -> Welcome:
        """The daemon's `Welcome` message for this connection."""
        return self._open().welcome

    def status(self, job: str) -> Status:
        """Returns the current status of a job. Raises `UnknownJob`."""
        return self._ask(lambda wire: _status(wire, Query(job)))

    def cancel(self, job: str) -> Status:
        """Requests cancellation and returns the job's status. Raises `UnknownJob`."""
        return self._ask(lambda wire: _status(wire, Cancel(job)))

    def request(self, job: str) -> Request:
        """The request of a job, as it was submitted. Raises `UnknownJob`."""
        return self._ask(lambda wire: _request(wire, job))

    def provenance(self, job: str) -> bytes:
        """How the results of a done job were made, a JSON object. Raises `UnknownJob`, or says it is not done."""
        return self._ask(lambda wire: _provenance(wire, job))

    def jobs(self) -> list[Status]:
        """Returns every job that the daemon knows, oldest first."""
        return self._ask(_jobs)

    def measurements(self, operation: str, engine: str) -> bytes:
        """Returns time and memory of this user's earlier jobs: a JSON list, oldest first."""
        return self._ask(lambda wire: _measurements(wire, GetMeasurements(operation, engine)))

    def health(self) -> Health:
        """Returns the daemon's health."""
        return self._ask(_health)

    def run(self, task: JobTask, listener: Listener | None = None, *, wait: bool = True) -> Outcome:
        """Submits and uploads a job. Unless `wait` is off, also watches it and fetches its results.

        Raises the job's error. Cancelling (`Listener.should_cancel`) raises `JobCancelled`; finished frames stay.
        """
        return Run(self._give_away(), task, listener or Listener(), wait).carry_out()

    def prefetch(
        self,
        more: More,
        listener: Listener | None = None,
        operation: str = "remove",
        engine: str = "",
    ) -> Outcome:
        """Uploads files before their request exists, as `more` supplies them. Returns an outcome without a job.

        The daemon may load `engine` meanwhile. The call ends when `more` returns None, even if some files are
        still unsent; `run` continues from there. Raises any error of `more`, and `JobCancelled`.
        """
        return PrefetchUpload(
            self._give_away(), more, listener or Listener(), operation, engine
        ).carry_out()

    def fetch(
        self, job: str, target: Callable[[int], Path], listener: Listener | None = None
    ) -> Outcome:
        """Waits for a job that was submitted before and writes its results.

        Raises `OverwritesSource` before it replaces a file with the content of one of the job's sources.
        """
        sources = SourceGuard(self.request(job).files)
        return Fetch(self._give_away(), job, target, listener or Listener(), sources).carry_out()

    def _ask(self, ask: Callable[[ServerConnection], Answer]) -> Answer:
        """Retries once on a new connection if the daemon restarted or forgot the session."""
        try:
            return ask(self._open())
        except (ConnectionLost, UnknownSession):
            self._hang_up()
            return ask(self._open())
        except DaemonUnavailable:
            self._hang_up()  # otherwise a late answer would be taken for the answer to the next question
            raise

    def _open(self) -> ServerConnection:
        """Opens the connection. Retries within the patience if the daemon, such as a full one, closes it before
        `Welcome`.
        """
        until = time.monotonic() + self._peer.patience
        while self._wire is None:
            left = until - time.monotonic()
            try:
                self._wire = ServerConnection(self._peer, max(left, AGAIN_S))
            except ConnectionLost:
                if left <= AGAIN_S:
                    raise
                time.sleep(AGAIN_S)
        return self._wire

    def _give_away(self) -> ServerConnection:
        wire, self._wire = self._open(), None
        return wire

    def _hang_up(self) -> None:
        if self._wire:
            self._wire.close()
        self._wire = None


def _status(wire: ServerConnection, question: Query | Cancel) -> Status:
    wire.send(question)
    for message, _ in wire.answers():
        if isinstance(message, Status) and message.job == question.job:
            return message
    raise AssertionError("answers() ends by raising")


def _request(wire: ServerConnection, job: str) -> Request:
    wire.send(GetRequest(job))
    for message, payload in wire.answers():
        if isinstance(message, JobRequest) and message.job == job and payload is not None:
            return decode_request(payload)
    raise AssertionError("answers() ends by raising")


def _provenance(wire: ServerConnection, job: str) -> bytes:
    wire.send(GetProvenance(job))
    for message, payload in wire.answers():
        if isinstance(message, Provenance) and message.job == job:
            return bytes(payload or b"")
    raise AssertionError("answers() ends by raising")


def _measurements(wire: ServerConnection, question: GetMeasurements) -> bytes:
    wire.send(question)
    for message, payload in wire.answers():
        if isinstance(message, Measurements):
            return bytes(payload or b"")
    raise AssertionError("answers() ends by raising")


def _jobs(wire: ServerConnection) -> list[Status]:
    wire.send(ListJobs())
    found: list[Status] = []
    for message, _ in wire.answers():
        if isinstance(message, Status):
            found.append(message)
        elif isinstance(message, Listed):
            if len(found) < message.jobs:
                raise BadMessage(f"the daemon has {message.jobs} jobs and listed {len(found)}")
            break
    return found


def _health(wire: ServerConnection) -> Health:
    wire.send(GetHealth())
    for message, _ in wire.answers():
        if isinstance(message, Health):
            return message
    raise AssertionError("answers() ends by raising")
