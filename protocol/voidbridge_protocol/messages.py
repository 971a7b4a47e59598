"""What can be said on the wire, as frozen dataclasses of plain values, checked when they are made.

`docs/protocol.md` has a heading for each message and describes every field; a message changes there first.
Pixels are never in a message: a message names files by their SHA-256, and their bytes travel as the payload
of `Put` and `Chunk`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .errors import BadMessage
from .lifecycle import JobState
from .request import FrameFile as FrameFile
from .request import Request as Request
from .request import Settings as Settings
from .request import check_file

PROTOCOL = 1
"""The version of the protocol that this package speaks (`docs/protocol.md`)."""
OLDEST = 1
"""The oldest version of a peer that it still understands."""

MAX_UNANSWERED = 32
"""`Put`s, and as many `Get`s, on their way at once: what answers them always fits into the sockets' queues."""
MAX_CHUNK = 2 * 1024 * 1024
"""Bytes of one payload at most. libzmq is fastest with 1 to 2 MiB, and its heartbeats fail behind larger frames."""

MAX_IMPORTS = 4
"""`ImportFile`s that are not answered yet: a daemon copies one file after the other."""
MAX_PATH = 4096
"""Characters of a path, as Linux has them."""

MAX_OFFERED = 1000
"""Files in one `Offer`; a header has room for so many."""

CAPABILITIES = ("fetched", "health", "missing")
"""What a daemon of this version can do that version 1 did not have from its beginning."""


@dataclass(frozen=True)
class ResultFile:
    """One finished frame, as it can be fetched."""

    frame: int
    sha256: str
    size: int

    def __post_init__(self) -> None:
        check_file(self.sha256, self.size)


@dataclass(frozen=True)
class Limits:
    """What one client may have of the daemon."""

    chunk: int = MAX_CHUNK
    """Bytes of one payload."""
    window: int = 32 * 1024 * 1024
    """Bytes on their way to the daemon at once: its credit, and the most that a client asks for at once."""
    file: int = 2 * 1024 * 1024 * 1024
    """Bytes of one frame's file."""
    frames: int = 20_000
    """Frames of one job."""


@dataclass(frozen=True)
class Device:
    """A device of the daemon.

    It is `starting`, `ready`, `busy`, `stalled` when its engine was not heard of for too long, `resting`
    between two starts of its worker, or `quarantined`.
    """

    name: str
    state: str
    stage: str = ""
    silence: float = 0.0
    """Seconds since its engine was last heard of, while it has something to do."""
    why: str = ""


@dataclass(frozen=True)
class Message:
    """Anything either side may say."""

    kind: ClassVar[str] = ""


@dataclass(frozen=True)
class Hello(Message):
    """Client to daemon, first on the control socket."""

    kind = "hello"
    oldest: int
    newest: int
    session: str
    """Drawn by the client, kept over reconnects; the same on both sockets."""
    user: str
    software: str
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True)
class Welcome(Message):
    """Daemon to client: the version chosen, and where the bulk socket is."""

    kind = "welcome"
    version: int
    software: str
    epoch: str
    """New at every start of the daemon."""
    bulk: str
    """Where the bulk socket is: a TCP port on the host that the client knows, or a whole `ipc://PATH`."""
    limits: Limits
    capabilities: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    user: str = ""
    """Whom the client's jobs belong to; empty: whom `Hello` named."""
    shares: tuple[str, ...] = ()
    """Folders of which the daemon sees the files too, as clients call them; none: nothing is to be handed over."""


@dataclass(frozen=True)
class JoinBulk(Message):
    """Client to daemon, first on the bulk socket. Answered by `Credit`."""

    kind = "join-bulk"
    session: str


@dataclass(frozen=True)
class Ping(Message):
    """Either way, on either socket; answered by `Pong`. Any traffic counts as life."""

    kind = "ping"


@dataclass(frozen=True)
class Pong(Message):
    kind = "pong"


