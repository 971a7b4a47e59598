"""Builds dataclasses from JSON: each field by its type, and nothing else. Uses no sockets and no files."""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache, partial
from math import isfinite
from typing import Any, Union, get_args, get_origin, get_type_hints

from voidbridge_protocol.errors import BadMessage

MAX_INT = 2**63 - 1
"""Databases and other languages have no larger integers."""

Frame = bytes | memoryview

Reader = Callable[[Any, str], Any]
"""Converts a JSON value to a field's type. The second argument is the field's name for the `BadMessage` it may
raise.
"""


def json_object(data: Frame, limit: int) -> dict[str, Any]:
    if len(data) > limit:
        raise BadMessage(f"a header of {len(data)} bytes; {limit} at most")
    try:
        header = json.loads(str(data, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"unreadable header: {error}") from error
    if not isinstance(header, dict):
        raise BadMessage("the header is not a JSON object")
    return header


def build(cls: Any, values: Any, _where: str = "") -> Any:
    """Builds a dataclass from a JSON object. Used as a `Reader` too; its errors name the class, not the field."""
    if not isinstance(values, dict):
        raise BadMessage(f"{cls.__name__} should be an object, not {shown(values)}")
    return made(cls, arguments(cls, values))


def arguments(cls: Any, values: dict[str, Any]) -> dict[str, Any]:
    """The fields of `cls` that are among the values; a default, or `made`'s error, stands for the others."""
    return {
        name: read(values[name], called) for name, called, read in _readers(cls) if name in values
    }


def made(cls: Any, arguments: dict[str, Any]) -> Any:
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
        return partial(build, hint)
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
        raise BadMessage(f"{place} should be a list, not {shown(value)}")
    return value


def _optional(read: Reader, value: Any, place: str) -> Any:
    return None if value is None else read(value, place)


def _member(kind: type[Enum], value: Any, place: str) -> Enum:
    try:
        return kind(value)
    except ValueError as error:
        raise BadMessage(f"{place}: {shown(value)} is unknown") from error


def _plain(kind: Any, value: Any, place: str) -> Any:
    if type(value) is int and abs(value) > MAX_INT:
        raise BadMessage(f"{place} is a number of more than 63 bits")
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise BadMessage(f"{place} should be {kind.__name__}, not {shown(value)}")
    if kind is float and not isfinite(value):
        raise BadMessage(f"{place} is not a number")
    if kind is str and not _is_text(value):
        raise BadMessage(f"{place} is not Unicode text")
    return value


def _is_text(value: str) -> bool:
    """Rejects half a surrogate pair: JSON can hold one, but files, hashes and databases cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: Any) -> str:
    if isinstance(value, (list, dict)):  # may be nested deeper than repr() allows
        return "a list" if isinstance(value, list) else "an object"
    return ascii(bytes(value[:40]) if isinstance(value, (bytes, memoryview)) else value)[:60]
