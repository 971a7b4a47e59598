"""The actor's own class with its real worker, called without Ray."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voidbridge_backend.client.submission import Submission
from voidbridge_backend.cluster.card import LENT, Card
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.messages import Request

CHECKPOINT = "checkpoint.safetensors"


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Card]:
    folder = tmp_path_factory.mktemp("node")
    made = Card(0, {"do": "setup", "models": "", "sandbox": "off"}, str(folder), 1 << 40)
    yield made
    made.stop()
    made._worker.wait(120)
    assert made._worker.stdout
    made._worker.stdout.close()


def until(lines: Iterator[tuple[str, bytes]], *events: str) -> tuple[dict[str, Any], bytes]:
    """The first of these events, and the data before it."""
    data = b""
    for kind, piece in lines:
        if kind == "data":
            data += piece
            continue
        event: dict[str, Any] = json.loads(piece)
        if event["event"] in events:
            return event, data
        assert event["event"] != "failed", event
        data = b""
    raise AssertionError("the worker ended")


def request(card: Card, folder: Path) -> Request:
    """A long job of one frame, whose files are on the node."""
    light = np.tile(np.array([1, 0], np.float16), (4, 1))
    for name, channels in (("plate", "RGB"), ("matte", "A")):
        (folder / f"{name}.1001.exr").write_bytes(new_file(dict.fromkeys(channels, light)))
    files = {name: Sequence.parse(folder / f"{name}.%04d.exr") for name in ("plate", "matte")}
    settings = RemoveSettings(engine="echo", grow=0, soften=0, steps=1000)
    task = Submission(files, settings).task(lambda _: Path(), lambda done, of: None, lambda: False)
    for file, path in zip(task.request.files, task.sources, strict=True):
        assert card.import_file("user", file.sha256, str(path))
    return task.request


def test_a_stopped_job_brings_back_from_what_the_next_attempt_goes_on(
    card: Card, tmp_path: Path
) -> None:
    made, lines = request(card, tmp_path), card.lines()
    for piece in (b"half a ", b"training"):
        card.go_on("run", CHECKPOINT, piece)
    assert card.begin("job", "run", "user", made.canonical()) == []
    while until(lines, "progress")[0]["stage"] != "removing":
        continue
    card.tell({"do": "cancel", "job": "job"})
    event, data = until(lines, "cancelled", "failed", "done")
    assert (event["event"], event["kept"]) == ("cancelled", CHECKPOINT)
    assert data == b"half a training"
    card.assist(
        7,
        b"a task",
        {"do": "assist", "job": "other", "operation": "remove", "task": 7, "engine": "echo"},
    )
    event, data = until(lines, "assisted")
    assert (event["task"], data) == (7, b"")
    assert event["why"]  # this engine helps nobody
    assert list((card._cache.results(LENT)).iterdir()) == []
