"""Additions of a site: values of new nodes from a file, and calls after each finished result."""

from __future__ import annotations

import json
import os
import traceback
from typing import Any, Callable, Mapping

from .knobs import Value
from .operations import HostOperation
from .request import NodeError

DEFAULTS = "NUKE_VOIDBRIDGE_DEFAULTS"
"""Environment variable with the path of a JSON file: by operation, knobs and their values for new nodes."""
PUBLISHED: list[Callable[[dict[str, Any]], Any]] = []
"""Called with the record of each finished result, on the main thread."""


def defaults(operation: HostOperation) -> dict[str, Value]:
    """Returns the site's values for a new node. Raises `NodeError` for a file that does not fit."""
    path = os.environ.get(DEFAULTS, "")
    if not path:
        return {}
    advice = f"Mend it, or unset {DEFAULTS}."
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file).get(operation.name, {})
        wanted = {str(name): value for name, value in found.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise NodeError(f"The site's defaults {path} cannot be read: {error}.", advice) from error
    for name, value in wanted.items():
        knob = operation.by_name.get(name)
        if knob is None or not knob.has_value or knob.hidden:
            raise NodeError(f"The site's defaults {path} name the unknown knob {name}.", advice)
        if type(value) is not type(knob.default) or (knob.choices and value not in knob.choices):
            raise NodeError(f"The site's defaults {path} give {name} the value {value!r}.", advice)
    return wanted


SUBMITTED: list[Callable[[dict[str, Any]], Any]] = []
"""Called with the record of each farm job that was written, on the main thread."""


def add_submitted(call: Any) -> None:
    """Adds a call that takes the record of a written farm job."""
    SUBMITTED.append(call)


def add_published(call: Any) -> None:
    """Adds a call that takes the record of a finished result."""
    PUBLISHED.append(call)


def publish(record: Mapping[str, Any]) -> None:
    """Makes the site's calls. An error of one is written to the terminal, and stops nothing."""
    _tell(PUBLISHED, record)


def submitted(record: Mapping[str, Any]) -> None:
    """The same for a written farm job."""
    _tell(SUBMITTED, record)


def _tell(calls: list[Callable[[dict[str, Any]], Any]], record: Mapping[str, Any]) -> None:
    for call in calls:
        try:
            call(dict(record))
        except Exception:  # any error, because the work is finished
            traceback.print_exc()
