"""The poll loop. It decides nothing about jobs.

One thread owns the sockets, the job service and the job table. Further threads read and write files, parse large
requests and listen to workers, so a slow disk never delays a cancel. Their results come in through a `Mailbox`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import zmq

from voidbridge_protocol.errors import DaemonDraining, VoidbridgeError

from .files.rate_limit import RateLimit
from .handlers import Handlers
from .jobs.request_parser import RequestParser
from .mailbox import Mailbox
from .net.router import Malformed
from .observe.metrics import Metrics
from .store.io_threads import IoThreads

log = logging.getLogger(__name__)

POLL_MS = 200
"""Maximum wait of one turn, in milliseconds."""
POLL_BUSY_MS = 10
"""The same while a download waits, because no message tells when its client is ready."""
REPORT_S = 1.0
"""Seconds between two reports of metrics."""
RELEASE_S = 10.0
"""Seconds between searches for jobs whose clients are gone, and for old jobs."""
TRIM_S = 0.1
"""Seconds between two steps of forgetting old jobs."""


@dataclass
class Daemon:
    """Serves until `stop` is called, from any thread or signal handler."""

    mailbox: Mailbox
    handlers: Handlers
    io_threads: IoThreads
    parser: RequestParser
    rate_limit: RateLimit
    report: Callable[[Metrics], None] = field(default=lambda metrics: None)
    """Receives the metrics every second."""

    def __post_init__(self) -> None:
        self._clients = self.handlers.clients
        self._router = self.handlers.clients.router
        self._job_service = self.handlers.job_service
        self._worker_pool = self.handlers.worker_pool
        self._submissions = self.handlers.submissions
        self._cleanup = self.handlers.submissions.cleanup
        self._reported = self._released = self._trimmed = 0.0
        self._trims_more = False
        self._drain_s = 0.0
        self._stopped_at: float | None = None

    def stop(self, drain_s: float = 0.0) -> None:
        """Makes `serve` end. From now on the daemon accepts no new jobs.

        Running jobs may continue for `drain_s` seconds, then they stop at their next step. The queue stays
        unchanged. A second call ends the wait.
        """
        self._drain_s = 0.0 if self._submissions.is_draining else drain_s
        self._submissions.is_draining = True
        self.mailbox.put(lambda: None)  # a signal does not end the poll, so the loop is woken

    def reset_quarantine(self) -> None:
        """Tries every device again at once, including quarantined ones. Callable from anywhere, like `stop`."""
        self.mailbox.put(self._worker_pool.reset_quarantine)

    def serve(self) -> None:
        """Runs the poll loop."""
        poller = zmq.Poller()
        self._router.register(poller)
        self.mailbox.register(poller)
        try:
            while not self._advance_stop(time.monotonic()):
                poller.poll(self._wait_ms())
                self.mailbox.run_calls()
                self._receive()
                self._worker_pool.execute()
                self._tick(time.monotonic())
                self._flush()
        finally:
            self._close()

    def _advance_stop(self, now: float) -> bool:
        """Takes the next step of a stop, if one was requested. Returns True once every worker has stopped.

        Running jobs get their time first, then they are asked to stop. The daemon answers questions meanwhile.
        """
        if not self._submissions.is_draining:
            return False
        if self._stopped_at is None:
            log.info("stopping", extra={"drain_s": self._drain_s})
            self._job_service.set_blocked("drain", DaemonDraining("the daemon is stopping"))
            self._stopped_at = now
        if self._worker_pool.busy and now - self._stopped_at < self._drain_s:
            return False
        self._worker_pool.ask_to_stop(now)
        return self._worker_pool.has_stopped(now)

    def _wait_ms(self) -> int:
        """Returns the maximum wait of the next turn in milliseconds."""
        if self.handlers.notifications.is_behind:
            return 0
        most = POLL_BUSY_MS if self.handlers.downloads.is_waiting else POLL_MS
        return int(1000 * self.rate_limit.next_in(time.monotonic(), most / 1000)) + 1

    def _receive(self) -> None:
        """Handles waiting messages. An error goes to the client that caused it."""
        for received in self._router.receive():
            try:
                if isinstance(received, Malformed):
                    raise received.error
                self.handlers.handle(received)
                self._router.mark_authenticated(received)
            except VoidbridgeError as error:
                self._clients.refuse(received.peer_id, received.sender, error)

    def _tick(self, now: float) -> None:
        """Does the work that depends on time."""
        self._worker_pool.tick(now)
        self._cleanup.tick(now)
        self.handlers.file_import.tick(now, is_full=self._cleanup.full is not None)
        self._report(now)
        self._router.tick(now)
        self._clients.forget_silent(now)
        self._expire(now)
        self.handlers.downloads.tick()
        self.io_threads.tick(now, self._router.large)
        for give_back in self.rate_limit.due(now):
            give_back()

    def _expire(self, now: float) -> None:
        """Forgets old jobs, and frees the room of jobs whose clients have left."""
        if now - self._trimmed > (TRIM_S if self._trims_more else RELEASE_S):
            self._trimmed = now
            self._trims_more = self._job_service.expiry.trim_history()
        if now - self._released > RELEASE_S:
            self._released = now
            self._job_service.records.log_suppressed(now)
            self._job_service.expiry.release_promises(now, self._clients.is_watched)

    def _report(self, now: float) -> None:
        if now - self._reported > REPORT_S:
            self._reported = now
            self.report(
                Metrics(
                    self.handlers.health(),
                    self._job_service.counts(),
                    dict(self._job_service.records.ended),
                    self._cleanup.used,
                    self._cleanup.swept,
                    self._worker_pool.starts,
                    len(self._clients.sessions),
                )
            )

    def _flush(self) -> None:
        """Writes this turn's changes to the disk, then sends its replies and notifications."""
        committed = self._job_service.commit()
        self._clients.release_replies(committed)
        if committed:
            self.handlers.notifications.publish(time.monotonic())

    def _close(self) -> None:
        self._worker_pool.stop()
        self.io_threads.close()
        self.parser.close()
        self._router.close()
