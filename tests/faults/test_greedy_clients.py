"""Clients that were let in and want more than their share: the daemon lives and others are answered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from voidbridge_figures import Note
from voidbridge_raw_client import Bystander, RawClient
from voidbridge_stage import Daemon, daemon

from voidbridge_protocol.messages import Listed, ListJobs, Ping, Pong, Refused


@pytest.fixture(scope="module")
def box() -> Iterator[Daemon]:
    with daemon() as made:
        made.wait_for_worker()
        yield made


def test_lists_that_nobody_reads_are_one_list(box: Daemon, full: bool, note: Note) -> None:
    count = 400_000 if full else 40_000
    with Bystander(box) as other, RawClient(box.address) as client:
        for _ in range(count):
            client.say(ListJobs())
        client.say(Ping())
        listed = refused = 0
        while not isinstance(heard := client.hear(client.control), Pong):
            listed += isinstance(heard, Listed)
            refused += isinstance(heard, Refused)
        assert listed
    other.check(note, "lists", full, asked=count, listed=listed, refused=refused)
