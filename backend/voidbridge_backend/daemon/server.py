"""Sockets and the poll loop. Obeys the ledger and the scheduler; decides nothing about jobs.

One thread owns the sockets, the ledger and the job table. Files are written and read on two further threads, so
that a slow disk never keeps a cancel waiting; what they and the workers have to say comes in through `_news`.
"""

from __future__ import annotations

import logging
import queue
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import suppress

import zmq

from voidbridge_protocol.codec import Frame
from voidbridge_protocol.codec import ranges as as_ranges
from voidbridge_protocol.errors import (
    BadMessage,
    BadSetting,
    DaemonDraining,
    RequestError,
    SpoolFull,
    TooMany,
    VersionMismatch,
    VoidbridgeError,
)
from voidbridge_protocol.messages import (
    OLDEST,
    PROTOCOL,
    Accepted,
    Cancel,
    Credit,
    Fetched,
    Get,
    GetHealth,
    GetProvenance,
    GetRequest,
    Health,
    Hello,
    ImportFile,
    JobRequest,
    JoinBulk,
    Limits,
    ListJobs,
    Message,
    Missing,
    Offer,
    Ping,
    Pong,
    Provenance,
    Put,
    Query,
    Ready,
    Request,
    Submit,
    Watch,
    Welcome,
)
from voidbridge_protocol.operations import operations

from .files.cleanup import Cleanup
from .files.downloads import Downloads
from .files.file_import import FileImport
from .files.io_threads import IoThreads
from .files.rate_limit import RateLimit
from .files.retention import Policy
from .files.shares import Shares
from .files.spool import Spool, UserFile
from .files.uploads import Uploads
from .jobs.prepared import Prepared
from .jobs.request_parser import RequestParser
from .jobs.service import JobService
from .net.allowed_keys import Identity
from .net.notifications import Notifications
from .net.replies import TABLE_FULL, Replies
from .net.router import Malformed, PeerId, Received, Router
from .net.sessions import Session, Sessions
from .observe import metrics
from .observe.metrics import Metrics
from .workers.pool import WorkerPool

log = logging.getLogger(__name__)

POLL_MS = 200
POLL_BUSY_MS = 10
"""The same while pieces wait for room, of which no message tells."""
NEEDS_NO_TABLE = (Hello, Ping, Pong, GetHealth)
"""Messages that are answered even if the job table cannot be written; others may depend on unwritten changes."""
REPORT_S = 1.0
RELEASE_S = 10.0
"""Jobs whose clients are gone are looked for so often."""
RESULTS_A_MESSAGE = 1000
FORGET_S = 60.0
"""Seconds of silence after which a client is forgotten; it should ping every two seconds."""


