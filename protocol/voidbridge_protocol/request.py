"""A client's request for one job: an operation, its settings, and files named by the hash of their content.

Frozen dataclasses of plain values that validate themselves. A daemon's job is a request plus its user.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass

from .errors import BadMessage
from .operations import operation
from .settings import OperationSettings

ROLE = re.compile(r"[a-z][a-z0-9_-]{0,31}")


MOST_INDEX = 10_000_000
"""Frames of one clip; a day at 60 frames a second has 5,184,000."""


def check_file(sha256: str, size: int) -> None:
    """Raises `BadMessage` unless both are valid. Hashes become file names, so nothing else may pass."""
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise BadMessage(f"{sha256[:80]!r} is not a SHA-256 in hexadecimal")
    if size < 1:
        raise BadMessage(f"a file of {size} bytes")


@dataclass(frozen=True, slots=True)
class FrameFile:
    """One file of a job: its role, its frame number, and the hash and size of its content."""

    role: str
    """One of the operation's roles, which the request checks."""
    frame: int
    sha256: str
    size: int
    index: int = 0
    """The frame's place in a clip, from 0; 0 for a file of one frame."""

    def __post_init__(self) -> None:
        if not 0 <= self.index < MOST_INDEX:
            raise BadMessage(f"the index {self.index} of a frame in its file")
        if not ROLE.fullmatch(self.role):
            raise BadMessage(f"{ascii(self.role)[:60]} is not a role of a file")
        check_file(self.sha256, self.size)


MAX_TEXT = 8192
"""Maximum characters of a setting, such as the prompt."""


@dataclass(frozen=True)
class Request:
    """A request for one job. Results cover `first` to `last`, both included, one file for each frame.

    Files outside that range are handles: the engine sees them, but returns no result for them.
    """

    first: int
    last: int
    settings: OperationSettings
    files: tuple[FrameFile, ...]
    operation: str = "remove"

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise BadMessage(f"the frame range {self.first}-{self.last} ends before it begins")
        for name, value in vars(self.settings).items():
            if isinstance(value, str) and len(value) > MAX_TEXT:
                raise BadMessage(f"{name} has {len(value)} characters; {MAX_TEXT} at most")
        order = [(file.role, file.frame) for file in self.files]
        if len(set(order)) != len(order) or order != sorted(order):
            raise BadMessage("the files are not sorted by role and frame, one for each")
        frames: dict[str, list[int]] = {}
        for role, frame in order:
            frames.setdefault(role, []).append(frame)
        kind = operation(self.operation)
        if type(self.settings) is not kind.settings:
            raise BadMessage(f"{type(self.settings).__name__} are not settings of {self.operation}")
        kind.check_frames(frames, self.first, self.last)

    @property
    def pictures(self) -> range:
        """The numbers of the results that are frames."""
        return range(self.first, self.last + (0 if self.settings.has_sound else 1))

    @property
    def sound(self) -> int | None:
        """The number of the result that is the sound of the frames, as WAV, if there is one: the last."""
        return self.last if self.settings.has_sound else None

    def canonical(self) -> bytes:
        """Returns the same bytes for the same request. Their hash is part of the job's key."""
        others = {
            "first": self.first,
            "last": self.last,
            "operation": self.operation,
            "settings": asdict(self.settings),
        }
        rest = json.dumps(others, sort_keys=True, separators=(",", ":"))
        # By hand, as a job may have 60,000 of them: `json` would keep every other thread waiting meanwhile.
        files = ",".join(
            f'{{"frame":{file.frame},"index":{file.index},"role":"{file.role}",'
            f'"sha256":"{file.sha256}","size":{file.size}}}'
            for file in self.files
        )
        return f'{{"files":[{files}],{rest[1:]}'.encode()

    def key(self, user: str) -> str:
        """Returns the id of this job. The same request of the same user has the same id."""
        return hashlib.sha256(user.encode() + b"\0" + self.canonical()).hexdigest()[:24]
