"""A scripted daemon on real sockets, for tests of clients.

It speaks the whole protocol, keeps received files in memory, and returns every plate unchanged and at once.
"""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import zmq

from voidbridge_protocol.errors import (
    BadMessage,
    BadSetting,
    RequestError,
    UnknownJob,
    UnknownSession,
    VersionMismatch,
    VoidbridgeError,
)
from voidbridge_protocol.lifecycle import JobState, advance
from voidbridge_protocol.wire.codec import Frame, decode, decode_request, encode
from voidbridge_protocol.wire.messages import (
    Accepted,
    Cancel,
    Chunk,
    Credit,
    Device,
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
    Listed,
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
    Refused,
    Request,
    ResultFile,
    Status,
    Submit,
    Watch,
    Welcome,
)

from .files import ReceivedFiles
from .script import Script as Script

ENGINES = ("echo", "cleanplate", "void")


@dataclass
class _Job:
    request: Request
    user: str
    state: JobState = JobState.RECEIVING
    step: int = 0
    results: dict[int, bytes] = field(default_factory=dict)


class FakeDaemon:
    """The handle of a test on the daemon that `fake_daemon` runs."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.address = ""
        self.received: list[Message] = []
        """All messages from clients, over all restarts."""
        self._files = ReceivedFiles(
            script.shares, script.has_no_room, spoilt_left=script.spoilt_uploads
        )
        self.objects = self._files.objects
        """Complete files by hash. Files added before a client connects are not requested."""
        self.taken = 0
        """Payload bytes of `Put`s, over all restarts."""
        self.lives = 0
        self._jobs: dict[str, _Job] = {}
        self._given = 0
        self._spoilt_chunks = 0
        self._deaths = sorted(script.dies_at)
        self._deaths_giving = sorted(script.dies_giving)
        self._ended = threading.Event()
        self._bound = threading.Event()
        self._ports = [0, 0]
        self._thread = threading.Thread(target=self._run, name="fake daemon", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._bound.wait()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            self.lives += 1
            self._live()

    def _live(self) -> None:
        """Runs from bind to death. Socket and session state is lost; files and jobs are kept."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self._routers = (self._router(context, 0), self._router(context, 1))
            self._users: dict[bytes, str] = {}  # by route on the control socket
            self._sessions: dict[str, bytes] = {}
            self._watched: set[tuple[bytes, str]] = set()
            self._attached: set[bytes] = set()
            self._epoch = uuid.uuid4().hex
            self._dying = False
            self.address = f"tcp://127.0.0.1:{self._ports[0]}"
            self._bound.set()
            poller = zmq.Poller()
            for router in self._routers:
                poller.register(router, zmq.POLLIN)
            while not self._ended.is_set() and not self._dying:
                for router, _ in poller.poll(20):
                    self._take(router)
        finally:
            context.destroy(linger=0)

    def _router(self, context: zmq.Context[zmq.Socket[bytes]], index: int) -> zmq.Socket[bytes]:
        router = context.socket(zmq.ROUTER)
        router.linger = 0
        if self._ports[index]:
            router.bind(f"tcp://127.0.0.1:{self._ports[index]}")
        else:
            self._ports[index] = router.bind_to_random_port("tcp://127.0.0.1")
        return router

    def _take(self, router: zmq.Socket[bytes]) -> None:
        route, *frames = router.recv_multipart()
        try:
            message, payload = decode(frames)
            self.received.append(message)
            if {Message, type(message)} & self.script.deaf_to:
                return
            if type(message) in self.script.dies_of:
                self._dying = True
                return
            if router is self._routers[0]:
                self._on_control(route, message, payload)
            else:
                self._on_bulk(route, message, payload)
        except VoidbridgeError as error:
            refusal = Refused(error.code, error.text, error.hint)
            router.send_multipart([route, *encode(refusal)])

    # -- control ------------------------------------------------------------------------------------

    def _on_control(self, route: bytes, message: Message, payload: Frame | None) -> None:
        if isinstance(message, Hello):
            self._send(route, self._welcome(route, message))
            return
        if route not in self._users:
            raise UnknownSession("the daemon does not know this connection")
        match message:
            case Ping():
                self._send(route, Pong())
            case Submit() if payload is not None:
                self._submit(route, decode_request(payload), message.force)
            case Offer(files):
                self._send(route, self._files.missing(files))
            case Query(job):
                self._tell_all(route, job)
            case Watch(job):
                self._tell_all(route, job)
                self._watched.add((route, job))
            case Cancel(job):
                self._cancel(job)
                self._send(route, self._status(job))
            case ListJobs():
                for job in self._jobs:
                    self._send(route, self._status(job))
                self._send(route, Listed(len(self._jobs)))
            case GetRequest(job):
                self._send(route, JobRequest(job), self._job(job).request.canonical())
            case GetProvenance(job):
                self._job(job)
                self._send(route, Provenance(job), json.dumps({"job": job}).encode())
            case Fetched(job):
                self._job(job)
                self._send(route, message)
            case GetHealth():
                self._send(route, Health(True, (Device("cpu", "ready"),)))
            case _:
                raise BadMessage(f"{message.kind!r} is not said on the control socket")

    def _send(self, route: bytes, message: Message, payload: Frame | None = None) -> None:
        self._routers[0].send_multipart([route, *encode(message, payload)])

    def _welcome(self, route: bytes, hello: Hello) -> Welcome:
        oldest, newest = self.script.versions
        version = min(hello.newest, newest)
        if version < max(hello.oldest, oldest):
            raise VersionMismatch(
                f"the client ({hello.software}) speaks protocol {hello.oldest} to {hello.newest}; "
                f"this daemon speaks {oldest} to {newest}"
            )
        self._users[route] = hello.user
        self._sessions[hello.session] = route
        return Welcome(
            version,
            "fake daemon",
            self._epoch,
            str(self._ports[1]),
            self.script.limits,
            tuple(("remove", engine) for engine in ENGINES),
            shares=self.script.shares,
        )

    def _submit(self, route: bytes, request: Request, force: bool) -> None:
        if request.settings.engine not in ENGINES:
            raise BadSetting(f"this daemon has no engine {request.settings.engine!r}")
        name = request.key(self._users[route])
        job = self._jobs.setdefault(name, _Job(request, self._users[route]))
        if job.state.is_final and (force or job.state is not JobState.DONE):
            job.state, job.step, job.results = advance(job.state, JobState.RECEIVING), 0, {}
        lacks = Missing()
        if job.state is JobState.RECEIVING:
            lacks = self._files.missing(request.files)
        self._send(route, Accepted(name, job.state, lacks.need, lacks.partial))
        self._watched.add((route, name))
        self._proceed()
        self._tell_all(route, name)

    def _job(self, name: str) -> _Job:
        if name not in self._jobs:
            raise UnknownJob(f"this daemon knows no job {name[:60]!r}")
        return self._jobs[name]

    def _cancel(self, name: str) -> None:
        job = self._job(name)
        if not job.state.is_final:
            job.state = JobState.CANCELLED

    def _tell_all(self, route: bytes, name: str) -> None:
        self._send(route, self._status(name))
        if results := self._job(name).results:
            found = tuple(
                ResultFile(frame, hashlib.sha256(data).hexdigest(), len(data))
                for frame, data in results.items()
            )
            self._send(route, Ready(name, found))

    def _status(self, name: str) -> Status:
        job = self._job(name)
        error = self.script.failure if job.state is JobState.FAILED else None
        return Status(
            name,
            job.state,
            "removing",
            job.step,
            self.script.steps,
            ready=len(job.results),
            frames=job.request.last - job.request.first + 1,
            first=job.request.first,
            warnings=self.script.warnings,
            code=error.code if error else "",
            text=error.text if error else "",
            hint=error.hint if error else "",
            user=job.user,
            operation=job.request.operation,
            engine=job.request.settings.engine,
        )

    def _proceed(self) -> None:
        """Runs every job that can run and sends each status to all watchers."""
        for name, job in self._jobs.items():
            if job.state is not JobState.RECEIVING or self._files.missing(job.request.files).need:
                continue
            job.state = JobState.RUNNING
            for step in range(self.script.steps + 1):
                job.step = step
                self._spread(name)
            if self.script.holds:
                continue
            if not self.script.failure:
                job.results = self._results(job.request)
            job.state = JobState.FAILED if self.script.failure else JobState.DONE
            self._spread(name)

    def _spread(self, name: str) -> None:
        for route, job in self._watched:
            if job == name:
                self._tell_all(route, name)

    def _results(self, request: Request) -> dict[int, bytes]:
        plates = {
            file.frame: self.objects[file.sha256]
            for file in request.files
            if file.role == "plate" and request.first <= file.frame <= request.last
        }
        return {frame: self.script.results.get(frame, plate) for frame, plate in plates.items()}

    # -- bulk ---------------------------------------------------------------------------------------

    def _on_bulk(self, route: bytes, message: Message, payload: Frame | None) -> None:
        if isinstance(message, JoinBulk):
            if message.session not in self._sessions:
                raise UnknownSession("the daemon does not know this session")
            self._attached.add(route)
            self._give(route, Credit(self.script.limits.window))
            return
        if route not in self._attached:
            raise UnknownSession("the daemon does not know this connection")
        match message:
            case Ping():
                self._give(route, Pong())
            case Put() if payload is not None:
                self._put(route, message, bytes(payload))
            case ImportFile():
                self._give(route, self._import_file(message))
                self._proceed()
            case Get():
                self._get(route, message)
            case _:
                raise BadMessage(f"{message.kind!r} is not said on the bulk socket")

    def _give(self, route: bytes, message: Message, payload: Frame | None = None) -> None:
        self._routers[1].send_multipart([route, *encode(message, payload)])

    def _put(self, route: bytes, put: Put, piece: bytes) -> None:
        self.taken += len(piece)
        reply = self._files.put(put, piece)
        self._give(route, Credit(len(piece)))
        if reply:
            self._give(route, reply)
        self._proceed()
        if self._deaths and self.taken >= self._deaths[0]:
            self._deaths.pop(0)
            self._dying = True

    def _import_file(self, message: ImportFile) -> Message:
        return self._files.import_file(self._epoch, message)

    def _get(self, route: bytes, get: Get) -> None:
        result = self._job(get.job).results.get(get.frame)
        if result is None:
            raise RequestError(f"job {get.job} has no result for frame {get.frame}")
        piece = result[get.offset : get.offset + get.length]
        if self._spoilt_chunks < self.script.spoilt_chunks:
            self._spoilt_chunks += 1
            piece = bytes(byte ^ 1 for byte in piece)
        self._give(route, Chunk(get.job, get.frame, get.offset), piece)
        self._given += 1
        if self._deaths_giving and self._given >= self._deaths_giving[0]:
            self._deaths_giving.pop(0)
            self._dying = True


@contextmanager
def fake_daemon(script: Script | None = None) -> Iterator[FakeDaemon]:
    """Runs a fake daemon at `FakeDaemon.address`, on a free loopback port, while the context is open."""
    daemon = FakeDaemon(script or Script())
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()
