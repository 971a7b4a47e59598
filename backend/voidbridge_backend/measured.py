"""Checks what a job took. Workers, daemons and files tell it, and all of them are outside."""

from __future__ import annotations

import json
from typing import Any

MOST = 10**15
"""Largest number in a measurement, in a setting too: no job has so many bytes or seconds."""
MOST_TEXT = 256
"""Characters of the name of a user, an operation, an engine or a device."""
MOST_EFFORT = 1000
"""Characters of the settings of a job. They are a dozen numbers and words."""
COUNTS = ("frames", "seen", "width", "height")
"""Integers."""
NUMBERS = (*COUNTS, "seconds", "memory", "card_memory")
"""Figures that a worker measures."""
NAMES = ("operation", "engine", "device")
"""Fields that a daemon adds."""


def is_measured(found: object) -> bool:
    """Whether these are figures of a worker: each number in its bounds, and a job with frames of a size."""
    return (
        isinstance(found, dict)
        and all(_is_number(found.get(name)) for name in NUMBERS)
        and all(type(found[name]) is int for name in COUNTS)
        and found["frames"] + found["seen"] > 0 < found["width"] * found["height"]
        and isinstance(found.get("effort"), dict)
        and all(_is_setting(value) for value in found["effort"].values())
        and len(repr(found["effort"])) < MOST_EFFORT
    )


def is_listed(found: object) -> bool:
    """Whether it is a measured job as a daemon tells a client of it."""
    return (
        isinstance(found, dict)
        and all(_is_name(found.get(name)) for name in NAMES)
        and is_measured(found)
    )


def kept_job(line: str) -> dict[str, Any] | None:
    """Returns the job in a line of the file of measurements, with its user; None if it is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if is_listed(found) and _is_name(found.get("user")) else None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and value is not True and 0 <= value <= MOST


def _is_setting(value: object) -> bool:
    return isinstance(value, (str, bool)) or _is_number(value)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MOST_TEXT
