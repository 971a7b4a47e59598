"""Sockets and the poll loop. Obeys the ledger and the scheduler; decides nothing about jobs.

One thread owns the sockets, the ledger and the job table. Files are written and read on two further threads, so
that a slow disk never keeps a cancel waiting; what they and the workers have to say comes in through `_news`.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import suppress

import zmq

from voidbridge_protocol.codec import MAX_HEADER, MAX_REQUEST, Frame, decode, decode_request, encode
from voidbridge_protocol.codec import ranges as as_ranges
from voidbridge_protocol.errors import (
    BadMessage,
    DaemonDraining,
    RequestError,
    SpoolFull,
    VersionMismatch,
    VoidbridgeError,
)
from voidbridge_protocol.messages import (
    CAPABILITIES,
    MAX_CHUNK,
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
    Got,
    Health,
    Hello,
    Limits,
    Listed,
    ListJobs,
    Message,
    Nack,
    Ping,
    Pong,
    Provenance,
    Put,
    Query,
    Ready,
    Refused,
    Status,
    Submit,
    Watch,
    Welcome,
)

from . import vitals
from .addresses import Addresses
from .crew import Crew
from .disk import Disk
from .janitor import Janitor
from .ledger import Ledger
from .retention import Policy
from .sessions import Session, Sessions
from .spool import Owned, Spool
from .vitals import Vitals

log = logging.getLogger(__name__)

POLL_MS = 200
CONTROL_TURN, BULK_TURN = 64, 8
"""Messages taken from a socket before the other has its turn: control is never behind more than 16 MiB."""
NEEDS_NO_TABLE = (Hello, Ping, Pong, GetHealth)
"""What is answered although the table of jobs cannot be written; all else might tell of what is written nowhere."""
REPORT_S = 1.0
STATUS_EVERY_S = 0.1
"""A job's progress is told to its watchers so often at most; changes of state at once."""
RESULTS_A_MESSAGE = 1000
STRIKES, MOST_STRUCK = 8, 4096
"""Malformed messages after which a peer is not answered any more, and how many such are remembered."""
FORGET_S = 60.0
"""A client that says nothing for so long, where it should ping every two seconds, is gone."""


