"""The events that a worker may send, checked: a worker decodes files from outside, and may have been taken over."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from voidbridge_backend.measured import is_measured

MOST_LINE = 1 << 20
"""Bytes of an event. The longest, `failed` with its files, stays far below."""
MOST_NUMBER = 10**15
"""Largest number, without its sign: the job table and the protocol hold 63 bits."""
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_int(value: Any) -> bool:
    return type(value) is int and -MOST_NUMBER <= value <= MOST_NUMBER


def _is_count(value: Any) -> bool:
    return _is_int(value) and value >= 0


def _is_size(value: Any) -> bool:
    return _is_int(value) and value >= 1


def _is_number(value: Any) -> bool:
    return _is_int(value) or (type(value) is float and -MOST_NUMBER <= value <= MOST_NUMBER)


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and bool(SHA256.fullmatch(value))


def _are_hashes(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_hash, value))


def _is_measured(value: Any) -> bool:
    return value is None or is_measured(value)


FIELDS: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "ready": {},
    "prepared": {},
    "progress": {"stage": _is_text, "step": _is_int, "of": _is_int, "seconds_left": _is_number},
    "warning": {"text": _is_text},
    "result": {"frame": _is_int, "sha256": _is_hash, "size": _is_size},
    "more devices": {"count": _is_count},
    "ask": {"device": _is_text, "operation": _is_text, "engine": _is_text, "task": _is_int},
    "assisted": {"task": _is_int, "why": _is_text},
    "done": {"provenance": _is_hash},
    "failed": {"code": _is_text, "text": _is_text, "hint": _is_text, "files": _are_hashes},
    "cancelled": {},
    "unusable": {"text": _is_text},
    "away": {"text": _is_text},
    "worker_exit": {"code": _is_int},
}
"""The fields of each event. Others are ignored."""
OPTIONAL: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {"done": {"measured": _is_measured}}
"""Fields that an event may have, checked too."""


def parsed(line: bytes) -> dict[str, Any]:
    """Returns the event in a line. Raises `ValueError` if it is none.

    Texts are Unicode that SQLite and the protocol can hold: half a surrogate pair is spelled out.
    """
    try:
        event = json.loads(line)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    fields = FIELDS.get(str(event.get("event"))) if isinstance(event, dict) else None
    if fields is None:
        raise ValueError("it names no event")
    for name, is_right in fields.items():
        if name not in event or not is_right(event[name]):
            raise ValueError(f"{name} of {event['event']} is missing or wrong")
    for name, is_right in OPTIONAL.get(event["event"], {}).items():
        if name in event and not is_right(event[name]):
            raise ValueError(f"{name} of {event['event']} is wrong")
    return {name: _unicode(value) for name, value in event.items()}


def _unicode(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if _is_text(value) else value
