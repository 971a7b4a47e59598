"""Shows a job's progress to a farm: messages of Open Job Description on standard output.

From: Open Job Description, "How Jobs Are Run": openjd_progress, openjd_status, openjd_fail.
"""

from __future__ import annotations

import sys
from typing import Any

from voidbridge_backend.log_format import one_line
from voidbridge_protocol.errors import VoidbridgeError


class OpenJdView:
    """The share of finished frames as progress, and each stage as status."""

    def __init__(self) -> None:
        self._stage = ""
        self._total = 0
        self._finished = 0

    def stage(self, text: str, done: int, of: int, seconds_left: float = -1.0) -> None:
        if text != self._stage:
            self._stage = text
            _say("status", text)

    def message(self, text: str) -> None:
        _print(f"  {text}" if text.startswith("openjd_") else text)

    def event(self, name: str, **fields: Any) -> None:
        if name == "request":
            first, last = fields["frames"]
            self._total = last - first + 1
        elif name == "frame" and self._total:
            self._finished += 1
            _say("progress", f"{100 * self._finished / self._total:.1f}")

    def close(self) -> None:
        pass


def show_failure(error: VoidbridgeError) -> None:
    """Says why the task failed, on one line."""
    _say("fail", f"{error.text} {error.hint} [{error.code}]")


def _say(kind: str, text: str) -> None:
    _print(f"openjd_{kind}: {' '.join(text.split())}")


def _print(text: str) -> None:
    sys.stdout.write(one_line(text) + "\n")
    sys.stdout.flush()
