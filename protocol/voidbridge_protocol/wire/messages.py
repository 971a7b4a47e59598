"""All wire messages, as frozen dataclasses of plain values that validate themselves.

`docs/protocol.md` has a heading for each message and describes every field; change that page first. Messages
never carry pixels. A message names files by their SHA-256, and the payload of `Put` and `Chunk` carries the
bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from voidbridge_protocol.errors import BadMessage
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.request import FrameFile as FrameFile
from voidbridge_protocol.request import Request as Request

from .bulk_messages import Chunk as Chunk
from .bulk_messages import Credit as Credit
from .bulk_messages import Get as Get
from .bulk_messages import Got as Got
from .bulk_messages import ImportFile as ImportFile
from .bulk_messages import Nack as Nack
from .bulk_messages import Put as Put
from .values import MAX_CHUNK as MAX_CHUNK
from .values import MAX_IMPORTS as MAX_IMPORTS
from .values import MAX_NAME as MAX_NAME
from .values import MAX_OFFERED as MAX_OFFERED
from .values import MAX_PATH as MAX_PATH
from .values import MAX_UNANSWERED as MAX_UNANSWERED
from .values import OLDEST as OLDEST
from .values import PROTOCOL as PROTOCOL
from .values import Device as Device
from .values import Limits as Limits
from .values import Message as Message
from .values import ResultFile as ResultFile


def _check_name(field: str, name: str) -> None:
    if len(name) > MAX_NAME:
        raise BadMessage(f"{field} has {len(name)} characters; {MAX_NAME} at most")


@dataclass(frozen=True)
class Hello(Message):
    """Client to daemon: first message on the control socket."""

    kind = "hello"
    oldest: int
    newest: int
    session: str
    """Random id, chosen by the client. It is the same on both sockets and after a reconnect."""
    user: str
    software: str

    def __post_init__(self) -> None:
        for what in ("session", "user", "software"):
            _check_name(f"the {what} of a hello", getattr(self, what))


@dataclass(frozen=True)
class Welcome(Message):
    """Daemon to client: the chosen version and the address of the bulk socket."""

    kind = "welcome"
    version: int
    software: str
    epoch: str
    """A new value at each start of the daemon."""
    bulk: str
    """Address of the bulk socket: a TCP port on the host known to the client, or a full `ipc://PATH`."""
    limits: Limits
    engines: tuple[tuple[str, str], ...] = ()
    """(operation, engine) for everything that the daemon can do."""
    user: str = ""
    """Owner of the client's jobs. If empty, the user named in `Hello`."""
    shares: tuple[str, ...] = ()
    """Shared folders, by their names on the clients. If empty, the daemon imports no files by path."""


@dataclass(frozen=True)
class JoinBulk(Message):
    """Client to daemon: first message on the bulk socket. Answered by `Credit`."""

    kind = "join-bulk"
    session: str

    def __post_init__(self) -> None:
        _check_name("the session", self.session)


@dataclass(frozen=True)
class Ping(Message):
    """Either direction, either socket. Answered by `Pong`. Any traffic counts as a sign of life."""

    kind = "ping"


@dataclass(frozen=True)
class Pong(Message):
    kind = "pong"


@dataclass(frozen=True)
class Submit(Message):
    """Client to daemon. The payload is `Request.canonical()`. Answered by `Accepted` or `Refused`.

    Repeating it changes nothing and returns the current state of the job.
    """

    kind = "submit"
    priority: int = 0
    """Higher runs first. Users share a priority level fairly."""
    force: bool = False
    """Run a finished job again."""


@dataclass(frozen=True)
class Accepted(Message):
    """Daemon to client: the job is in the table, and the daemon still needs these files."""

    kind = "accepted"
    job: str
    state: JobState
    need: str = ""
    """Indices into the request's files, sorted by role and frame, as ranges: "0-99,105"."""
    partial: tuple[tuple[int, int], ...] = ()
    """(index, offset): the daemon has the first `offset` bytes of this file."""


@dataclass(frozen=True)
class Offer(Message):
    """Client to daemon: files of a job that will be submitted soon. Answered by `Missing`."""

    kind = "offer"
    files: tuple[FrameFile, ...]
    operation: str = "remove"
    engine: str = ""
    """The engine of that job, so that the daemon can load it early."""

    def __post_init__(self) -> None:
        if len(self.files) > MAX_OFFERED:
            raise BadMessage(f"{len(self.files)} files are offered at once; {MAX_OFFERED} at most")
        _check_name("the engine", self.engine)


