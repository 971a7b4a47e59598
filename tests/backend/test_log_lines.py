"""A line of the log is one line, whatever a client calls itself."""

from __future__ import annotations

import io
import logging

import pytest

from voidbridge_backend import log_format


@pytest.mark.parametrize("hostile", ["ana\nINFO:forged", "ana\r\x1b[2Jgone", "a\u2028b", "a b\n c"])
def test_nobody_forges_a_line(hostile: str) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(log_format.KeyValues())
    log = logging.Logger("test")
    log.addHandler(handler)
    log.info("refused: %s", hostile, extra={"user": hostile, "job": "j1"})
    (line,) = stream.getvalue().removesuffix("\n").split("\n")
    assert line.isprintable()
    assert line.endswith("job=j1")
