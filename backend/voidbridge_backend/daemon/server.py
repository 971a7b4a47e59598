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
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain

import zmq

from voidbridge_protocol.codec import Frame, decode_request
from voidbridge_protocol.codec import ranges as as_ranges
from voidbridge_protocol.errors import (
    BadMessage,
    DaemonDraining,
    RequestError,
    SpoolFull,
    UnknownJob,
    VersionMismatch,
    VoidbridgeError,
)
from voidbridge_protocol.messages import (
    CAPABILITIES,
    OLDEST,
    PROTOCOL,
    Accepted,
    Attach,
    Cancel,
    Credit,
    Fetched,
    Get,
    GetHealth,
    GetProvenance,
    HandOver,
    Health,
    Hello,
    Lacking,
    Limits,
    Listed,
    ListJobs,
    Message,
    Offer,
    Ping,
    Pong,
    Provenance,
    Put,
    Query,
    Ready,
    Refused,
    Submit,
    Watch,
    Welcome,
)
from voidbridge_protocol.request import ROLES

from .files.cleanup import Janitor
from .files.file_import import Takeover
from .files.io_threads import Disk
from .files.rate_limit import Pace
from .files.retention import Policy
from .files.shares import Shares
from .files.spool import Owned, Spool
from .files.uploads import Intake
from .jobs.service import Ledger
from .net.allowed_keys import Guest
from .net.notifications import Bulletin
from .net.replies import TABLE_FULL, Outbox
from .net.router import Garbled, Gate, Heard, Line
from .net.sessions import Session, Sessions
from .observe import metrics
from .observe.metrics import Vitals
from .workers.pool import Crew

log = logging.getLogger(__name__)

POLL_MS = 200
NEEDS_NO_TABLE = (Hello, Ping, Pong, GetHealth)
"""What is answered although the table of jobs cannot be written; all else might tell of what is written nowhere."""
REPORT_S = 1.0
RESULTS_A_MESSAGE = 1000
FORGET_S = 60.0
"""A client that says nothing for so long, where it should ping every two seconds, is gone."""


