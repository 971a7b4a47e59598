"""Turns each message of a client into an action and an answer."""

from __future__ import annotations

import time
from dataclasses import dataclass

from voidbridge_protocol.errors import BadMessage, TooMany, VersionMismatch
from voidbridge_protocol.wire.codec import Frame
from voidbridge_protocol.wire.messages import (
    OLDEST,
    PROTOCOL,
    Cancel,
    Credit,
    Fetched,
    Get,
    GetHealth,
    GetMeasurements,
    GetProvenance,
    GetRequest,
    Health,
    Hello,
    ImportFile,
    JobRequest,
    JoinBulk,
    Limits,
    ListJobs,
    Measurements,
    Message,
    Offer,
    Ping,
    Pong,
    Provenance,
    Put,
    Query,
    Submit,
    Watch,
    Welcome,
)

from .files.downloads import Downloads
from .files.file_import import FileImport
from .files.uploads import Uploads
from .jobs.service import JobService
from .net.clients import Clients
from .net.notifications import Notifications
from .net.replies import TABLE_FULL
from .net.router import Received
from .net.sessions import Session
from .observe import metrics
from .submissions import Submissions
from .workers.pool import WorkerPool

NEEDS_NO_TABLE = (Hello, Ping, Pong, GetHealth)
"""Messages that are answered even if the job table cannot be written; others may depend on unwritten changes."""


@dataclass
class Handlers:
    """One method for each longer answer. Used on the daemon's own thread."""

    clients: Clients
    job_service: JobService
    worker_pool: WorkerPool
    submissions: Submissions
    uploads: Uploads
    downloads: Downloads
    file_import: FileImport
    notifications: Notifications
    limits: Limits
    software: str
    epoch: str
    """A new value at each start of the daemon."""

    def handle(self, received: Received) -> None:
        """Raises `VoidbridgeError`, for the sender of the message."""
        peer_id, identity, message = received.peer_id, received.identity, received.message
        sessions = self.clients.sessions
        if isinstance(message, Hello):
            self.clients.send(peer_id, self._welcome(received, message))
        elif isinstance(message, JoinBulk):
            session = sessions.join_bulk(message.session, peer_id, identity)
            self.clients.router.assign(peer_id, session.user)
            self.clients.send(peer_id, Credit(self.limits.window - session.spent))
        else:
            session = sessions.of(peer_id, identity, time.monotonic())
            job = getattr(message, "job", None)
            if job is not None:  # any request about a job, on either socket
                self.job_service.require_visible(job, session.sees)
            (self._on_bulk if peer_id.bulk else self._on_control)(
                session, message, received.payload
            )

    def _on_control(self, session: Session, message: Message, payload: Frame | None) -> None:
        if self.job_service.store.behind and not isinstance(message, NEEDS_NO_TABLE):
            raise TABLE_FULL
        jobs = self.job_service

        def answer(reply: Message) -> None:
            self.clients.send(session.control, reply)

        match message:
            case Ping():
                answer(Pong())
            case Pong():
                pass
            case Submit():
                assert payload is not None
                self.submissions.submit(session, message, payload)
            case Offer():
                answer(self.submissions.offer(session, message))
            case Watch(job):
                self.submissions.watch(session, job)
            case Query(job):
                self.submissions.send_status(session.control, job)
            case Cancel(job):
                jobs.cancel(job)
                self.worker_pool.execute()
                answer(jobs.status(job))
            case ListJobs():
                self.notifications.begin_list(session)
            case GetRequest(job):
                self._answer_large(session, JobRequest(job), jobs.damage.request(job))
            case GetProvenance(job):
                self._answer_large(session, Provenance(job), jobs.damage.provenance(job))
            case Fetched(job):
                jobs.fetched(job)
                session.watching.discard(job)  # it has received everything
                answer(message)
            case GetHealth():
                answer(self.health())
            case GetMeasurements(operation, engine):
                found = jobs.measurements.of(session.user, operation, engine)
                self._answer_large(session, Measurements(operation, engine), found)
            case _:
                raise BadMessage(
                    f"{message.kind!r} is not a client's message on the control socket"
                )

    def _on_bulk(self, session: Session, message: Message, payload: Frame | None) -> None:
        match message:
            case Ping():
                self.clients.send_bulk(session, Pong())
            case Pong():
                pass
            case Put():
                assert payload is not None
                self.uploads.put(session, message, payload)
            case ImportFile():
                self.uploads.import_file(session, message)
            case Get():
                self.downloads.get(session, message)
            case _:
                raise BadMessage(f"{message.kind!r} is not a client's message on the bulk socket")

    def _welcome(self, received: Received, hello: Hello) -> Welcome:
        peer_id, identity, router = received.peer_id, received.identity, self.clients.router
        if peer_id.bulk:
            raise BadMessage("'hello' is not valid on the bulk socket")
        version = min(hello.newest, PROTOCOL)
        if version < max(hello.oldest, OLDEST):
            raise VersionMismatch(
                f"the client ({hello.software}) speaks protocol {hello.oldest} to {hello.newest}; "
                f"this daemon ({self.software}) speaks {OLDEST} to {PROTOCOL}"
            )
        user, sessions = identity.user or hello.user, self.clients.sessions
        if sessions.is_full(user):
            for old in sessions.of_user(user):
                self.clients.send(old, Ping())  # reveals a client that has hung up
        left = sessions.hello(hello.session, user, identity, peer_id, time.monotonic())
        self.uploads.leave(left)
        router.assign(peer_id, user)
        router.log_peer(received.sender, "hello", user=user, software=hello.software)
        return Welcome(
            version,
            self.software,
            self.epoch,
            router.announced,
            self.limits,
            engines=self.job_service.engines,
            user=user,
            shares=self.file_import.prefixes,
        )

    def health(self) -> Health:
        jobs, counts = self.job_service, self.job_service.counts()
        return metrics.health(
            self.worker_pool.device_statuses(time.monotonic()),
            jobs.blocked_by,
            counts["queued"],
            counts["running"] + counts["cancelling"],
            jobs.spool.free_bytes(),
            jobs.damage.found,
        )

    def _answer_large(self, session: Session, message: Message, payload: bytes) -> None:
        """Raises `TooMany` while too much of the earlier answers has not left."""
        if not self.clients.router.has_room(session.control, len(payload)):
            raise TooMany(
                f"{len(payload) / 2**20:.1f} MB are asked for, and earlier answers are not read yet",
                "Read what was asked for before, then ask again.",
            )
        self.clients.send(session.control, message, payload)