class Daemon:
    """Serves until `stop` is called, from any thread or signal handler."""

    def __init__(
        self,
        router: Router,
        job_service: JobService,
        spool: Spool,
        worker_pool: Callable[[Callable[[Callable[[], None]], None]], WorkerPool],
        policy: Policy,
        limits: Limits,
        most_clients: int,
        max_priority: int,
        pace: RateLimit,
        shares: Shares,
        software: str,
    ) -> None:
        self._job_service = job_service
        self._spool = spool
        self._limits = limits
        self._software = software
        self._router = router
        self._epoch = uuid.uuid4().hex
        self._wakeup, self._wake_end = socket.socketpair()
        self._wake_end.setblocking(False)
        self._wakeup.setblocking(False)
        self._mailbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._disk = IoThreads(spool, self._notify)
        self._parser = RequestParser(spool, self._notify)
        self._worker_pool = worker_pool(self._notify)
        self._replies = Replies(self._reply, job_service.store.is_committed)
        self._sessions = Sessions(most_clients)
        self._max_priority = max_priority
        self._pace = pace
        self._cleanup = Cleanup(
            job_service, spool, self._disk, policy, lambda job: bool(self._sessions.watching(job))
        )
        self._file_import = FileImport(shares, spool, self._disk, self._epoch, self._notify)
        self._uploads = Uploads(
            job_service, self._disk, self._cleanup, limits, pace, self._file_import, self._bulk
        )
        self._downloads = Downloads(
            job_service,
            self._disk,
            limits,
            lambda session: router.unsent(session.bulk) if session.bulk else (0, 0),
            self._bulk,
        )
        self._notifications = Notifications(router, job_service, self._sessions, self._reply)
        self.report: Callable[[Metrics], None] = lambda metrics: None
        """Receives the metrics every second."""
        self._reported = self._released = 0.0
        self._stopping = False
        self._drain_s = 0.0
        self._stopped_at: float | None = None

    def stop(self, drain_s: float = 0.0) -> None:
        """Ends `serve`. It accepts no new jobs; running ones may continue for `drain_s` seconds, then stop at
        their next step.

        The queue stays unchanged. A second call does not wait.
        """
        self._drain_s = 0.0 if self._stopping else drain_s
        self._stopping = True

    def reset_quarantine(self) -> None:
        """Tries every device again at once, including quarantined ones. Callable from anywhere, like `stop`."""
        self._notify(self._worker_pool.reset_quarantine)

    def serve(self) -> None:
        """The poll loop."""
        poller = zmq.Poller()
        self._router.register(poller)
        poller.register(self._wake_end, zmq.POLLIN)
        try:
            while not self._is_over(time.monotonic()):
                ready = dict(poller.poll(self._wait_ms()))
                if self._wake_end.fileno() in ready:
                    self._drain_mailbox()
                self._receive()
                self._worker_pool.execute()
                now = time.monotonic()
                self._worker_pool.tick(now)
                self._cleanup.tick(now)
                self._file_import.tick(now, is_full=self._cleanup.full is not None)
                self._report(now)
                self._forget(now)
                self._release_promises(now)
                self._downloads.tick()
                self._disk.tick(now)
                for give_back in self._pace.due(now):
                    give_back()
                self._flush()
        finally:
            self._close()

    def _wait_ms(self) -> int:
        """Returns the maximum wait of the next turn in milliseconds."""
        if self._notifications.is_behind:
            return 0
        most = POLL_BUSY_MS if self._downloads.is_waiting else POLL_MS
        return int(1000 * self._pace.next_in(time.monotonic(), most / 1000)) + 1

    def _is_over(self, now: float) -> bool:
        """Lets running jobs finish first, then asks them to stop; questions are answered meanwhile."""
        if not self._stopping:
            return False
        if self._stopped_at is None:
            log.info("stopping", extra={"drain_s": self._drain_s})
            self._job_service.set_blocked("drain", DaemonDraining("the daemon is stopping"))
            self._stopped_at = now
        if self._worker_pool.busy and now - self._stopped_at < self._drain_s:
            return False
        self._worker_pool.ask_to_stop(now)
        return self._worker_pool.has_stopped(now)

    def _close(self) -> None:
        self._worker_pool.stop()
        self._disk.close()
        self._parser.close()
        self._router.close()

    # -- news from other threads --------------------------------------------------------------------

    def _notify(self, call: Callable[[], None]) -> None:
        """Runs a function on the daemon's own thread. Callable from any thread."""
        self._mailbox.put(call)
        with suppress(OSError):  # full: a wakeup is pending already; closed: no reader is left
            self._wakeup.send(b"!")

    def _drain_mailbox(self) -> None:
        with suppress(BlockingIOError):
            while self._wake_end.recv(4096):
                pass
        while not self._mailbox.empty():
            self._mailbox.get()()

    # -- what clients say ---------------------------------------------------------------------------

    def _receive(self) -> None:
        for received in self._router.receive():
            try:
                if isinstance(received, Malformed):
                    raise received.error
                self._handle(received)
                self._router.mark_authenticated(received)
            except VoidbridgeError as error:
                self._send(received.line, self._router.refusal(received.line, received.peer, error))

    def _handle(self, received: Received) -> None:
        line, peer, _, identity, message, payload = received
        if isinstance(message, Hello):
            self._send(line, self._welcome(line, peer, identity, message))
        elif isinstance(message, JoinBulk):
            session = self._sessions.join_bulk(message.session, line, identity)
            self._router.assign(line, session.user)
            self._send(line, Credit(self._limits.window - session.spent))
        else:
            session = self._sessions.of(line, identity, time.monotonic())
            if job := getattr(message, "job", ""):  # any request about a job, on either socket
                self._job_service.require_visible(job, session.sees)
            (self._on_bulk if line.bulk else self._on_control)(session, message, payload)

    def _send(self, line: PeerId, message: Message, payload: Frame | None = None) -> None:
        """Control messages wait until their job is on disk; bulk messages go out at once."""
        (self._reply if line.bulk else self._replies.send)(line, message, payload)

    def _reply(self, line: PeerId, message: Message, payload: Frame | None = None) -> None:
        if not self._router.send(line, message, payload):
            self._disconnect(line)

    def _bulk(self, session: Session, message: Message, payload: Frame | None = None) -> None:
        if session.bulk:  # otherwise the connection was lost meanwhile
            self._send(session.bulk, message, payload)

    def _disconnect(self, line: PeerId) -> None:
        """Forgets a client, which has to say hello again; its files stay."""
        for each in self._sessions.lines_of(line):
            self._router.forget(each)
        self._uploads.leave(self._sessions.disconnected(line))

    def _release_promises(self, now: float) -> None:
        if now - self._released > RELEASE_S:
            self._released = now
            self._job_service.trim_history()
            self._job_service.release_promises(now, lambda job: bool(self._sessions.watching(job)))

    def _forget(self, now: float) -> None:
        """Forgets silent clients and those whose key is no longer allowed."""
        self._router.tick(now)
        for line in self._sessions.expired(now - FORGET_S, self._router.is_allowed):
            self._disconnect(line)

    def _on_control(self, session: Session, message: Message, payload: Frame | None) -> None:
        if self._job_service.store.behind and not isinstance(message, NEEDS_NO_TABLE):
            raise TABLE_FULL

        def answer(reply: Message, payload: Frame | None = None) -> None:
            self._send(session.control, reply, payload)

        match message:
            case Ping():
                answer(Pong())
            case Pong():
                pass
            case Submit():
                assert payload is not None
                self._submit(session, message, payload)
            case Offer():
                answer(self._offered(session, message))
            case Watch(job):
                self._watch(session, job)
            case Query(job):
                self._send_status(session.control, job)
            case Cancel(job):
                self._job_service.cancel(job)
                self._worker_pool.execute()
                answer(self._job_service.status(job))
            case ListJobs():
                self._notifications.begin_list(session)
            case GetRequest(job):
                self._answer_large(session, JobRequest(job), self._job_service.request(job))
            case GetProvenance(job):
                self._answer_large(session, Provenance(job), self._provenance(job))
            case Fetched(job):
                self._job_service.fetched(job)
                session.watching.discard(job)  # it has received everything
                answer(message)
            case GetHealth():
                answer(self._health())
            case _:
                raise BadMessage(
                    f"{message.kind!r} is not a client's message on the control socket"
                )

    def _welcome(self, line: PeerId, peer: str, identity: Identity, hello: Hello) -> Welcome:
        if line.bulk:
            raise BadMessage("'hello' is not valid on the bulk socket")
        version = min(hello.newest, PROTOCOL)
        if version < max(hello.oldest, OLDEST):
            raise VersionMismatch(
                f"the client ({hello.software}) speaks protocol {hello.oldest} to {hello.newest}; "
                f"this daemon ({self._software}) speaks {OLDEST} to {PROTOCOL}"
            )
        user = identity.user or hello.user
        if self._sessions.is_full(user):
            for old in self._sessions.of_user(user):
                self._send(old, Ping())  # reveals a client that has hung up
        self._uploads.leave(
            self._sessions.hello(hello.session, user, identity, line, time.monotonic())
        )
        self._router.assign(line, user)
        self._router.log_peer(peer, "hello", user=user, software=hello.software)
        return Welcome(
            version,
            self._software,
            self._epoch,
            self._router.announced,
            self._limits,
            engines=self._job_service.engines,
            user=user,
            shares=self._file_import.prefixes,
        )

    def _health(self) -> Health:
        counts = self._job_service.counts()
        return metrics.health(
            self._worker_pool.device_statuses(time.monotonic()),
            self._job_service.blocked_by,
            counts["queued"],
            counts["running"] + counts["cancelling"],
            self._spool.free_bytes(),
            self._job_service.damaged,
        )

    def _report(self, now: float) -> None:
        if now - self._reported > REPORT_S:
            self._reported = now
            self.report(
                Metrics(
                    self._health(),
                    self._job_service.counts(),
                    dict(self._job_service.ended),
                    self._cleanup.used,
                    self._cleanup.swept,
                    self._worker_pool.starts,
                    len(self._sessions),
                )
            )

    def _submit(self, session: Session, message: Submit, payload: Frame) -> None:
        if self._stopping:
            raise DaemonDraining("the daemon is stopping")
        if message.priority > self._max_priority and not session.identity.admin:
            raise BadSetting(
                f"the priority {message.priority} is above {self._max_priority}, the highest that "
                "this daemon gives to users",
                "Leave --priority out, or ask for a key that is allowed with --admin.",
            )
        if session.is_submitting:
            raise TooMany("the request that this client submitted before is still being read")
        session.is_submitting = True

        def parsed(found: Prepared | VoidbridgeError) -> None:
            try:
                if isinstance(found, VoidbridgeError):
                    raise found
                self._submit_parsed(session, message, found)
            except VoidbridgeError as error:
                self._refuse_submit(session, error)

        try:
            self._parser.parse(session.user, payload, parsed)
        except VoidbridgeError:
            session.is_submitting = False
            raise

    def _refuse_submit(self, session: Session, error: VoidbridgeError) -> None:
        session.is_submitting = False
        self._send(session.control, self._router.refusal(session.control, session.user, error))

    def _submit_late(self, session: Session, message: Submit, prepared: Prepared) -> None:
        """Submits again after cleanup has freed all possible space."""
        try:
            self._submit_parsed(session, message, prepared, may_wait=False)
        except VoidbridgeError as error:
            self._refuse_submit(session, error)

    def _submit_parsed(
        self, session: Session, message: Submit, prepared: Prepared, may_wait: bool = True
    ) -> None:
        request = prepared.request
        self._check_limits(request)
        try:
            made = self._job_service.submit(
                session.user, request, message.priority, message.force, prepared
            )
        except SpoolFull:
            if not may_wait:
                raise
            room = self._job_service.room_for(prepared)
            self._cleanup.make_room(room, lambda: self._submit_late(session, message, prepared))
            return
        session.is_submitting = False
        session.watching.add(made.job)
        self._send(
            session.control,
            Accepted(made.job, made.state, as_ranges(made.need), tuple(made.partial)),
        )
        self._worker_pool.execute()
        self._send_status(session.control, made.job)

    def _check_limits(self, request: Request) -> None:
        """Raises `RequestError` beyond this daemon's limits."""
        results = request.last - request.first + 1
        frames = max(results, len({file.frame for file in request.files}))
        if frames > self._limits.frames:
            raise RequestError(
                f"the job has {frames} frames; this daemon allows {self._limits.frames}"
            )
        for file in request.files:
            if file.size > self._limits.file:
                raise RequestError(
                    f"{file.role} frame {file.frame} has {file.size / 2**20:.0f} MB; "
                    f"this daemon allows {self._limits.file / 2**20:.0f} MB per file"
                )

    def _offered(self, session: Session, offer: Offer) -> Missing:
        most = max(len(kind.roles) for kind in operations().values()) * self._limits.frames
        if len(session.offered) + len(offer.files) > most:
            raise RequestError(f"{most} files are offered; no job of this daemon has more")
        self._job_service.offered(offer.operation, offer.engine)
        need, partial = self._job_service.missing(session.user, offer.files)
        for index in need:
            file = offer.files[index]
            session.offered[UserFile(session.user, file.sha256)] = file.size
        return Missing(as_ranges(need), tuple(partial))

    def _watch(self, session: Session, job: str) -> None:
        self._send_status(session.control, job)
        self._job_service.use(job)
        session.watching.add(job)

    def _send_status(self, line: PeerId, job: str) -> None:
        """Sends the complete state of a job."""
        results = self._job_service.results_of(job)
        self._send(line, self._job_service.status(job))
        for i in range(0, len(results), RESULTS_A_MESSAGE):
            part = tuple(results[i : i + RESULTS_A_MESSAGE])
            self._send(line, Ready(job, part))

    def _answer_large(self, session: Session, message: Message, payload: bytes) -> None:
        """Raises `TooMany` while too much of what was said before has not left."""
        if not self._router.has_room(session.control, len(payload)):
            raise TooMany(
                f"{len(payload) / 2**20:.1f} MB are asked for, and earlier answers are not read yet",
                "Read what was asked for before, then ask again.",
            )
        self._send(session.control, message, payload)

    def _provenance(self, job: str) -> bytes:
        self._job_service.status(job)
        path = self._spool.provenance_path(job)
        if not path.is_file():
            raise RequestError(
                f"job {job} is not done", "Wait for it: `voidbridge status` shows it."
            )
        return path.read_bytes()

    def _on_bulk(self, session: Session, message: Message, payload: Frame | None) -> None:
        match message:
            case Ping():
                self._bulk(session, Pong())
            case Pong():
                pass
            case Put():
                assert payload is not None
                self._uploads.put(session, message, payload)
            case ImportFile():
                self._uploads.import_file(session, message)
            case Get():
                self._downloads.get(session, message)
            case _:
                raise BadMessage(f"{message.kind!r} is not a client's message on the bulk socket")

    # -- what clients hear --------------------------------------------------------------------------

    def _flush(self) -> None:
        """Sends the replies and notifications of this turn, whose changes are now on disk."""
        settled = self._job_service.commit()
        self._replies.release(settled)
        if settled:
            self._notifications.publish(time.monotonic())