class Daemon:
    """Serves until `stop` is called, from any thread or signal handler."""

    def __init__(
        self,
        gate: Gate,
        ledger: Ledger,
        spool: Spool,
        crew: Callable[[Callable[[Callable[[], None]], None]], Crew],
        policy: Policy,
        limits: Limits,
        most_clients: int,
        pace: Pace,
        shares: Shares,
        software: str,
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._limits = limits
        self._software = software
        self._gate = gate
        self._epoch = uuid.uuid4().hex
        self._bell, self._wake_end = socket.socketpair()
        self._wake_end.setblocking(False)
        self._bell.setblocking(False)
        self._news: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._disk = Disk(spool, self._tell)
        self._crew = crew(self._tell)
        self._outbox = Outbox(self._say, ledger.store.is_settled)
        self._sessions = Sessions(most_clients)
        self._pace = pace
        self._janitor = Janitor(
            ledger, spool, self._disk, policy, lambda job: bool(self._sessions.watching(job))
        )
        self._takeover = Takeover(shares, spool, self._disk, self._epoch, self._tell)
        self._intake = Intake(
            ledger, self._disk, self._janitor, limits, pace, self._takeover, self._bulk
        )
        self._bulletin = Bulletin(gate, ledger, self._sessions, self._say)
        self.report: Callable[[Vitals], None] = lambda vitals: None
        """Whom to tell every second how the daemon does."""
        self._reported = 0.0
        self._stopping = False
        self._drain_s = 0.0
        self._stopped_at: float | None = None

    def stop(self, drain_s: float = 0.0) -> None:
        """Ends `serve`: no new jobs from now on; what runs may go on for `drain_s` seconds, then stops at its
        next step. The queue stays as it is. Said once more, it does not wait.
        """
        self._drain_s = 0.0 if self._stopping else drain_s
        self._stopping = True

    def pardon(self) -> None:
        """Tries every device again at once, those in quarantine too. As `stop`, from anywhere."""
        self._tell(self._crew.pardon)

    def serve(self) -> None:
        """The poll loop."""
        poller = zmq.Poller()
        self._gate.register(poller)
        poller.register(self._wake_end, zmq.POLLIN)
        try:
            while not self._is_over(time.monotonic()):
                wait = self._pace.next_in(time.monotonic(), POLL_MS / 1000)
                ready = dict(poller.poll(int(wait * 1000) + 1))
                if self._wake_end.fileno() in ready:
                    self._take_news()
                self._listen()
                self._crew.obey()
                now = time.monotonic()
                self._crew.tick(now)
                self._janitor.tick(now)
                self._takeover.tick(now, is_full=self._janitor.full is not None)
                self._report(now)
                self._forget(now)
                for give_back in self._pace.due(now):
                    give_back()
                self._speak()
        finally:
            self._close()

    def _is_over(self, now: float) -> bool:
        """First what runs may come to its end, then it is asked to stop; questions are answered meanwhile."""
        if not self._stopping:
            return False
        if self._stopped_at is None:
            log.info("stopping", extra={"drain_s": self._drain_s})
            self._ledger.obstruct("drain", DaemonDraining("the daemon is stopping"))
            self._stopped_at = now
        if self._crew.busy and now - self._stopped_at < self._drain_s:
            return False
        self._crew.ask_to_stop(now)
        return self._crew.has_stopped(now)

    def _close(self) -> None:
        self._crew.stop()
        self._disk.close()
        self._gate.close()

    # -- news from other threads --------------------------------------------------------------------

    def _tell(self, what: Callable[[], None]) -> None:
        """From any thread: have `what` done on the daemon's own."""
        self._news.put(what)
        with suppress(OSError):  # full: it rings already; closed: nobody is left to hear it
            self._bell.send(b"!")

    def _take_news(self) -> None:
        with suppress(BlockingIOError):
            while self._wake_end.recv(4096):
                pass
        while not self._news.empty():
            self._news.get()()

    # -- what clients say ---------------------------------------------------------------------------

    def _listen(self) -> None:
        for heard in self._gate.heard():
            try:
                if isinstance(heard, Garbled):
                    raise heard.error
                self._heed(heard)
                self._gate.knows(heard)
            except VoidbridgeError as error:
                self._send(heard.line, self._gate.refusal(heard.line, heard.peer, error))

    def _heed(self, heard: Heard) -> None:
        line, peer, _, guest, message, payload = heard
        if isinstance(message, Hello):
            self._send(line, self._welcome(line, peer, guest, message))
        elif isinstance(message, Attach):
            session = self._sessions.attach(message.session, line, guest)
            self._send(line, Credit(self._limits.window - session.spent))
        else:
            session = self._sessions.of(line, guest, time.monotonic())
            if job := getattr(message, "job", ""):  # whatever is asked of it, and on either socket
                self._ledger.must_see(job, session.sees)
            (self._on_bulk if line.bulk else self._on_control)(session, message, payload)

    def _send(self, line: Line, message: Message, payload: Frame | None = None) -> None:
        """On control not before it is on disk; on the bulk socket, where nothing of that is said, at once."""
        (self._say if line.bulk else self._outbox.say)(line, message, payload)

    def _say(self, line: Line, message: Message, payload: Frame | None = None) -> None:
        if not self._gate.send(line, message, payload):
            self._lose(line)

    def _bulk(self, session: Session, message: Message, payload: Frame | None = None) -> None:
        if session.bulk:  # else that line was lost meanwhile, and nobody waits there
            self._send(session.bulk, message, payload)

    def _lose(self, line: Line) -> None:
        """This client is gone, or has to say hello again; its files stay where they are."""
        self._intake.leave(self._sessions.gone(line))

    def _forget(self, now: float) -> None:
        """Who has fallen silent, and whose key is not allowed any more."""
        self._gate.tick(now)
        for line in self._sessions.leaving(now - FORGET_S, self._gate.lets_in):
            self._lose(line)

    def _on_control(self, session: Session, message: Message, payload: Frame | None) -> None:
        if self._ledger.store.behind and not isinstance(message, NEEDS_NO_TABLE):
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
                self._tell_all(session.control, job)
            case Cancel(job):
                self._ledger.cancel(job)
                self._crew.obey()
                answer(self._ledger.status(job))
            case ListJobs():
                session.rest = chain(session.rest or (), self._list(session))
            case GetProvenance(job):
                answer(Provenance(job), self._provenance(job))
            case Fetched(job):
                self._ledger.fetched(job)
                session.watching.discard(job)  # it has all that there is to hear
                answer(message)
            case GetHealth():
                answer(self._health())
            case _:
                raise BadMessage(f"{message.kind!r} is not said on the control socket by a client")

    def _welcome(self, line: Line, peer: str, guest: Guest, hello: Hello) -> Welcome:
        if line.bulk:
            raise BadMessage("'hello' is not said on the bulk socket")
        version = min(hello.newest, PROTOCOL)
        if version < max(hello.oldest, OLDEST):
            raise VersionMismatch(
                f"the client ({hello.software}) speaks protocol {hello.oldest} to {hello.newest}; "
                f"this daemon ({self._software}) speaks {OLDEST} to {PROTOCOL}"
            )
        user = guest.user or hello.user
        if self._sessions.is_full(user):
            for old in self._sessions.of_user(user):
                self._send(old, Ping())  # who has hung up is found out by that
        self._intake.leave(self._sessions.hello(hello.session, user, guest, line, time.monotonic()))
        self._gate.note(peer, "hello", user=user, software=hello.software)
        return Welcome(
            version,
            self._software,
            self._epoch,
            self._gate.announced,
            self._limits,
            CAPABILITIES,
            engines=self._ledger.engines,
            user=user,
            shares=self._takeover.prefixes,
        )

    def _health(self) -> Health:
        counts = self._ledger.counts()
        return metrics.health(
            self._crew.posts(time.monotonic()),
            self._ledger.obstacle,
            counts["queued"],
            counts["running"] + counts["cancelling"],
            self._spool.free_bytes(),
        )

    def _report(self, now: float) -> None:
        if now - self._reported > REPORT_S:
            self._reported = now
            self.report(
                Vitals(
                    self._health(),
                    self._ledger.counts(),
                    dict(self._ledger.ended),
                    self._janitor.used,
                    self._janitor.swept,
                    self._crew.starts,
                    len(self._sessions),
                )
            )

    def _submit_late(self, session: Session, message: Submit, payload: Frame) -> None:
        """Once more, now that there is all the room that can be made."""
        try:
            self._submit(session, message, payload, may_wait=False)
        except VoidbridgeError as error:
            self._send(session.control, Refused(error.code, error.text, error.hint))

    def _submit(
        self, session: Session, message: Submit, payload: Frame, may_wait: bool = True
    ) -> None:
        if self._stopping:
            raise DaemonDraining("the daemon is stopping")
        request = decode_request(payload)
        frames = len({file.frame for file in request.files})
        if frames > self._limits.frames:
            raise RequestError(f"a job of {frames} frames; this daemon takes {self._limits.frames}")
        largest = max(request.files, key=lambda file: file.size)
        if largest.size > self._limits.file:
            raise RequestError(
                f"{largest.role} frame {largest.frame} has {largest.size / 2**20:.0f} MB; "
                f"this daemon takes {self._limits.file / 2**20:.0f} MB a file"
            )
        try:
            made = self._ledger.submit(session.user, request, message.priority, message.again)
        except SpoolFull:
            if not may_wait:
                raise
            room = self._ledger.room_for(session.user, request)
            self._janitor.make_room(room, lambda: self._submit_late(session, message, payload))
            return
        session.watching.add(made.job)
        self._send(
            session.control,
            Accepted(made.job, made.state, as_ranges(made.need), tuple(made.partial)),
        )
        self._crew.obey()
        self._tell_all(session.control, made.job)

    def _list(self, session: Session) -> Iterator[Message]:
        told = 0
        for job in self._ledger.jobs(session.sees):
            with suppress(UnknownJob):  # forgotten since the list was begun
                yield self._ledger.status(job)
                told += 1
        yield Listed(told)

    def _offered(self, session: Session, offer: Offer) -> Lacking:
        most = len(ROLES) * self._limits.frames
        if len(session.offered) + len(offer.files) > most:
            raise RequestError(f"{most} files are offered; no job of this daemon has more")
        self._ledger.offered(offer.engine)
        need, partial = self._ledger.lacking(session.user, offer.files)
        session.offered |= {Owned(session.user, offer.files[index].sha256) for index in need}
        return Lacking(as_ranges(need), tuple(partial))

    def _watch(self, session: Session, job: str) -> None:
        self._tell_all(session.control, job)
        self._ledger.use(job)
        session.watching.add(job)

    def _tell_all(self, line: Line, job: str) -> None:
        """The whole truth of a job."""
        results = self._ledger.results_of(job)
        self._send(line, self._ledger.status(job))
        for i in range(0, len(results), RESULTS_A_MESSAGE):
            part = tuple(results[i : i + RESULTS_A_MESSAGE])
            self._send(line, Ready(job, part))

    def _provenance(self, job: str) -> bytes:
        self._ledger.status(job)
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
                self._intake.put(session, message, payload)
            case HandOver():
                self._intake.hand_over(session, message)
            case Get():
                self._get(session, message)
            case _:
                raise BadMessage(f"{message.kind!r} is not said on the bulk socket by a client")

    # -- files out ----------------------------------------------------------------------------------

    def _get(self, session: Session, get: Get) -> None:
        self._ledger.result(get.job, get.frame)
        path = self._spool.result_path(get.job, get.frame)
        self._disk.give(get, path, lambda m, piece: self._bulk(session, m, piece))

    # -- what clients hear --------------------------------------------------------------------------

    def _speak(self) -> None:
        """Answers and news of this turn, now that what they tell of is on disk."""
        settled = self._ledger.settle()
        self._outbox.release(settled)
        if settled:
            self._bulletin.spread(time.monotonic())
