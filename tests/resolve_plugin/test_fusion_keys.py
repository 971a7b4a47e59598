"""A daemon that asks for keys, and what the tool for Fusion leaves behind: none of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voidbridge_guarded import guarded_daemon
from voidbridge_shots import channels_of, make_shot
from voidbridge_stage import eventually
from voidbridge_traces import Traces, plain

FILES = range(1001, 1004)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Any]:
    with guarded_daemon() as made:
        made.let_in("ana")
        made.wait_for_worker()
        yield made


def saved(comp: Any) -> str:
    """Returns the text of the saved .comp: inputs, controls and data of every tool."""
    tools = [*comp.tools, *(tool.ParentTool for tool in comp.tools if tool.ParentTool)]
    kept = ("ID", "Name", "inputs", "controls", "data")
    return "\n".join(plain([getattr(tool, name) for name in kept]) for tool in tools)


def test_no_secret_key_is_in_the_comp_the_cache_or_a_process(
    host: Any, guarded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOIDBRIDGE_SERVER_KEY", guarded.pair.public)
    monkeypatch.setenv("VOIDBRIDGE_KEYS", str(guarded.folder / "ana"))
    traces = Traces.of(guarded)
    shot, comp = make_shot(tmp_path / "s", FILES, seed=330), host.comp()
    group = host.new_tool(
        comp, **{r: host.loader(comp, r, shot.file(r, FILES[0])) for r in ("plate", "matte")}
    )
    host.module("voidbridge.operations")["remove"]["by_name"]["engine"]["choices"][3] = "echo"
    host.choose(
        group, color_space="ACEScg", frame_offset=1001, engine="echo", grow=0, soften=0,
        daemon=guarded.address, steps=3,
    )  # fmt: skip
    with guarded.held():
        host.press(group, "Remove")
        eventually(guarded.has_running_job, "the job to run")
        running = traces.processes()
    for seen in (guarded.address, guarded.pair.public, "voidbridge_backend.worker.process"):
        assert seen.encode() in running, "looked at while the job ran"
    host.until(group, lambda status: status.startswith("done"))
    hole = channels_of(shot.file("matte", 1002))["A"] > 0
    own = channels_of(shot.file("plate", 1002))["R"].astype(np.float32)
    assert np.array_equal(host.shown(group, 1)["R"] != own, hole)
    host.press(group, "Report")
    text = saved(comp)
    assert guarded.address in text
    traces.text("the .comp", text)
    traces.text("the console", plain([host.console, host.background]))
    (bundles := tmp_path / "bundles").mkdir()
    traces.daemon(guarded, bundles)
    traces.folder(tmp_path)
    assert traces.seen > 100_000
    assert traces.found == []
    traces.text("planted", text + guarded.people["ana"].secret)
    assert traces.found == ["planted"]
