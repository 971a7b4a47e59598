"""Which routes belong to whom, and which files nobody sends any more when a client leaves."""

from __future__ import annotations

import pytest

from voidbridge_backend.sessions import Sessions
from voidbridge_backend.spool import Owned
from voidbridge_protocol.errors import UnknownSession
from voidbridge_protocol.messages import OLDEST, PROTOCOL, Hello

CONTROL, BULK, CONTROL2, BULK2 = b"c1", b"b1", b"c2", b"b2"
F1, F2 = Owned("ana", "f1"), Owned("ana", "f2")


def hello(session: str, user: str = "ana") -> Hello:
    return Hello(OLDEST, PROTOCOL, session, user, "test")


@pytest.fixture
def sessions() -> Sessions:
    made = Sessions()
    made.hello(hello("one"), CONTROL, 0.0)
    made.attach("one", BULK)
    return made


def test_both_sockets_lead_to_one_client(sessions: Sessions) -> None:
    assert sessions.of(CONTROL, 1.0) is sessions.of(BULK, 1.0)
    assert sessions.of(BULK, 1.0).user == "ana"


def test_a_stranger_is_nobody(sessions: Sessions) -> None:
    with pytest.raises(UnknownSession):
        sessions.of(b"who", 0.0)
    with pytest.raises(UnknownSession):
        sessions.attach("nobody", b"who")


def test_a_client_on_new_sockets_is_the_same_and_its_old_ones_lead_nowhere(
    sessions: Sessions,
) -> None:
    sessions.of(CONTROL, 0.0).receiving = {F1, F2}
    assert sessions.hello(hello("one"), CONTROL2, 1.0) == {F1, F2}
    sessions.attach("one", BULK2)
    assert sessions.of(CONTROL2, 1.0) is sessions.of(BULK2, 1.0)
    for old in (CONTROL, BULK):
        with pytest.raises(UnknownSession):
            sessions.of(old, 1.0)
    assert sessions.gone(CONTROL) == set()  # news of the old line say nothing of the new one
    assert sessions.of(CONTROL2, 1.0)


def test_a_file_that_another_client_sends_too_goes_on(sessions: Sessions) -> None:
    sessions.hello(hello("two", "ben"), CONTROL2, 0.0)
    sessions.of(CONTROL, 0.0).receiving = {F1, F2}
    sessions.of(CONTROL2, 0.0).receiving = {F2}
    assert sessions.gone(CONTROL) == {F1}
    assert sessions.gone(CONTROL2) == {F2}
    assert sessions.gone(CONTROL2) == set()


def test_who_says_nothing_is_silent_and_any_word_counts(sessions: Sessions) -> None:
    sessions.hello(hello("two"), CONTROL2, 5.0)
    assert sessions.silent(since=5.0) == [CONTROL]
    sessions.of(BULK, 6.0)
    assert sessions.silent(since=5.0) == []
    assert sorted(sessions.silent(since=7.0)) == [CONTROL, CONTROL2]


def test_only_who_watches_a_job_hears_of_it(sessions: Sessions) -> None:
    sessions.hello(hello("two"), CONTROL2, 0.0)
    sessions.of(CONTROL, 0.0).watching.add("job")
    assert [session.control for session in sessions.watching("job")] == [CONTROL]
    sessions.gone(CONTROL)
    assert sessions.watching("job") == []


def test_a_lost_bulk_line_leaves_the_client_its_control_line(sessions: Sessions) -> None:
    sessions.of(CONTROL, 0.0).receiving = {F1}
    assert sessions.gone(BULK) == {F1}
    assert sessions.of(CONTROL, 0.0).receiving == set()
