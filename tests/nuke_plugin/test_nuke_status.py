"""The status line says what the child's status file says, and a child that is gone is never at work."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from voidbridge_job_table import JOBS

from voidbridge_nuke.job_status import WORKING, ChildTrace, judged, line


@pytest.mark.parametrize(("seen", "phase", "words"), JOBS)
def test_how_a_job_stands(seen: dict[str, Any], phase: str, words: str) -> None:
    now = 1000.0
    found = judged(
        ChildTrace(
            seen.get("status", ""),
            seen.get("said", ""),
            seen.get("code"),
            now if seen.get("started") else 0.0,
            now,
        )
    )
    assert (found.phase, words in line(found)) == (phase, True), line(found)


def test_a_child_that_never_wrote_a_status_is_lost_and_not_waited_for() -> None:
    assert judged(ChildTrace(started=900.0, now=1000.0)).phase == "lost"
    assert judged(ChildTrace(started=990.0, now=1000.0)).phase == WORKING


values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
    max_leaves=8,
)
fields = some.dictionaries(
    some.sampled_from(["phase", "text", "fraction", "alive", "warnings", "hint"]), values
)


@given(fields.map(json.dumps) | some.text())
def test_no_file_is_too_strange_to_be_judged_or_moves_the_bar_off_its_ends(text: str) -> None:
    found = judged(ChildTrace(text, now=1000.0, started=1000.0))
    assert 0 <= found.fraction <= 1
    assert isinstance(line(found), str)