class Daemon:
    """Serves until `stop` is called, from any thread or signal handler."""

    def __init__(
        self,
        addresses: Addresses,
        ledger: Ledger,
        spool: Spool,
        crew: Callable[[Callable[[Callable[[], None]], None]], Crew],
        policy: Policy,
        limits: Limits,
        software: str,
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._limits = limits
        self._software = software
        self._addresses = addresses
        self._epoch = uuid.uuid4().hex
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._control = self._router(addresses.control, MAX_REQUEST)
        self._bulk = self._router(addresses.bulk, MAX_CHUNK)
        self._bell, self._wake_end = socket.socketpair()
        self._wake_end.setblocking(False)
        self._bell.setblocking(False)
        self._news: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._disk = Disk(spool, self._tell)
        self._crew = crew(self._tell)
        self._sessions = Sessions()
        self._janitor = Janitor(
            ledger, spool, self._disk, policy, lambda job: bool(self._sessions.watching(job))
        )
        self._strikes: dict[bytes, int] = {}
        self._told: dict[str, float] = {}
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
        for end in (self._control, self._bulk, self._wake_end):
            poller.register(end, zmq.POLLIN)
        log.info("listening on %s", self._addresses.control)
        try:
            while not self._is_over(time.monotonic()):
                ready = dict(poller.poll(POLL_MS))
                if self._wake_end.fileno() in ready:
                    self._take_news()
                if self._control in ready:
                    self._take(self._control, CONTROL_TURN, self._on_control)
                if self._bulk in ready:
                    self._take(self._bulk, BULK_TURN, self._on_bulk)
                self._crew.obey()
                now = time.monotonic()
                self._crew.tick(now)
                self._janitor.tick(now)
                self._report(now)
                self._forget_the_silent(now)
                self._spread_news()
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
        self._context.destroy(linger=200)

    def _router(self, address: str, largest: int) -> zmq.Socket[bytes]:
        router = self._context.socket(zmq.ROUTER)
        router.linger = 0
        router.ipv6 = "[" in address
        router.router_mandatory = True  # else what does not fit is dropped in silence
        router.maxmsgsize = max(largest, MAX_HEADER)
        router.sndhwm = router.rcvhwm = 1000 if largest > MAX_CHUNK else 256
        router.handshake_ivl = 5000
        try:
            if address.startswith("ipc://") and _is_served(address.removeprefix("ipc://")):
                raise zmq.ZMQError(errno.EADDRINUSE)  # libzmq would take it from its daemon
            router.bind(address)
        except zmq.ZMQError as error:
            raise RequestError(
                f"cannot listen on {address}: {error}",
                "Stop the daemon that has this address, or choose another with --listen.",
            ) from error
        if address.startswith("ipc://"):
            os.chmod(address.removeprefix("ipc://"), 0o600)
        return router

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

    # -- the sockets --------------------------------------------------------------------------------

    def _take(
        self,
        router: zmq.Socket[bytes],
        turn: int,
        handle: Callable[[bytes, Message, Frame | None], None],
    ) -> None:
        for _ in range(turn):
            try:
                route, *frames = router.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            peer = route.bytes
            if self._strikes.get(peer, 0) >= STRIKES:
                continue
            try:
                handle(peer, *decode([frame.buffer for frame in frames]))
            except VoidbridgeError as error:
                if isinstance(error, BadMessage):
                    self._strikes[peer] = self._strikes.get(peer, 0) + 1
                log.info("refused: %s", error.text, extra={"code": error.code})
                self._send(router, peer, Refused(error.code, error.text, error.hint))

    def _send(
        self,
        router: zmq.Socket[bytes],
        peer: bytes,
        message: Message,
        payload: Frame | None = None,
    ) -> None:
        try:
            router.send_multipart([peer, *encode(message, payload)], zmq.NOBLOCK, copy=False)
        except zmq.Again:
            if router is self._bulk:  # nothing said here is said twice: have the client begin anew
                self._lose(peer)
            return  # control is absolute, and `query` has the whole truth: a slow client misses little
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._lose(peer)

    def _lose(self, peer: bytes) -> None:
        """This client is gone, or has to say hello again; its files stay where they are."""
        self._disk.pause(self._sessions.gone(peer))

    def _forget_the_silent(self, now: float) -> None:
        for peer in self._sessions.silent(now - FORGET_S):
            self._lose(peer)
        if len(self._strikes) > MOST_STRUCK:
            self._strikes.clear()

    def _on_control(self, peer: bytes, message: Message, payload: Frame | None) -> None:
        if self._ledger.store.behind and not isinstance(message, NEEDS_NO_TABLE):
            raise SpoolFull("the daemon's disk is full: it cannot write down how its jobs stand")

        def answer(reply: Message, payload: Frame | None = None) -> None:
            self._send(self._control, peer, reply, payload)

        match message:
            case Hello():
                answer(self._welcome(peer, message))
            case Ping():
                self._sessions.of(peer, time.monotonic())
                answer(Pong())
            case Pong():
                pass
            case Submit():
                assert payload is not None
                self._submit(self._sessions.of(peer, time.monotonic()), message, payload)
            case Watch(job):
                self._watch(self._sessions.of(peer, time.monotonic()), job)
            case Query(job):
                self._sessions.of(peer, time.monotonic())
                self._tell_all(peer, job)
            case Cancel(job):
                self._sessions.of(peer, time.monotonic())
                self._ledger.cancel(job)
                self._crew.obey()
                answer(self._ledger.status(job))
            case ListJobs():
                self._sessions.of(peer, time.monotonic())
                jobs = self._ledger.jobs()
                for job in jobs:
                    answer(self._ledger.status(job))
                answer(Listed(len(jobs)))
            case GetProvenance(job):
                self._sessions.of(peer, time.monotonic())
                answer(Provenance(job), self._provenance(job))
            case Fetched(job):
                session = self._sessions.of(peer, time.monotonic())
                self._ledger.fetched(job)
                session.watching.discard(job)  # it has all that there is to hear
                answer(message)
            case GetHealth():
                self._sessions.of(peer, time.monotonic())
                answer(self._health())
            case _:
                raise BadMessage(f"{message.kind!r} is not said on the control socket by a client")

    def _welcome(self, peer: bytes, hello: Hello) -> Welcome:
        version = min(hello.newest, PROTOCOL)
        if version < max(hello.oldest, OLDEST):
            raise VersionMismatch(
                f"the client ({hello.software}) speaks protocol {hello.oldest} to {hello.newest}; "
                f"this daemon ({self._software}) speaks {OLDEST} to {PROTOCOL}"
            )
        self._disk.pause(self._sessions.hello(hello, peer, time.monotonic()))
        log.info("hello", extra={"user": hello.user, "software": hello.software})
        return Welcome(
            version,
            self._software,
            self._epoch,
            self._addresses.announced,
            self._limits,
            CAPABILITIES,
            engines=self._ledger.engines,
        )

    def _health(self) -> Health:
        counts = self._ledger.counts()
        return vitals.health(
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
            self._send(self._control, session.control, Refused(error.code, error.text, error.hint))

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
            self._control,
            session.control,
            Accepted(made.job, made.state, as_ranges(made.need), tuple(made.partial)),
        )
        self._crew.obey()
        self._tell_all(session.control, made.job)

    def _watch(self, session: Session, job: str) -> None:
        self._tell_all(session.control, job)
        self._ledger.use(job)
        session.watching.add(job)

    def _tell_all(self, peer: bytes, job: str) -> None:
        """The whole truth of a job."""
        results = self._ledger.results_of(job)
        self._send(self._control, peer, self._ledger.status(job))
        for i in range(0, len(results), RESULTS_A_MESSAGE):
            part = tuple(results[i : i + RESULTS_A_MESSAGE])
            self._send(self._control, peer, Ready(job, part))

    def _provenance(self, job: str) -> bytes:
        self._ledger.status(job)
        path = self._spool.provenance_path(job)
        if not path.is_file():
            raise RequestError(
                f"job {job} is not done", "Wait for it: `voidbridge status` shows it."
            )
        return path.read_bytes()

    def _on_bulk(self, peer: bytes, message: Message, payload: Frame | None) -> None:
        match message:
            case Attach(name):
                session = self._sessions.attach(name, peer)
                self._send(self._bulk, peer, Credit(self._limits.window - session.spent))
            case Ping():
                self._sessions.of(peer, time.monotonic())
                self._send(self._bulk, peer, Pong())
            case Pong():
                pass
            case Put():
                assert payload is not None
                self._put(self._sessions.of(peer, time.monotonic()), message, payload)
            case Get():
                self._sessions.of(peer, time.monotonic())
                self._get(peer, message)
            case _:
                raise BadMessage(f"{message.kind!r} is not said on the bulk socket by a client")

    # -- files in -----------------------------------------------------------------------------------

    def _put(self, session: Session, put: Put, payload: Frame) -> None:
        if session.spent + len(payload) > self._limits.window:
            raise BadMessage(f"{len(payload)} bytes beyond the credit of {self._limits.window}")
        if put.size > self._limits.file:
            raise BadMessage(f"a file of {put.size} bytes; {self._limits.file} at most")
        file = Owned(session.user, put.sha256)
        if not self._ledger.is_wanted(file):
            # Its job was cancelled a moment ago; nobody fills this disk with what no job asks for.
            self._send(self._bulk, session.bulk, Credit(len(payload)))
            return
        length = len(payload)
        if full := self._janitor.full:  # what is left of the disk is for what runs
            self._send(self._bulk, session.bulk, Credit(length))
            self._send(self._bulk, session.bulk, Nack(put.sha256, put.offset, full.code, full.text))
            return
        session.spent += length
        session.receiving.add(file)
        self._disk.take(
            file.user, put, payload, lambda reply: self._stored(session, file, length, reply)
        )

    def _stored(self, session: Session, file: Owned, length: int, reply: Message | None) -> None:
        session.spent -= length
        if isinstance(reply, Got):
            session.receiving.discard(file)
            self._ledger.file_arrived(file)
        if session.bulk:
            self._send(self._bulk, session.bulk, Credit(length))
            if reply:
                self._send(self._bulk, session.bulk, reply)

    # -- files out ----------------------------------------------------------------------------------

    def _get(self, peer: bytes, get: Get) -> None:
        self._ledger.result(get.job, get.frame)
        path = self._spool.result_path(get.job, get.frame)
        self._disk.give(get, path, lambda m, piece: self._send(self._bulk, peer, m, piece))

    # -- what watchers hear -------------------------------------------------------------------------

    def _spread_news(self) -> None:
        if self._ledger.store.behind:
            return
        results, self._ledger.results = self._ledger.results, []
        for job, result in results:
            for session in self._sessions.watching(job):
                self._send(self._control, session.control, Ready(job, (result,)))
        now = time.monotonic()
        for job in list(self._ledger.changed):
            status = self._ledger.status(job)
            if now - self._told.get(job, 0.0) < STATUS_EVERY_S and not self._is_news(status):
                continue
            del self._ledger.changed[job]
            self._told[job] = now
            for session in self._sessions.watching(job):
                self._send(self._control, session.control, status)
            if status.state.is_final:
                self._told.pop(job, None)

    def _is_news(self, status: Status) -> bool:
        return status.state.is_final or not status.of


def _is_served(path: str) -> bool:
    """Whether somebody listens on this Unix socket; one that a killed daemon left is nobody's."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0