@dataclass(frozen=True)
class Missing(Message):
    """Daemon to client: files to upload early, as indices into `Offer.files`: "0-99,105"."""

    kind = "missing"
    need: str = ""
    partial: tuple[tuple[int, int], ...] = ()
    """(index, offset): the daemon has the first `offset` bytes of this needed file."""


@dataclass(frozen=True)
class Refused(Message):
    """Daemon to client: an error of `errors.py`. It answers the last request on this socket, or ends a job."""

    kind = "refused"
    code: str
    text: str
    hint: str = ""
    job: str = ""


@dataclass(frozen=True)
class Status(Message):
    """Daemon to client: sent on each change, and in answer to `Query` and `Cancel`."""

    kind = "status"
    job: str
    state: JobState
    stage: str = ""
    """The current activity, in words for the artist: "receiving", "reading", "removing"."""
    step: int = 0
    of: int = 0
    """The stage is at step `step` of `of`; 0 of 0 if steps cannot be counted."""
    seconds_left: float = -1.0
    """Estimated seconds until the job ends; below 0 if there is no estimate yet."""
    ahead: int = 0
    """Number of jobs that run before this one starts."""
    ready: int = 0
    """Number of results that can be fetched."""
    frames: int = 0
    """Total number of results."""
    first: int = 0
    """Frame number of the first result."""
    attempt: int = 0
    warnings: tuple[str, ...] = ()
    code: str = ""
    text: str = ""
    hint: str = ""
    user: str = ""
    operation: str = ""
    engine: str = ""
    device: str = ""
    """The device whose worker runs the job; empty while none does."""


@dataclass(frozen=True)
class Ready(Message):
    """Daemon to client: these results can be fetched."""

    kind = "ready"
    job: str
    results: tuple[ResultFile, ...]


@dataclass(frozen=True)
class Query(Message):
    """Client to daemon: asks for the state of a job. Answered by `Status`, then `Ready` with all results so far."""

    kind = "query"
    job: str


@dataclass(frozen=True)
class Watch(Message):
    """Client to daemon: subscribes to `Status` and `Ready` of a job. Answered like `Query`."""

    kind = "watch"
    job: str


@dataclass(frozen=True)
class ListJobs(Message):
    """Client to daemon. Answered by one `Status` per job, oldest first, then `Listed`."""

    kind = "list-jobs"


@dataclass(frozen=True)
class Listed(Message):
    kind = "listed"
    jobs: int


@dataclass(frozen=True)
class Cancel(Message):
    """Client to daemon: requests cancellation. Answered by `Status`. Late and repeated cancels are normal."""

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
    """Client to daemon: asks how the results of a done job were made. Answered by `Provenance`."""

    kind = "get-provenance"
    job: str


@dataclass(frozen=True)
class Provenance(Message):
    """Daemon to client. The payload is a JSON object."""

    kind = "provenance"
    job: str


@dataclass(frozen=True)
class Fetched(Message):
    """Client to daemon: every result of this done job is saved and verified. Answered by the same message."""

    kind = "fetched"
    job: str


@dataclass(frozen=True)
class GetHealth(Message):
    """Client to daemon. Answered by `Health`."""

    kind = "get-health"


@dataclass(frozen=True)
class Health(Message):
    """Daemon to client. Its arrival shows that the daemon is alive; `ready` shows that it can run a job."""

    kind = "health"
    ready: bool
    devices: tuple[Device, ...] = ()
    queued: int = 0
    running: int = 0
    free: int = 0
    """Free bytes on the spool's disk."""
    code: str = ""
    text: str = ""
    hint: str = ""
    damaged: int = 0
    """Files, results and requests that were found changed on the daemon's disk since its start."""


@dataclass(frozen=True)
class GetMeasurements(Message):
    """Client to daemon: what did former jobs of this user take? Answered by `Measurements`."""

    kind = "get-measurements"
    operation: str
    engine: str

    def __post_init__(self) -> None:
        for what in ("operation", "engine"):
            _check_name(f"the {what}", getattr(self, what))


@dataclass(frozen=True)
class Measurements(Message):
    """Daemon to client. The payload is a JSON list with an object for each job."""

    kind = "measurements"
    operation: str
    engine: str


KINDS: dict[str, type[Message]] = {cls.kind: cls for cls in Message.__subclasses__()}
"""Every message class by its name on the wire."""

CARRIES_PAYLOAD: frozenset[type[Message]] = frozenset(
    {Submit, Put, Chunk, Provenance, JobRequest, Measurements}
)
