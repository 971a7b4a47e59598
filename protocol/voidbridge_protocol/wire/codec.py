"""Encodes and decodes wire messages: [MAGIC, JSON header, payload?]. Uses no sockets and no files.

`decode` returns a message or raises `ProtocolError`, and nothing else, for any input. Unknown fields are ignored,
so a newer peer may send more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from voidbridge_protocol.errors import BadMessage, VersionMismatch

from .fields import Frame as Frame
from .fields import build, json_object, shown
from .messages import CARRIES_PAYLOAD, KINDS, MAX_CHUNK, Message, Submit
from .request_payload import MAX_REQUEST as MAX_REQUEST
from .request_payload import decode_request as decode_request

PREFIX = b"VOIDBRIDGE/"
MAGIC = PREFIX + b"1"
"""Identifies the framing, not the protocol. It changes only if an old peer could no longer read a `Hello`."""

MAX_HEADER = 192 * 1024
"""Maximum header size in bytes. `Ready` for a long shot is sent in pieces of this size."""

RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


_to_json = json.JSONEncoder(allow_nan=False, default=_fields).encode
"""Encodes a dataclass as an object of its fields. `json.dumps` would create a new encoder on each call."""


def encode(message: Message, payload: Frame | None = None) -> list[Frame]:
    """Returns the frames of `message`. Only the kinds in `CARRIES_PAYLOAD` take a payload."""
    header = {"kind": message.kind, **vars(message)}
    frames: list[Frame] = [MAGIC, _to_json(header).encode()]
    if payload is not None:
        frames.append(payload)
    return frames


def decode(frames: Sequence[Frame]) -> tuple[Message, Frame | None]:
    """Returns the message and its payload. Raises `ProtocolError`."""
    if len(frames) not in (2, 3) or bytes(frames[0][: len(PREFIX)]) != PREFIX:
        raise BadMessage("this is not a Voidbridge message")
    if bytes(frames[0]) != MAGIC:
        raise VersionMismatch(
            f"the peer frames its messages as {shown(frames[0])}, this side as {shown(MAGIC)}"
        )
    header = json_object(frames[1], MAX_HEADER)
    cls = KINDS.get(str(header.get("kind")))
    if cls is None:
        raise BadMessage(f"unknown kind of message {shown(header.get('kind'))}")
    payload = frames[2] if len(frames) == 3 else None
    if (payload is not None) != (cls in CARRIES_PAYLOAD):
        raise BadMessage(f"{cls.kind!r} {'needs a' if payload is None else 'has no'} payload")
    limit = MAX_REQUEST if cls is Submit else MAX_CHUNK
    if payload is not None and len(payload) > limit:
        raise BadMessage(f"a payload of {len(payload)} bytes beside {cls.kind!r}; {limit} at most")
    return build(cls, header), payload


def ranges(indices: Iterable[int]) -> str:
    """Formats rising integers as "0-99,105"."""
    out: list[list[int]] = []
    for index in indices:
        if out and index == out[-1][1] + 1:
            out[-1][1] = index
        else:
            out.append([index, index])
    return ",".join(f"{a}-{b}" if b > a else str(a) for a, b in out)


def indices(text: str, below: int) -> list[int]:
    """Parses the text that `ranges` writes. Raises `BadMessage` for an index of `below` or more."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        match = RANGE.fullmatch(part)
        if match is None:
            raise BadMessage(f"{part[:40]!r} is not a range")
        a, b = int(match[1]), int(match[2] or match[1])
        if not (found[-1] if found else -1) < a <= b < below:
            raise BadMessage(f"the range {part} does not rise, or does not stay below {below}")
        found.extend(range(a, b + 1))
    return found
