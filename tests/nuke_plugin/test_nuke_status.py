"""The status line says what the job said last, and never more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from voidbridge_nuke.job_status import (
    CANCELLED,
    DONE,
    FAILED,
    WORKING,
    JobStatus,
    advanced,
    ended,
    line,
)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"event": "uploading", "sent": 5 << 20, "total": 20 << 20}, "sending, 5 of 20 MB"),
        ({"event": "imported", "files": 3, "of": 20}, "importing, 3 of 20 files"),
        ({"event": "status", "state": "queued", "ahead": 2}, "queued, 2 ahead"),
        ({"event": "status", "state": "queued", "ahead": 0}, "queued, next"),
        (
            {"event": "status", "state": "running", "stage": "pass 1", "step": 12, "of": 30, "seconds_left": 40},
            "pass 1 12 of 30, about 40 s left",
        ),
        (
            {"event": "status", "state": "running", "stage": "pass 2", "step": 1, "of": 30, "seconds_left": 600},
            "pass 2 1 of 30, about 10 min left",
        ),
        ({"event": "status", "state": "running", "stage": "motion", "seconds_left": -1}, "motion"),
        ({"event": "status", "state": "cancelling"}, "cancelling"),
        ({"event": "frame", "frame": 1003}, "fetched frame 1003"),
        ({"event": "trouble", "text": "the connection was lost"}, "the connection was lost"),
        ({"event": "done", "from_store": True}, "done"),
        ({"event": "error", "text": "no", "hint": "Do.", "exit": 4, "code": "x"}, "failed: no. Do."),
        ({"event": "error", "text": "stopped", "exit": 5}, "cancelled"),
        ({"event": "from a later release"}, "starting"),
    ],
)  # fmt: skip
def test_an_event_is_put_in_words(event: dict[str, Any], said: str) -> None:
    assert line(advanced(JobStatus(), event)) == said


@pytest.mark.parametrize("phase", [DONE, FAILED, CANCELLED])
def test_what_has_ended_is_not_moved_by_late_events(phase: str) -> None:
    status = JobStatus(phase=phase, text="as it was")
    for event in (
        {"event": "status", "state": "queued"},
        {"event": "error", "exit": 4},
        {"event": "done"},
    ):
        assert advanced(status, event) == status
    assert ended(status, 1, "boom") == status


def test_a_child_that_dies_silently_has_failed_and_its_last_words_are_shown() -> None:
    assert line(ended(JobStatus(), -9, "first\nlast words\n")).startswith(
        "failed: voidbridge ended with -9: last words."
    )
    assert ended(JobStatus(), 0, "").phase == FAILED


names = some.sampled_from(
    ["accepted", "uploading", "imported", "status", "frame", "warning", "trouble", "", "x"]
)
states = some.sampled_from(["queued", "running", "done", "receiving", "cancelling"])
numbers = some.integers(-5, 2**40)


@given(
    some.lists(
        some.fixed_dictionaries(
            {"event": names},
            optional={"state": states, "stage": some.text(), "step": numbers, "of": numbers,
                      "sent": numbers, "total": numbers, "seconds_left": some.floats(-1, 1e6)},
        ),
    )
)  # fmt: skip
def test_no_order_of_reports_ends_a_job_or_leaves_the_bar(events: list[dict[str, Any]]) -> None:
    status = JobStatus()
    for event in events:
        status = advanced(status, event)
        assert status.phase == WORKING
        assert 0 <= status.fraction <= 1
