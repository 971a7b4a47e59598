from dataclasses import dataclass

from voidbridge_backend.daemon.net.unsent import STALLED_S, UnsentBytes


@dataclass
class Sent:
    """A message that libzmq holds until it is `done`."""

    done: bool = False


def test_bytes_count_until_their_message_has_left() -> None:
    unsent, one, two = UnsentBytes(), Sent(), Sent()
    unsent.add("a", "ana", 100, one, 0.0)
    unsent.add("a", "ana", 50, two, 0.0)
    assert unsent.of_peer("a", 1.0) == 150
    one.done = True
    assert unsent.of_peer("a", 1.0) == 50
    two.done = True
    assert unsent.of_peer("a", 1.0) == 0


def test_all_connections_of_a_user_count_together() -> None:
    unsent, sent = UnsentBytes(), Sent()
    unsent.add("a", "ana", 100, sent, 0.0)
    unsent.add("b", "ana", 10, Sent(), 0.0)
    unsent.add("c", "ben", 1, Sent(), 0.0)
    assert unsent.of_user("ana") == 110
    sent.done = True
    assert unsent.of_peer("a", 1.0) == 0
    assert (unsent.of_user("ana"), unsent.of_user("ben")) == (10, 1)


def test_a_connection_that_takes_nothing_is_stalled() -> None:
    unsent, sent = UnsentBytes(), Sent()
    unsent.add("slow", "ana", 100, sent, 0.0)
    unsent.add("slow", "ana", 100, Sent(), 0.0)
    unsent.add("dead", "ana", 100, Sent(), 0.0)
    sent.done = True
    assert unsent.stalled(STALLED_S - 1) == []
    assert unsent.stalled(STALLED_S + 1) == ["dead"]


def test_a_connection_that_is_gone_holds_nothing() -> None:
    unsent, sent = UnsentBytes(), Sent()
    unsent.add("a", "ana", 100, sent, 0.0)
    sent.done = True  # libzmq lets go of everything that was for it
    assert unsent.stalled(10 * STALLED_S) == []
    assert unsent.of_user("ana") == 0
