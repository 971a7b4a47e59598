"""Nobody holds a connection for nothing, and who says what a client says is left in peace."""

from __future__ import annotations

import random

from voidbridge_backend.daemon.net.connections import (
    HELLO_S,
    SILENT_S,
    UNAUTHENTICATED,
    Connection,
    Connections,
    Descriptor,
)


def at(number: int, bulk: bool = False) -> Descriptor:
    return Descriptor(bulk, number)


def came(
    connections: Connections, number: int, address: str = "ana", now: float = 0.0
) -> list[int]:
    connection = Connection(at(number), 1000 + number, address, now)
    return [other.descriptor.number for other in connections.opened(connection)]


def test_who_says_nothing_goes_and_who_says_hello_stays() -> None:
    connections = Connections(1000)
    for number in (1, 2, 3):
        assert came(connections, number) == []
    connections.authenticated(at(2), 1.0)
    assert connections.overdue(HELLO_S) == []
    assert [connection.descriptor.number for connection in connections.overdue(HELLO_S + 0.1)] == [
        1,
        3,
    ]
    assert connections.overdue(HELLO_S + 0.1) == [], "each once"
    connections.authenticated(at(2), 80.0)
    assert connections.overdue(80.0 + SILENT_S) == []
    assert [
        connection.descriptor.number for connection in connections.overdue(81.0 + SILENT_S)
    ] == [2]
    assert len(connections) == 0


def test_the_oldest_strangers_of_an_address_make_room_and_no_client_does() -> None:
    connections = Connections(10_000)
    assert came(connections, 0, "ben") == []
    for number in range(1, UNAUTHENTICATED + 1):
        assert came(connections, number) == []
    connections.authenticated(at(1), 0.0)
    assert came(connections, 500) == []
    assert came(connections, 501) == [2]
    assert came(connections, 502) == [3]
    assert len(connections) == UNAUTHENTICATED + 2


def test_of_strangers_from_everywhere_the_largest_crowd_makes_room() -> None:
    connections = Connections(20)
    for number in range(15):
        came(connections, number, "crowd")
    for number in range(15, 20):
        assert came(connections, number, f"lonely {number}") == []
    assert came(connections, 20, "late") == [0]
    assert came(connections, 21, "later") == [1]


def test_who_was_not_listened_to_was_not_silent() -> None:
    connections = Connections(10)
    came(connections, 1)
    connections.restart_deadlines(500.0)
    assert connections.overdue(500.0 + HELLO_S) == []
    assert len(connections.overdue(501.0 + HELLO_S)) == 1


def test_a_descriptor_that_is_used_again_is_another_connection() -> None:
    connections = Connections(10)
    came(connections, 7)
    connections.authenticated(at(7), 0.0)
    came(connections, 7, "ben", now=50.0)
    (late,) = connections.overdue(50.0 + HELLO_S + 1)
    assert (late.descriptor.number, late.address) == (7, "ben")
    connections.closed(at(7))
    connections.authenticated(at(7), 0.0)


def test_the_end_of_a_connection_heard_of_late_is_not_that_of_the_others_socket() -> None:
    """Each socket tells of its own in order; a descriptor that one let go may be the other's at once."""
    connections = Connections(10)
    came(connections, 7)
    connections.opened(Connection(at(7, bulk=True), 2007, "ana", 1.0))
    connections.closed(at(7))
    (held,) = connections.overdue(2.0 + HELLO_S)
    assert (held.descriptor, held.mark) == (at(7, bulk=True), 2007)


def test_there_are_never_more_strangers_than_there_may_be() -> None:
    chance, connections, known = random.Random(2), Connections(50), set[int]()
    for turn in range(5000):
        number = chance.randrange(2000)
        match chance.randrange(4):
            case 0 if number in known:
                connections.closed(at(number))
                known.discard(number)
            case 1:
                connections.authenticated(at(number), turn)
                known |= {
                    descriptor.number for descriptor in {at(number)} & connections._all.keys()
                }
            case _:
                connections.opened(Connection(at(number), turn, f"a{number % 3}", turn))
                known.discard(number)
        unauthenticated = [
            connection
            for connection in connections._all.values()
            if not connection.is_authenticated
        ]
        assert len(unauthenticated) <= 50
        assert sum(map(len, connections._unauthenticated.values())) == len(unauthenticated)
        assert {at(number) for number in known} <= connections._all.keys()