@dataclass(frozen=True)
class Submit(Message):
    """Client to daemon. The payload is `Request.canonical()`. Answered by `Accepted` or `Refused`.

    Repeating it changes nothing and is answered with where the job stands.
    """

    kind = "submit"
    priority: int = 0
    """Higher first; jobs of one priority are shared out fairly between users."""
    force: bool = False
    """Run a finished job anew."""


@dataclass(frozen=True)
class Accepted(Message):
    """Daemon to client: the job stands in the table, and these files of it are still wanted."""

    kind = "accepted"
    job: str
    state: JobState
    need: str = ""
    """Indices into the request's files, sorted by role and frame, as ranges: "0-99,105"."""
    partial: tuple[tuple[int, int], ...] = ()
    """(index, offset): the daemon has this file's first `offset` bytes."""


@dataclass(frozen=True)
class Offer(Message):
    """Client to daemon: these files are for a job that I am going to submit. Answered by `Missing`."""

    kind = "offer"
    files: tuple[FrameFile, ...]
    engine: str = ""
    """That the job will ask for, so that it is loaded by then."""

    def __post_init__(self) -> None:
        if len(self.files) > MAX_OFFERED:
            raise BadMessage(f"{len(self.files)} files are offered at once; {MAX_OFFERED} at most")


@dataclass(frozen=True)
class Missing(Message):
    """Daemon to client: send these ahead. Ranges are indices into `Offer.files`, as "0-99,105"."""

    kind = "missing"
    need: str = ""
    partial: tuple[tuple[int, int], ...] = ()
    """(index, offset): of this needed file the daemon has the first `offset` bytes."""


@dataclass(frozen=True)
class Refused(Message):
    """Daemon to client: an error of `errors.py` that answers the last request on this socket, or ends a job."""

    kind = "refused"
    code: str
    text: str
    hint: str = ""
    job: str = ""


@dataclass(frozen=True)
class Status(Message):
    """Daemon to client, whenever something changed and in answer to `Query` and `Cancel`."""

    kind = "status"
    job: str
    state: JobState
    stage: str = ""
    """What the daemon is doing, in words for the artist: "receiving", "reading", "removing"."""
    step: int = 0
    of: int = 0
    """Step `step` of `of` of this stage; 0 of 0 where it cannot be counted."""
    seconds_left: float = -1.0
    """An estimate for the job; below 0 where there is none yet."""
    ahead: int = 0
    """Jobs that run before this one starts."""
    ready: int = 0
    """Results that can be fetched."""
    frames: int = 0
    """Results that there will be."""
    first: int = 0
    """The frame of the first of them."""
    attempt: int = 0
    warnings: tuple[str, ...] = ()
    code: str = ""
    text: str = ""
    hint: str = ""
    user: str = ""
    engine: str = ""


@dataclass(frozen=True)
class Ready(Message):
    """Daemon to client: these results can be fetched."""

    kind = "ready"
    job: str
    results: tuple[ResultFile, ...]


@dataclass(frozen=True)
class Query(Message):
    """Client to daemon: where does this job stand? Answered by `Status`, then `Ready` with all results so far."""

    kind = "query"
    job: str


@dataclass(frozen=True)
class Watch(Message):
    """Client to daemon: send me `Status` and `Ready` of this job from now on. Answered as `Query`."""

    kind = "watch"
    job: str


@dataclass(frozen=True)
class ListJobs(Message):
    """Client to daemon. Answered by one `Status` a job, oldest first, then `Listed`."""

    kind = "list-jobs"


@dataclass(frozen=True)
class Listed(Message):
    kind = "listed"
    jobs: int


@dataclass(frozen=True)
class Cancel(Message):
    """Client to daemon. Asks; the answer is a `Status`. Late and repeated cancels are ordinary."""

    kind = "cancel"
    job: str


@dataclass(frozen=True)
class GetRequest(Message):
    """Client to daemon: which request is this job? Answered by `JobRequest`."""

    kind = "get-request"
    job: str


