"""When the daemon calls itself ready, and what it says when it is not."""

from __future__ import annotations

import pytest

from voidbridge_backend.daemon.observe.metrics import health
from voidbridge_backend.daemon.workers.supervisor import DeviceStatus
from voidbridge_protocol.errors import SpoolFull


def post(state: str, device: str = "cpu", why: str = "") -> DeviceStatus:
    return DeviceStatus(device, state, "", 0.04, why)


@pytest.mark.parametrize("state", ["ready", "busy"])
def test_one_device_that_works_is_enough(state: str) -> None:
    found = health([post("quarantined", "cuda:0", "gone"), post(state, "cuda:1")], None, 3, 1, 7)
    assert (found.ready, found.code, found.queued, found.running, found.free) == (True, "", 3, 1, 7)
    assert [(d.name, d.state, d.why) for d in found.devices] == [
        ("cuda:0", "quarantined", "gone"),
        ("cuda:1", state, ""),
    ]


@pytest.mark.parametrize("state", ["starting", "resting", "quarantined"])
def test_without_one_it_is_not_ready(state: str) -> None:
    found = health([post(state)], None, 0, 0, 7)
    assert (found.ready, found.code) == (False, "daemon.no-device")
    assert f"cpu is {state}" in found.text


def test_whatever_stands_in_the_way_is_named() -> None:
    found = health([post("ready")], SpoolFull("no room", "Make some."), 0, 0, 7)
    assert (found.ready, found.code, found.text, found.hint) == (
        False, "daemon.spool-full", "no room", "Make some.",
    )  # fmt: skip
