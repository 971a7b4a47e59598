"""A daemon that hangs up on a client before it was let in."""

from __future__ import annotations

import time

import pytest
from voidbridge_artist import client_of
from voidbridge_machine import in_time

from voidbridge_protocol.client import Client
from voidbridge_protocol.errors import DaemonUnavailable
from voidbridge_protocol.testing.fake_daemon import fake_daemon
from voidbridge_protocol.wire import connection


def test_a_daemon_that_hangs_up_before_its_welcome_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one does to whom too many came at once, of whom the oldest had to make room."""
    tries: list[float] = []
    real = connection.ServerConnection

    def crowded(peer: connection.ConnectionOptions, patience: float) -> connection.ServerConnection:
        tries.append(patience)
        if len(tries) % 3:
            raise connection.ConnectionLost("the daemon closed the connection")
        return real(peer, patience)

    monkeypatch.setattr("voidbridge_protocol.client.ServerConnection", crowded)
    with fake_daemon() as daemon, client_of(daemon) as client:
        assert client.jobs() == []
    assert sorted(tries, reverse=True) == tries
    assert len(set(tries)) == 3


def test_a_daemon_that_always_hangs_up_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[float] = []

    def full(peer: connection.ConnectionOptions, patience: float) -> connection.ServerConnection:
        tries.append(patience)
        raise connection.ConnectionLost("the daemon closed the connection")

    monkeypatch.setattr("voidbridge_protocol.client.ServerConnection", full)
    began = time.monotonic()
    with (
        pytest.raises(DaemonUnavailable, match="closed the connection"),
        Client("ipc:///nowhere", user="ana", software="test", patience=0.5),
    ):
        pass
    assert in_time(time.monotonic() - began, 5)
    assert len(tries) > 1
