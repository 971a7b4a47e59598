"""A daemon that asks for keys: the node knows its address, the machine knows the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from voidbridge_guarded import guarded_daemon
from voidbridge_scripts import FRAMES, check_removed, node_of, remove, with_echo
from voidbridge_traces import Traces

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
    assert "requires keys" in text
    assert KeysDiffer.hint in text


def saved(host: Any) -> str:
    """Returns the text of the saved .nk: every knob of every node, also inside of Groups."""
    lines = []
    for node in [host.root(), *host.allNodes(recurseGroups=True)]:
        lines.append(f"{node.Class()} {{")
        lines += [f" {name} {knob.toScript()}" for name, knob in node.knobs().items()]
        lines.append("}")
    return "\n".join(lines)


def test_no_secret_key_is_in_the_script_the_cache_or_a_process(
    host: Any, shot: Any, guarded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voidbridge_nuke import controller as conduct

    monkeypatch.setenv("VOIDBRIDGE_SERVER_KEY", guarded.pair.public)
    monkeypatch.setenv("VOIDBRIDGE_KEYS", str(guarded.folder / "ana"))
    traces = Traces.of(guarded)
    node = with_echo(node_of(host, shot), guarded, steps=3)  # another job than above
    with guarded.held():
        host.stage.press("remove", node)
        host.stage.until(guarded.has_running_job, "the job to run")
        running = traces.processes()
    for seen in (guarded.address, guarded.pair.public, "voidbridge_backend.worker.process"):
        assert seen.encode() in running, "looked at while the job ran"
    host.stage.until(lambda: not conduct.RUNNING, "the job to end")
    check_removed(host, node, shot, FRAMES)
    host.stage.press("report", node)
    script = saved(host)
    assert guarded.address in script
    traces.text("the .nk", script)
    traces.text("messages", "\n".join([*host.stage.messages, *host.stage.said]))
    (bundles := tmp_path / "bundles").mkdir()
    traces.daemon(guarded, bundles)
    traces.folder(tmp_path)
    assert traces.seen > 100_000
    assert traces.found == []
    traces.text("planted", script + guarded.people["ana"].secret)
    assert traces.found == ["planted"]
