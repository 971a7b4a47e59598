"""Which lines belong to whom, and which files nobody sends any more when a client leaves."""

from __future__ import annotations

import pytest

from voidbridge_backend.daemon.net.allowed_keys import NO_KEY, Identity
from voidbridge_backend.daemon.net.router import PeerId
from voidbridge_backend.daemon.net.sessions import Sessions
from voidbridge_backend.daemon.store.spool import UserFile
from voidbridge_protocol.errors import TooMany, UnknownSession

CONTROL, CONTROL2 = PeerId(False, b"1"), PeerId(False, b"2")
BULK, BULK2 = PeerId(True, b"3"), PeerId(True, b"4")
WHO = PeerId(False, b"who")
F1, F2 = UserFile("ana", "f1"), UserFile("ana", "f2")
ANA, BEN = Identity("ana", "key of ana"), Identity("ben", "key of ben")


@pytest.fixture
def sessions() -> Sessions:
    made = Sessions(3)
    made.hello("one", "ana", ANA, CONTROL, 0.0)
    made.join_bulk("one", BULK, ANA)
    return made


def test_both_sockets_lead_to_one_client(sessions: Sessions) -> None:
    assert sessions.of(CONTROL, ANA, 1.0) is sessions.of(BULK, ANA, 1.0)
    assert sessions.of(BULK, ANA, 1.0).user == "ana"


def test_a_stranger_is_nobody(sessions: Sessions) -> None:
    with pytest.raises(UnknownSession):
        sessions.of(WHO, ANA, 0.0)
    with pytest.raises(UnknownSession):
        sessions.join_bulk("nobody", PeerId(True, b"who"), ANA)


def test_a_session_is_its_keys_alone(sessions: Sessions) -> None:
    """Its name and its routing ids, guessed or seen, are worth nothing with another key."""
    with pytest.raises(UnknownSession):
        sessions.join_bulk("one", BULK2, BEN)
    with pytest.raises(UnknownSession):
        sessions.hello("one", "ben", BEN, CONTROL2, 0.0)
    for line in (CONTROL, BULK):
        with pytest.raises(UnknownSession):
            sessions.of(line, BEN, 0.0)
    assert sessions.of(CONTROL, ANA, 1.0).bulk == BULK


def test_a_route_of_one_socket_is_none_of_the_other(sessions: Sessions) -> None:
    """A peer may choose its routing id: that of another's control line, on the bulk socket."""
    with pytest.raises(UnknownSession):
        sessions.of(PeerId(True, CONTROL.route), ANA, 0.0)
    with pytest.raises(UnknownSession):
        sessions.join_bulk("one", CONTROL2, ANA)


def test_who_is_no_admin_sees_the_own_jobs() -> None:
    sessions = Sessions(3)
    sessions.hello("one", "ana", ANA, CONTROL, 0.0)
    sessions.hello("two", "root", Identity("root", "key", admin=True), CONTROL2, 0.0)
    assert sessions.of(CONTROL, ANA, 0.0).sees == "ana"
    assert sessions.of(CONTROL2, Identity("root", "key", admin=True), 0.0).sees is None


def test_without_keys_everybody_is_who_they_say_and_sees_all() -> None:
    sessions = Sessions(3)
    sessions.hello("one", "ana", NO_KEY, CONTROL, 0.0)
    found = sessions.of(CONTROL, NO_KEY, 0.0)
    assert (found.user, found.sees) == ("ana", None)


def test_one_user_has_so_many_clients_and_others_have_theirs(sessions: Sessions) -> None:
    for name in ("two", "three"):
        sessions.hello(name, "ana", ANA, PeerId(False, name.encode()), 0.0)
    with pytest.raises(TooMany, match="3 clients of ana"):
        sessions.hello("four", "ana", ANA, CONTROL2, 0.0)
    sessions.hello("four", "ben", BEN, CONTROL2, 0.0)
    sessions.hello("one", "ana", ANA, PeerId(False, b"new"), 0.0)  # the same once more is no more
    sessions.disconnected(PeerId(False, b"two"))
    sessions.hello("five", "ana", ANA, PeerId(False, b"5"), 0.0)


def test_a_client_on_new_sockets_is_the_same_and_its_old_ones_lead_nowhere(
    sessions: Sessions,
) -> None:
    sessions.of(CONTROL, ANA, 0.0).receiving = {F1, F2}
    assert sessions.hello("one", "ana", ANA, CONTROL2, 1.0) == {F1, F2}
    sessions.join_bulk("one", BULK2, ANA)
    assert sessions.of(CONTROL2, ANA, 1.0) is sessions.of(BULK2, ANA, 1.0)
    for old in (CONTROL, BULK):
        with pytest.raises(UnknownSession):
            sessions.of(old, ANA, 1.0)
    assert (
        sessions.disconnected(CONTROL) == set()
    )  # news of the old line say nothing of the new one
    assert sessions.of(CONTROL2, ANA, 1.0)


def test_a_file_that_another_client_sends_too_goes_on(sessions: Sessions) -> None:
    sessions.hello("two", "ana", ANA, CONTROL2, 0.0)
    sessions.of(CONTROL, ANA, 0.0).receiving = {F1, F2}
    sessions.of(CONTROL2, ANA, 0.0).receiving = {F2}
    assert sessions.disconnected(CONTROL) == {F1}
    assert sessions.disconnected(CONTROL2) == {F2}
    assert sessions.disconnected(CONTROL2) == set()


def test_who_says_nothing_is_silent_and_any_word_counts(sessions: Sessions) -> None:
    def leaving(since: float) -> list[PeerId]:
        return sorted(sessions.expired(since, lambda identity: True))

    sessions.hello("two", "ana", ANA, CONTROL2, 5.0)
    assert leaving(5.0) == [CONTROL]
    sessions.of(BULK, ANA, 6.0)
    assert leaving(5.0) == []
    assert leaving(7.0) == [CONTROL, CONTROL2]


def test_who_may_not_stay_leaves_whatever_it_said_last(sessions: Sessions) -> None:
    sessions.hello("two", "ben", BEN, CONTROL2, 0.0)
    assert sessions.expired(0.0, lambda identity: identity != BEN) == [CONTROL2]


def test_only_who_watches_a_job_hears_of_it(sessions: Sessions) -> None:
    sessions.hello("two", "ana", ANA, CONTROL2, 0.0)
    sessions.of(CONTROL, ANA, 0.0).watching.add("job")
    assert [session.control for session in sessions.watching("job")] == [CONTROL]
    sessions.disconnected(CONTROL)
    assert sessions.watching("job") == []


def test_a_lost_bulk_line_leaves_the_client_its_control_line(sessions: Sessions) -> None:
    sessions.of(CONTROL, ANA, 0.0).receiving = {F1}
    assert sessions.disconnected(BULK) == {F1}
    assert sessions.of(CONTROL, ANA, 0.0).receiving == set()
