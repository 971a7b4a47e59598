"""Nobody holds a connection for nothing, and who says what a client says is left in peace."""

from __future__ import annotations

import random

from voidbridge_backend.daemon.net.connections import (
    HELLO_S,
    SILENT_S,
    STRANGERS,
    Lobby,
    Place,
    Visitor,
)


def at(number: int, bulk: bool = False) -> Place:
    return Place(bulk, number)


def came(lobby: Lobby, number: int, address: str = "ana", now: float = 0.0) -> list[int]:
    visitor = Visitor(at(number), 1000 + number, address, now)
    return [other.place.descriptor for other in lobby.came(visitor)]


def test_who_says_nothing_goes_and_who_says_hello_stays() -> None:
    lobby = Lobby(1000)
    for number in (1, 2, 3):
        assert came(lobby, number) == []
    lobby.spoke(at(2), 1.0)
    assert lobby.overdue(HELLO_S) == []
    assert [visitor.place.descriptor for visitor in lobby.overdue(HELLO_S + 0.1)] == [1, 3]
    assert lobby.overdue(HELLO_S + 0.1) == [], "each once"
    lobby.spoke(at(2), 80.0)
    assert lobby.overdue(80.0 + SILENT_S) == []
    assert [visitor.place.descriptor for visitor in lobby.overdue(81.0 + SILENT_S)] == [2]
    assert len(lobby) == 0


def test_the_oldest_strangers_of_an_address_make_room_and_no_client_does() -> None:
    lobby = Lobby(10_000)
    assert came(lobby, 0, "ben") == []
    for number in range(1, STRANGERS + 1):
        assert came(lobby, number) == []
    lobby.spoke(at(1), 0.0)
    assert came(lobby, 500) == []
    assert came(lobby, 501) == [2]
    assert came(lobby, 502) == [3]
    assert len(lobby) == STRANGERS + 2


def test_of_strangers_from_everywhere_the_largest_crowd_makes_room() -> None:
    lobby = Lobby(20)
    for number in range(15):
        came(lobby, number, "crowd")
    for number in range(15, 20):
        assert came(lobby, number, f"lonely {number}") == []
    assert came(lobby, 20, "late") == [0]
    assert came(lobby, 21, "later") == [1]


def test_who_was_not_listened_to_was_not_silent() -> None:
    lobby = Lobby(10)
    came(lobby, 1)
    lobby.excuse(500.0)
    assert lobby.overdue(500.0 + HELLO_S) == []
    assert len(lobby.overdue(501.0 + HELLO_S)) == 1


def test_a_descriptor_that_is_used_again_is_another_connection() -> None:
    lobby = Lobby(10)
    came(lobby, 7)
    lobby.spoke(at(7), 0.0)
    came(lobby, 7, "ben", now=50.0)
    (late,) = lobby.overdue(50.0 + HELLO_S + 1)
    assert (late.place.descriptor, late.address) == (7, "ben")
    lobby.left(at(7))
    lobby.spoke(at(7), 0.0)


def test_the_end_of_a_connection_heard_of_late_is_not_that_of_the_others_socket() -> None:
    """Each socket tells of its own in order; a descriptor that one let go may be the other's at once."""
    lobby = Lobby(10)
    came(lobby, 7)
    lobby.came(Visitor(at(7, bulk=True), 2007, "ana", 1.0))
    lobby.left(at(7))
    (held,) = lobby.overdue(2.0 + HELLO_S)
    assert (held.place, held.mark) == (at(7, bulk=True), 2007)


def test_there_are_never_more_strangers_than_there_may_be() -> None:
    chance, lobby, known = random.Random(2), Lobby(50), set[int]()
    for turn in range(5000):
        number = chance.randrange(2000)
        match chance.randrange(4):
            case 0 if number in known:
                lobby.left(at(number))
                known.discard(number)
            case 1:
                lobby.spoke(at(number), turn)
                known |= {place.descriptor for place in {at(number)} & lobby._all.keys()}
            case _:
                lobby.came(Visitor(at(number), turn, f"a{number % 3}", turn))
                known.discard(number)
        strangers = [visitor for visitor in lobby._all.values() if not visitor.known]
        assert len(strangers) <= 50
        assert sum(map(len, lobby._strangers.values())) == len(strangers)
        assert {at(number) for number in known} <= lobby._all.keys()
