"""The jobs in memory are counted right, whatever becomes of them."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from voidbridge_backend.daemon.jobs.index import JobIndex
from voidbridge_backend.daemon.store.job_table import Row
from voidbridge_protocol.lifecycle import JobState


def test_the_counts_are_those_of_the_rows() -> None:
    chance, roll = random.Random(1), JobIndex()
    for turn in range(500):
        job = f"j{chance.randrange(20)}"
        row = Row(job, turn, f"u{int(job[1:]) % 3}", 0, JobState.RECEIVING, 1, 1, "remove", "echo")
        if job in roll and chance.random() < 0.2:
            roll.drop(job)
        else:
            roll.put(replace(row, state=chance.choice(list(JobState))))
        states = Counter(row.state for row in roll)
        assert roll.counts() == {state.value: states[state] for state in JobState}
        for user in ("u0", "u1", "u2", "nobody"):
            unfinished = sum(row.user == user and not row.state.is_final for row in roll)
            assert roll.unfinished(user) == unfinished
