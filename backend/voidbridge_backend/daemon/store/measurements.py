"""Time and memory of jobs that were done, for the estimate of the next one: a file of JSON lines in the spool.

    SPOOL/measured.jsonl     one job a line: user, operation, engine, effort, device, sizes, seconds, bytes

A line that cannot be read is passed over, and a line that cannot be written is left out: no job depends on it.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from voidbridge_backend.measured import NUMBERS, is_measured, kept_job
from voidbridge_protocol import __version__

from .job_table import Row

log = logging.getLogger(__name__)

FILE = "measured.jsonl"
MOST = 500
"""Lines that are kept; older ones are dropped when the daemon starts."""
MOST_ANSWERED = 50
"""Jobs in one answer, the newest ones."""


class MeasuredJobs:
    """The file in a spool's folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lines: deque[dict[str, Any]] = deque(maxlen=MOST)
        text = ""
        with suppress(OSError):
            text = self._path.read_text("utf-8", "replace")
        lines = text.splitlines()
        self._lines.extend(found for line in lines if (found := kept_job(line)))
        if len(lines) > MOST:
            with suppress(OSError):
                self._path.write_text("".join(_line(one) for one in self._lines), "utf-8")

    def add(self, row: Row, device: str, measured: object) -> None:
        """Adds a job that is done. Malformed figures of a worker are ignored."""
        if not isinstance(measured, dict) or not is_measured(measured):
            return
        found = {
            "user": row.user,
            "operation": row.operation,
            "engine": row.engine,
            "effort": measured["effort"],
            "device": device,
            "version": __version__,
            **{name: measured[name] for name in NUMBERS},
        }
        self._lines.append(found)
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_line(found))
        except OSError as error:
            log.warning("a measurement is not kept: %s", error)

    def of(self, user: str, operation: str, engine: str) -> bytes:
        """Returns the newest jobs of this user as a JSON list, oldest first: others' jobs are nobody's business."""
        found = [
            {name: value for name, value in line.items() if name != "user"}
            for line in self._lines
            if (line["user"], line["operation"], line["engine"]) == (user, operation, engine)
        ]
        return json.dumps(found[-MOST_ANSWERED:]).encode()


def _line(found: Mapping[str, Any]) -> str:
    return json.dumps(found, ensure_ascii=True) + "\n"
