"""No user sends faster than the rate, and none slower than has to be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from voidbridge_backend.daemon.files.rate_limit import BURST_S, RateLimit


def sent(pace: RateLimit, user: str, pieces: list[int], now: float) -> Callable[[float], int]:
    """Pieces that arrive at once; how many bytes of credit have come back by a time."""
    back: list[int] = []
    for piece in pieces:
        pace.after(user, piece, now, lambda piece=piece: back.append(piece))  # type: ignore[misc]

    def by(time: float) -> int:
        for do in pace.due(time):
            do()
        return sum(back)

    return by


def test_without_a_rate_credit_comes_back_at_once() -> None:
    assert sent(RateLimit(0), "ana", [10**9, 10**9], 5.0)(5.0) == 2 * 10**9


@pytest.mark.parametrize("seconds", [1, 3, 10])
def test_over_any_time_a_user_has_the_rate_and_one_burst(seconds: int) -> None:
    by = sent(RateLimit(100), "ana", [10] * 1000, 50.0)
    assert by(50.0) <= 100 * BURST_S
    assert 100 * seconds <= by(50.0 + seconds) <= 100 * (seconds + BURST_S)


def test_one_user_does_not_slow_another_down() -> None:
    pace = RateLimit(100)
    ana = sent(pace, "ana", [100] * 100, 50.0)
    ben = sent(pace, "ben", [100], 50.0)
    assert ben(50.0) == 100
    assert ana(50.0) == 100


def test_credit_comes_back_in_order_and_the_next_time_is_known() -> None:
    pace = RateLimit(100)
    order: list[str] = []
    for name in "abcd":
        pace.after("ana", 100, 50.0, lambda name=name: order.append(name))  # type: ignore[misc]
    assert (order, pace.next_in(50.0, 5.0)) == (["a"], 1.0)
    for do in pace.due(53.0):
        do()
    assert (order, pace.next_in(53.0, 5.0)) == (["a", "b", "c", "d"], 5.0)
