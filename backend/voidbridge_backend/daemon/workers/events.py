"""The events that a worker may send, checked: a worker decodes files from outside, and may have been taken over."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

MOST_LINE = 1 << 20
"""Bytes of an event. The longest, `failed` with its files, stays far below."""
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_int(value) or isinstance(value, float)


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and bool(SHA256.fullmatch(value))


def _are_hashes(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_hash, value))


FIELDS: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "ready": {},
    "prepared": {},
    "progress": {"stage": _is_text, "step": _is_int, "of": _is_int, "seconds_left": _is_number},
    "warning": {"text": _is_text},
    "result": {"frame": _is_int, "sha256": _is_hash, "size": _is_int},
    "more devices": {"count": _is_int},
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


def parsed(line: bytes) -> dict[str, Any]:
    """Returns the event in a line. Raises `ValueError` if it is none."""
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
    return dict(event)
