"""The spool deletes old files first, then the least recently used, and never more than necessary."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voidbridge_backend.daemon.store.retention import DAY_S, Item, Policy, evictable, is_over
from voidbridge_protocol.lifecycle import JobState

NOW = 1_000 * DAY_S
ROOMY = Policy(keep=14 * DAY_S, unfetched=0, quota=0, keep_free=100)


def item(name: str, days: float, size: int = 10) -> Item:
    return Item(name, size, NOW - days * DAY_S)


THREE = [item("young", 1), item("old", 20), item("older", 30)]


def names(items: list[Item]) -> list[str]:
    return [item.name for item in items]


def test_what_was_not_used_for_long_goes_and_the_rest_stays() -> None:
    assert names(evictable(THREE, NOW, used=30, free=1000, want=0, policy=ROOMY)) == [
        "older",
        "old",
    ]


def test_when_the_disk_is_tight_the_least_recently_used_go_first_and_no_more_than_it_takes() -> (
    None
):
    young = [item("a", 3), item("b", 1), item("c", 2)]
    assert names(evictable(young, NOW, 30, free=100, want=0, policy=ROOMY)) == []
    assert names(evictable(young, NOW, 30, free=99, want=0, policy=ROOMY)) == ["a"]
    assert names(evictable(young, NOW, 30, free=105, want=20, policy=ROOMY)) == ["a", "c"]
    assert names(evictable(young, NOW, 30, free=0, want=0, policy=ROOMY)) == ["a", "c", "b"]


def test_a_quota_is_kept_though_the_disk_has_room() -> None:
    young = [item("a", 3), item("b", 1), item("c", 2)]
    narrow = Policy(keep=14 * DAY_S, unfetched=0, quota=25, keep_free=0)
    assert names(evictable(young, NOW, used=30, free=10**9, want=0, policy=narrow)) == ["a"]
    # What jobs still need counts too, though it cannot go.
    assert names(evictable(young, NOW, used=40, free=10**9, want=0, policy=narrow)) == ["a", "c"]


@pytest.mark.parametrize(
    ("state", "fetched", "days", "over"),
    [
        (JobState.DONE, True, 0, True),
        (JobState.DONE, False, 1000, False),
        (JobState.FAILED, False, 0, True),
        (JobState.CANCELLED, False, 0, True),
        (JobState.RECEIVING, False, 13, False),
        (JobState.RECEIVING, False, 15, True),
        *(
            (state, False, 1000, False)
            for state in JobState
            if state in (JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING)
        ),
    ],
)
def test_a_job_is_over_when_nobody_can_want_anything_of_it(
    state: JobState, fetched: bool, days: float, over: bool
) -> None:
    assert is_over(state, fetched, days * DAY_S, ROOMY) == over


def test_unfetched_results_go_when_the_owner_says_so() -> None:
    policy = replace(ROOMY, unfetched=30 * DAY_S)
    assert not is_over(JobState.DONE, False, 29 * DAY_S, policy)
    assert is_over(JobState.DONE, False, 31 * DAY_S, policy)


def test_a_clock_that_was_set_back_deletes_nothing_early() -> None:
    assert evictable([item("from tomorrow", -1)], NOW, 10, 1000, 0, ROOMY) == []


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 50)), max_size=12),
    st.integers(0, 300), st.integers(0, 300), st.integers(0, 300), st.integers(0, 300),
)  # fmt: skip
def test_never_anything_is_kept_that_is_older_than_what_goes_and_never_too_much_goes(
    made: list[tuple[int, int]], free: int, want: int, quota: int, keep_free: int
) -> None:
    items = [item(str(n), days, size) for n, (days, size) in enumerate(made)]
    policy = Policy(14 * DAY_S, 0, quota, keep_free)
    used = sum(item.size for item in items)
    goes = evictable(items, NOW, used, free, want, policy)
    stays = [item for item in items if item not in goes]
    assert all(one.used <= other.used for one in goes for other in stays)

    def fits(freed: int) -> bool:
        within = not quota or used - freed + want <= quota
        return within and free + freed - want >= keep_free

    freed = sum(item.size for item in goes)
    assert fits(freed) or not stays
    for one in stays:
        assert NOW - one.used <= policy.keep
    # The last one that went had to, for its age or for the room.
    if goes and NOW - goes[-1].used <= policy.keep:
        assert not fits(freed - goes[-1].size)
