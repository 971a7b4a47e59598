"""Log lines: time, level, message, then job and other fields as key=value."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TextIO

job: ContextVar[str] = ContextVar("job", default="")
"""The job of the running code."""

_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class KeyValues(logging.Formatter):
    """`2026-05-01T12:00:00+0200 INFO worker started device=cuda:0 pid=4711`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = {key: value for key, value in vars(record).items() if key not in _USUAL}
        if "job" not in fields and job.get():
            fields["job"] = job.get()
        return one_line(" ".join([super().formatMessage(record), *map(_pair, fields.items())]))


def setup(stream: TextIO, level: int = logging.INFO) -> None:
    """Sends all log lines to `stream`; the system rotates logs."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(KeyValues())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def one_line(text: str) -> str:
    """Escapes text from outside, as a file's name, so that it cannot add lines or steer a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _pair(item: tuple[str, object]) -> str:
    key, value = item
    text = str(value)
    return f"{key}={text!r}" if " " in text or not text else f"{key}={text}"