@dataclass(frozen=True)
class JobRequest(Message):
    """Daemon to client. The payload is `Request.canonical()`, as it was submitted."""

    kind = "job-request"
    job: str


@dataclass(frozen=True)
class GetProvenance(Message):
    """Client to daemon: what the results of a done job are made with. Answered by `Provenance`."""

    kind = "get-provenance"
    job: str


@dataclass(frozen=True)
class Provenance(Message):
    """Daemon to client. The payload is a JSON object."""

    kind = "provenance"
    job: str


@dataclass(frozen=True)
class Fetched(Message):
    """Client to daemon: every result of this done job is on my disk, verified. Answered with the same."""

    kind = "fetched"
    job: str


@dataclass(frozen=True)
class GetHealth(Message):
    """Client to daemon. Answered by `Health`."""

    kind = "get-health"


@dataclass(frozen=True)
class Health(Message):
    """Daemon to client. That it comes at all says that the daemon lives; `ready`, that a job would be run."""

    kind = "health"
    ready: bool
    devices: tuple[Device, ...] = ()
    queued: int = 0
    running: int = 0
    free: int = 0
    """Bytes that are free on the disk of the spool."""
    code: str = ""
    text: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Put(Message):
    """Client to daemon, bulk. The payload is the file's bytes from `offset` on. Spends credit.

    A file of which the daemon has every byte, unverified, is finished by an empty payload at its end.
    """

    kind = "put"
    sha256: str
    size: int
    offset: int

    def __post_init__(self) -> None:
        check_file(self.sha256, self.size)
        if not 0 <= self.offset <= self.size:
            raise BadMessage(f"a piece at {self.offset} of a file of {self.size} bytes")


@dataclass(frozen=True)
class ImportFile(Message):
    """Client to daemon, bulk: this file lies there, take it yourself. Answered by `Got` or `Nack`."""

    kind = "import-file"
    sha256: str
    size: int
    path: str
    """Absolute, as clients call it, below one of `Welcome.shares`."""
    proof: str
    """What `handover.proof` makes of the file: it shows that the client can read it."""

    def __post_init__(self) -> None:
        check_file(self.sha256, self.size)
        if len(self.path) > MAX_PATH:
            raise BadMessage(f"a path of {len(self.path)} characters; {MAX_PATH} at most")


@dataclass(frozen=True)
class Credit(Message):
    """Daemon to client, bulk: this many more payload bytes may be sent."""

    kind = "credit"
    amount: int

    def __post_init__(self) -> None:
        if self.amount < 0:
            raise BadMessage(f"a credit of {self.amount} bytes")


@dataclass(frozen=True)
class Got(Message):
    """Daemon to client, bulk: the whole file is in the spool, its hash verified, on disk."""

    kind = "got"
    sha256: str


@dataclass(frozen=True)
class Nack(Message):
    """Daemon to client, bulk: this file was not taken. Send it from `offset` on, or give up."""

    kind = "nack"
    sha256: str
    offset: int
    code: str
    text: str

    def __post_init__(self) -> None:
        if self.offset < 0:
            raise BadMessage(f"wants a file from {self.offset} on")


@dataclass(frozen=True)
class Get(Message):
    """Client to daemon, bulk: `length` bytes of a result from `offset` on. The client has room for them."""

    kind = "get"
    job: str
    frame: int
    offset: int
    length: int

    def __post_init__(self) -> None:
        if not 0 < self.length <= MAX_CHUNK or self.offset < 0:
            raise BadMessage(f"asks for {self.length} bytes at {self.offset}; {MAX_CHUNK} at most")


@dataclass(frozen=True)
class Chunk(Message):
    """Daemon to client, bulk. The payload is the bytes of the result from `offset` on."""

    kind = "chunk"
    job: str
    frame: int
    offset: int


KINDS: dict[str, type[Message]] = {cls.kind: cls for cls in Message.__subclasses__()}
"""Every message by the word that names it on the wire."""

CARRIES_PAYLOAD: frozenset[type[Message]] = frozenset({Submit, Put, Chunk, Provenance, JobRequest})
