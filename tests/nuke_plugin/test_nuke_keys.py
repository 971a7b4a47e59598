"""A daemon that asks for keys: the node knows its address, the machine knows the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from voidbridge_guarded import guarded_daemon
from voidbridge_scripts import FRAMES, check_removed, node_of, remove, with_echo

from voidbridge_protocol.errors import KeysDiffer


@pytest.fixture(scope="module")
def guarded() -> Iterator[Any]:
    with guarded_daemon() as made:
        made.let_in("ana")
        yield made


def test_a_daemon_with_keys_is_reached_by_the_settings_of_the_machine(
    host: Any, shot: Any, guarded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOIDBRIDGE_SERVER_KEY", guarded.pair.public)
    monkeypatch.setenv("VOIDBRIDGE_KEYS", str(guarded.folder / "ana"))
    node = with_echo(node_of(host, shot), guarded)
    assert remove(host, node) == "done: v001, frames 1001-1003"
    check_removed(host, node, shot, FRAMES)
    with guarded.client("ana") as client:
        assert [job.user for job in client.jobs()] == ["ana"]
    host.stage.press("report", node)
    secret = guarded.people["ana"].secret
    assert all(secret not in said for said in [*host.stage.messages, *host.stage.said])


def test_without_a_key_it_is_said_that_one_is_asked_for(host: Any, shot: Any, guarded: Any) -> None:
    text = remove(host, with_echo(node_of(host, shot), guarded))
    assert text.startswith("failed: ")
    assert "asks for keys" in text
    assert KeysDiffer.hint in text
