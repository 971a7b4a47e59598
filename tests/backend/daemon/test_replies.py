"""Nobody hears of a job what a power cut would undo, and nobody waits for the disk because of another's."""

from __future__ import annotations

from voidbridge_backend.daemon.net.replies import Replies
from voidbridge_backend.daemon.net.router import PeerId
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.wire.codec import Frame
from voidbridge_protocol.wire.messages import Accepted, Message, Pong, Provenance, Refused

ANA, BEN = PeerId(False, b"ana"), PeerId(False, b"ben")
ACCEPTED = Accepted("new", JobState.RECEIVING, "", ())


class Said:
    """An outbox, the jobs that are not on disk, and what was sent."""

    def __init__(self) -> None:
        self.uncommitted = {"new"}
        self.sent: list[tuple[PeerId, Message, Frame | None]] = []
        self.box = Replies(
            lambda *what: self.sent.append(what), lambda job: job not in self.uncommitted
        )

    def messages(self, line: PeerId) -> list[Message]:
        return [message for to, message, _ in self.sent if to == line]


def test_what_is_on_disk_is_said_at_once() -> None:
    said = Said()
    said.box.send(ANA, Provenance("old"), b"record")
    said.box.send(ANA, Pong())
    assert said.sent == [(ANA, Provenance("old"), b"record"), (ANA, Pong(), None)]


def test_what_is_not_waits_and_so_does_what_follows_on_that_line_only() -> None:
    said = Said()
    said.box.send(ANA, ACCEPTED)
    said.box.send(ANA, Provenance("old"), b"record")
    said.box.send(BEN, Pong())
    assert said.sent == [(BEN, Pong(), None)]
    said.uncommitted.clear()
    said.box.release(committed=True)
    assert said.messages(ANA) == [ACCEPTED, Provenance("old")]
    said.box.release(committed=True)
    said.box.send(ANA, Pong())
    assert len(said.sent) == 4, "each once, and then at once again"


def test_without_room_each_who_waits_hears_why_once_and_the_rest_as_it_is() -> None:
    said = Said()
    for line in (ANA, BEN):
        said.box.send(line, ACCEPTED)
        said.box.send(line, Provenance("new"), b"record")
        said.box.send(line, Pong())
    said.uncommitted.clear()  # it is certain that there is no such job
    said.box.release(committed=False)
    for line in (ANA, BEN):
        refused, pong = said.messages(line)
        assert isinstance(refused, Refused)
        assert refused.code == "daemon.spool-full"
        assert pong == Pong()
