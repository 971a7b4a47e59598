"""The Group names only nodes, knobs and values that a real Nuke has, as a scan of Nuke 17.0v3 lists them.

The scan is github.com/kirkjr2/nuke-python-reference, checked out beside this repository; it is only read.
"""

from __future__ import annotations

import json
import tkinter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from voidbridge_nuke import group
from voidbridge_nuke.operations import OPERATIONS

ROOT = Path(__file__).resolve().parents[2]
SCAN = ROOT.parent / "nuke-python-reference"
LATER = {"Write": {"datatype", "compression", "metadata"}, "Read": set()}
"""Knobs that appear with file_type exr; the scan has none of them. Nuke's reference of Write describes them."""


@cache
def scanned(kind: str) -> dict[str, Any]:
    """Knobs of a class by name."""
    file = SCAN / f"data/nodes/{kind}.json"
    if not file.is_file():
        pytest.skip(f"no scan of Nuke's knobs here: clone kirkjr2/nuke-python-reference to {SCAN}")
    found = json.loads(file.read_text(encoding="utf-8"))
    return {**found["arguments"], **found["internal_arguments"]}


def nodes() -> list[tuple[str, dict[str, str]]]:
    tcl = tkinter.Tcl()
    tcl.eval("set nodes {}; proc stack {i} {}; proc push {n} {}; proc end_group {} {}")
    tcl.eval("proc unknown {class body} { lappend ::nodes [list $class $body] }")
    for operation in OPERATIONS.values():
        tcl.eval(group.text(operation=operation))
    found = []
    for item in tcl.splitlist(tcl.eval("set nodes")):
        kind, body = tcl.splitlist(item)
        words = tcl.splitlist(body)
        pairs = zip(words[::2], words[1::2], strict=True)
        found.append((kind, {name: value for name, value in pairs if name != "addUserKnob"}))
    return found


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in nodes()} - {"Group"}))
def test_a_node_has_these_knobs_and_these_values(kind: str) -> None:
    known = scanned(kind)
    for knobs in (knobs for found, knobs in nodes() if found == kind):
        for name, value in knobs.items():
            if name == "inputs" or name in LATER.get(kind, ()):
                continue
            assert name in known, f"{kind} has no knob {name}"
            if known[name]["knob_type"] == "Enumeration_Knob" and not value.startswith("{"):
                allowed = [
                    str(choice).partition("\t")[0] for choice in known[name]["values"]["values"]
                ]
                assert value in allowed, (name, value)


def test_the_nodes_own_knobs_hide_none_of_a_groups() -> None:
    for operation in OPERATIONS.values():
        assert not {knob.name for knob in operation.knobs} & set(scanned("Group"))
