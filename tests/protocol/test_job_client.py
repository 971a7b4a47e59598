"""A conversation over a wire of which the test says what comes, and in which order it is asked for."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from voidbridge_protocol.job_client import Fetch, Listener
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.wire.connection import ConnectionOptions, ServerConnection
from voidbridge_protocol.wire.messages import (
    PROTOCOL,
    Chunk,
    Get,
    Hello,
    Limits,
    Message,
    Provenance,
    Ready,
    ResultFile,
    Status,
    Welcome,
)

JOB = "a" * 32
PIECE = 10
RESULT = bytes(range(5 * PIECE))


class Script:
    """A `ServerConnection` to a daemon with one result. Pieces arrive as soon as they are asked for."""

    def __init__(self) -> None:
        limits = Limits(chunk=PIECE, window=2 * PIECE)
        self.welcome = Welcome(PROTOCOL, "script", "epoch", "5578", limits)
        self.peer = ConnectionOptions(
            "script", Hello(1, PROTOCOL, "session", "artist", "test"), 1.0, 1.0
        )
        self.asked: list[int] = []
        self.asked_when_served: list[int] = []
        """For each piece, how many were asked for when the client took it."""

    def send(self, message: Message) -> None:
        """Nothing of what a client says on the control socket changes this script."""

    def send_bulk(self, message: Message) -> bool:
        if isinstance(message, Get):
            self.asked.append(message.offset)
        return True

    def receive(self, timeout_ms: int) -> Iterator[tuple[Message, bytes | None]]:
        if not self.asked:
            yield (
                Ready(JOB, (ResultFile(1, hashlib.sha256(RESULT).hexdigest(), len(RESULT)),)),
                None,
            )
        while len(self.asked_when_served) < len(self.asked):
            offset = self.asked[len(self.asked_when_served)]
            self.asked_when_served.append(len(self.asked))
            yield Chunk(JOB, 1, offset), RESULT[offset : offset + PIECE]
        if len(self.asked_when_served) * PIECE == len(RESULT):
            yield Status(JOB, JobState.DONE, frames=1), None
            yield Provenance(JOB), b"{}"

    def answers(self, patience: float) -> Iterator[tuple[Message, bytes | None]]:
        """Nothing answers that results were fetched."""
        return iter(())

    def close(self) -> None:
        """There is nothing to close."""


def test_the_next_piece_is_asked_for_before_what_came_with_the_last_is_dealt_with(
    tmp_path: Path,
) -> None:
    script = Script()
    fetch = Fetch(
        cast(ServerConnection, script), JOB, lambda frame: tmp_path / f"{frame}.exr", Listener()
    )

    fetch.carry_out()

    assert (tmp_path / "1.exr").read_bytes() == RESULT
    assert script.asked == [0, 10, 20, 30, 40]
    assert script.asked_when_served == [2, 3, 4, 5, 5]
