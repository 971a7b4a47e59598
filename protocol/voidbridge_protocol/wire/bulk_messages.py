"""The wire messages of the bulk socket, which carries the bytes of files."""

from __future__ import annotations

from dataclasses import dataclass

from voidbridge_protocol.errors import BadMessage
from voidbridge_protocol.request import check_file

from .values import MAX_CHUNK, MAX_PATH, Message


@dataclass(frozen=True)
class Put(Message):
    """Client to daemon, bulk. The payload is the file's bytes from `offset` on. Spends credit.

    If the daemon has every byte but has not verified them, an empty payload at the end completes the file.
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
    """Client to daemon, bulk: asks the daemon to copy a file from a shared folder. Answered by `Got` or `Nack`."""

    kind = "import-file"
    sha256: str
    size: int
    path: str
    """Absolute path as on the client, inside one of `Welcome.shares`."""
    proof: str
    """Result of `shared_files.proof`: shows that the client can read the file."""

    def __post_init__(self) -> None:
        check_file(self.sha256, self.size)
        if len(self.path) > MAX_PATH:
            raise BadMessage(f"a path of {len(self.path)} characters; {MAX_PATH} at most")


@dataclass(frozen=True)
class Credit(Message):
    """Daemon to client, bulk: the client may send this many more payload bytes."""

    kind = "credit"
    amount: int

    def __post_init__(self) -> None:
        if self.amount < 0:
            raise BadMessage(f"a credit of {self.amount} bytes")


@dataclass(frozen=True)
class Got(Message):
    """Daemon to client, bulk: the complete file is in the spool, on disk, with its hash verified."""

    kind = "got"
    sha256: str


@dataclass(frozen=True)
class Nack(Message):
    """Daemon to client, bulk: the file was not accepted. Send it from `offset` on, or give up."""

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
    """Client to daemon, bulk: requests `length` bytes of a result from `offset` on. The client has space."""

    kind = "get"
    job: str
    frame: int
    offset: int
    length: int
    verify: bool = False
    """The result arrived damaged. The daemon hashes its own copy before it answers."""

    def __post_init__(self) -> None:
        if not 0 < self.length <= MAX_CHUNK or self.offset < 0:
            raise BadMessage(f"asks for {self.length} bytes at {self.offset}; {MAX_CHUNK} at most")
        if self.verify and self.offset:
            raise BadMessage(f"asks for a check at {self.offset}; only the first piece has one")


@dataclass(frozen=True)
class Chunk(Message):
    """Daemon to client, bulk. The payload is bytes of the result from `offset` on."""

    kind = "chunk"
    job: str
    frame: int
    offset: int
