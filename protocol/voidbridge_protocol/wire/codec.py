"""Encodes and decodes wire messages: [MAGIC, JSON header, payload?]. Uses no sockets and no files.

`decode` returns a message or raises `ProtocolError`, and nothing else, for any input. Unknown fields are ignored,
so a newer peer may send more. Settings are the exception: a silently dropped setting would change the picture.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache, partial
from math import isfinite
from typing import Any, Union, get_args, get_origin, get_type_hints

from voidbridge_protocol.errors import BadMessage, BadSetting, VersionMismatch
from voidbridge_protocol.operations import operation
from voidbridge_protocol.settings import OperationSettings

from .messages import CARRIES_PAYLOAD, KINDS, MAX_CHUNK, Message, Request, Submit

PREFIX = b"VOIDBRIDGE/"
MAGIC = PREFIX + b"1"
"""Identifies the framing, not the protocol. It changes only if an old peer could no longer read a `Hello`."""

MAX_HEADER = 192 * 1024
"""Maximum header size in bytes. `Ready` for a long shot is sent in pieces of this size."""
MAX_REQUEST = 8 * 1024 * 1024
"""Maximum payload of a `Submit` in bytes: 20,000 frames with plate, matte and affected."""

RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")

MAX_INT = 2**63 - 1
"""Databases and other languages have no larger integers."""

Frame = bytes | memoryview

Reader = Callable[[Any, str], Any]
"""Converts a JSON value to a field's type. The second argument is the field's name for the `BadMessage` it may
raise.
"""


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
        raise BadMessage("this is no Voidbridge message")
    if bytes(frames[0]) != MAGIC:
        raise VersionMismatch(
            f"the peer frames its messages as {_shown(frames[0])}, this side as {_shown(MAGIC)}"
        )
    header = _json_object(frames[1], MAX_HEADER)
    cls = KINDS.get(str(header.get("kind")))
    if cls is None:
        raise BadMessage(f"unknown kind of message {_shown(header.get('kind'))}")
    payload = frames[2] if len(frames) == 3 else None
    if (payload is not None) != (cls in CARRIES_PAYLOAD):
        raise BadMessage(f"{cls.kind!r} {'needs a' if payload is None else 'has no'} payload")
    limit = MAX_REQUEST if cls is Submit else MAX_CHUNK
    if payload is not None and len(payload) > limit:
        raise BadMessage(f"a payload of {len(payload)} bytes beside {cls.kind!r}; {limit} at most")
    return _build(cls, header), payload


def decode_request(payload: Frame) -> Request:
    """Reads a `Submit`'s payload. Raises `BadMessage`, or `RequestError` if a value is out of range."""
    body = _json_object(payload, MAX_REQUEST)
    values = _arguments(
        Request, {name: value for name, value in body.items() if name != "settings"}
    )
    kind = operation(values.get("operation", Request.operation))
    given = body.get("settings", {})
    if isinstance(given, dict):
        known = {field.name for field in fields(kind.settings)}
        if unknown := sorted(set(given) - known):
            raise BadSetting(
                f"this daemon has no setting {', '.join(map(ascii, unknown))[:200]}",
                "The client is newer than the daemon: update the daemon or omit the setting.",
            )
    settings: OperationSettings = _build(kind.settings, given)
    request: Request = _made(Request, {**values, "settings": settings})
    return request


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
            raise BadMessage(f"{part[:40]!r} is no range")
        a, b = int(match[1]), int(match[2] or match[1])
        if not (found[-1] if found else -1) < a <= b < below:
            raise BadMessage(f"the range {part} does not rise, or does not stay below {below}")
        found.extend(range(a, b + 1))
    return found


def _json_object(data: Frame, limit: int) -> dict[str, Any]:
    if len(data) > limit:
        raise BadMessage(f"a header of {len(data)} bytes; {limit} at most")
    try:
        header = json.loads(str(data, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"unreadable header: {error}") from error
    if not isinstance(header, dict):
        raise BadMessage("the header is no JSON object")
    return header


def _build(cls: Any, values: Any, _where: str = "") -> Any:
    """Builds a dataclass from a JSON object. Used as a `Reader` too; its errors name the class, not the field."""
    if not isinstance(values, dict):
        raise BadMessage(f"{cls.__name__} should be an object, not {_shown(values)}")
    return _made(cls, _arguments(cls, values))


def _arguments(cls: Any, values: dict[str, Any]) -> dict[str, Any]:
    """The fields of `cls` that are among the values; a default, or `_made`'s error, stands for the others."""
    return {
        name: read(values[name], called) for name, called, read in _readers(cls) if name in values
    }


def _made(cls: Any, arguments: dict[str, Any]) -> Any:
    try:
        return cls(**arguments)
    except TypeError as error:
        raise BadMessage(f"{cls.__name__} is incomplete: {error}") from error


@cache
def _readers(cls: Any) -> tuple[tuple[str, str, Reader], ...]:
    """Returns name, error name and reader of each field. Cached, because it would be repeated for every message."""
    hints = get_type_hints(cls)
    return tuple(
        (field.name, f"{cls.__name__}.{field.name}", _reader(hints[field.name]))
        for field in fields(cls)
    )


def _reader(hint: Any) -> Reader:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is tuple and inner[-1] is Ellipsis:
        return partial(_row, _reader(inner[0]))
    if origin is tuple:
        return partial(_group, tuple(map(_reader, inner)))
    if origin in (Union, types.UnionType):
        return partial(_optional, _reader(next(arg for arg in inner if arg is not type(None))))
    if is_dataclass(hint):
        return partial(_build, hint)
    if issubclass(hint, Enum):
        return partial(_member, hint)
    return partial(_plain, hint)


def _row(read: Reader, value: Any, place: str) -> tuple[Any, ...]:
    return tuple(read(item, place) for item in _list(value, place))


def _group(readers: tuple[Reader, ...], value: Any, place: str) -> tuple[Any, ...]:
    if len(_list(value, place)) != len(readers):
        raise BadMessage(f"{place} should have {len(readers)} items, not {len(value)}")
    return tuple(read(item, place) for read, item in zip(readers, value, strict=True))


def _list(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadMessage(f"{place} should be a list, not {_shown(value)}")
    return value


def _optional(read: Reader, value: Any, place: str) -> Any:
    return None if value is None else read(value, place)


def _member(kind: type[Enum], value: Any, place: str) -> Enum:
    try:
        return kind(value)
    except ValueError as error:
        raise BadMessage(f"{place}: {_shown(value)} is unknown") from error


def _plain(kind: Any, value: Any, place: str) -> Any:
    if type(value) is int and abs(value) > MAX_INT:
        raise BadMessage(f"{place} is a number of more than 63 bits")
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise BadMessage(f"{place} should be {kind.__name__}, not {_shown(value)}")
    if kind is float and not isfinite(value):
        raise BadMessage(f"{place} is not a number")
    if kind is str and not _is_text(value):
        raise BadMessage(f"{place} is no Unicode text")
    return value


def _is_text(value: str) -> bool:
    """Rejects half a surrogate pair: JSON can hold one, but files, hashes and databases cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: Any) -> str:
    if isinstance(value, (list, dict)):  # may be nested deeper than repr() allows
        return "a list" if isinstance(value, list) else "an object"
    return ascii(bytes(value[:40]) if isinstance(value, (bytes, memoryview)) else value)[:60]
