"""The law of a job's life: what the table allows happens, nothing else does."""

import pytest

from voidbridge_protocol.errors import IllegalTransition
from voidbridge_protocol.lifecycle import FINAL, NEXT, JobState, advance


def pairs(allowed: bool) -> list[tuple[JobState, JobState]]:
    return [(a, b) for a in JobState for b in JobState if (b in NEXT[a]) == allowed]


@pytest.mark.parametrize(("state", "to"), pairs(allowed=True), ids=lambda s: s.value)
def test_what_the_table_allows_happens(state: JobState, to: JobState) -> None:
    assert advance(state, to) is to


@pytest.mark.parametrize(("state", "to"), pairs(allowed=False), ids=lambda s: s.value)
def test_no_other_transition_exists(state: JobState, to: JobState) -> None:
    with pytest.raises(IllegalTransition, match=f"a {state.value} job cannot become {to.value}"):
        advance(state, to)


def test_every_state_has_its_row() -> None:
    assert set(NEXT) == set(JobState)


@pytest.mark.parametrize("state", JobState, ids=lambda s: s.value)
def test_every_state_is_reached_from_the_first_and_leads_to_an_end(state: JobState) -> None:
    assert state in reachable(JobState.RECEIVING)
    assert reachable(state) & FINAL


@pytest.mark.parametrize("state", sorted(FINAL), ids=lambda s: s.value)
def test_an_ended_job_only_ever_begins_anew(state: JobState) -> None:
    assert state.is_final
    assert NEXT[state] == {JobState.RECEIVING}


def reachable(start: JobState) -> set[JobState]:
    found, todo = {start}, [start]
    while todo:
        todo += (new := NEXT[todo.pop()] - found)
        found |= new
    return found
