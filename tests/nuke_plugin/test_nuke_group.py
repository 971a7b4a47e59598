"""The Group's text as real Tcl reads it, and its callbacks where the plug-in is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

tkinter = pytest.importorskip("tkinter", reason="this Python has no Tcl")

from voidbridge_nuke import group, migrate  # noqa: E402
from voidbridge_nuke.knobs import ARRAYS, BUTTON, CHOICE, NODE_VERSION, Knob  # noqa: E402
from voidbridge_nuke.node_text import quoted, write_name  # noqa: E402
from voidbridge_nuke.operations import KEY, OPERATIONS, REMOVE, HostOperation  # noqa: E402

PRELUDE = """
set nodes {}; set stack {}; set saved {}; set depth 0; set count 0
proc stack {i} { lindex $::stack $i }
proc push {node} { set ::stack [linsert $::stack 0 $node] }
proc end_group {} {
    incr ::depth -1
    set ::stack [lindex $::saved end]; set ::saved [lrange $::saved 0 end-1]
}
proc unknown {class body} {
    set inputs 1
    foreach {knob value} $body { if {$knob eq "inputs"} { set inputs $value } }
    set id [incr ::count]
    if {$class eq "Group"} {
        incr ::depth; lappend ::saved [linsert $::stack 0 $id]; set ::stack {}; set fed {}
    } else {
        if {[llength $::stack] < $inputs} { error "$class wants $inputs inputs" }
        set fed [lrange $::stack 0 [expr {$inputs - 1}]]
        set ::stack [linsert [lrange $::stack $inputs end] 0 $id]
    }
    lappend ::nodes [list $id $class $body $fed]
}
"""


def load(text: str) -> list[dict[str, Any]]:
    """Nodes in the order of the text: class, knobs, and the names of what feeds them, input 0 first."""
    tcl = tkinter.Tcl()
    tcl.eval(PRELUDE)
    tcl.eval(text)
    assert tcl.eval("set depth") == "0"
    found: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for item in tcl.splitlist(tcl.eval("set nodes")):
        number, kind, body, fed = tcl.splitlist(item)
        words = tcl.splitlist(body)
        assert len(words) % 2 == 0, kind
        pairs = list(zip(words[::2], words[1::2], strict=True))
        knobs = {name: value for name, value in pairs if name != "addUserKnob"}
        added = [tcl.splitlist(value) for name, value in pairs if name == "addUserKnob"]
        names[number] = knobs["name"]
        feeds = [names[other] for other in tcl.splitlist(fed)]
        found.append({"class": kind, "knobs": knobs, "added": added, "fed": feeds})
    return found


GROUPS = {name: load(group.text(operation=one)) for name, one in OPERATIONS.items()}
NODES = GROUPS["remove"]
BY_NAME = {node["knobs"]["name"]: node for node in NODES}
EACH = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))


@EACH
def test_the_inputs_are_those_of_the_operation_in_its_order(operation: HostOperation) -> None:
    nodes = GROUPS[operation.name]
    inputs = {
        node["knobs"]["name"]: int(node["knobs"].get("number", 0))
        for node in nodes
        if node["class"] == "Input"
    }
    assert inputs == {spec.role: i for i, spec in enumerate(operation.inputs)}
    (output,) = (node for node in nodes if node["class"] == "Output")
    assert output["fed"] == ["Shown"]


def test_the_tree_is_as_it_is_drawn() -> None:
    assert {name: node["fed"] for name, node in BY_NAME.items() if node["fed"]} == {
        "CleanAlpha": ["clean"],
        "WriteClean": ["CleanAlpha"],
        "AffectedFrames": ["affected"],
        "AffectedChannel": ["AffectedFrames", "AffectedFrames"],
        "AffectedAlpha": ["AffectedChannel"],
        "WriteAffected": ["AffectedAlpha"],
        "MatteFrames": ["matte"],
        "MatteChannel": ["MatteFrames", "MatteFrames"],
        "MatteAlpha": ["MatteChannel"],
        "WriteMatte": ["MatteAlpha"],
        "PlateLayer": ["plate", "plate"],
        "WritePlate": ["PlateLayer"],
        "Layer": ["ReadPlate", "ReadResult"],
        "ShownLayer": ["plate", "plate"],
        "Select": ["ShownLayer", "Layer"],
        "BackToLayer": ["plate", "Select"],
        "ResultMetaData": ["BackToLayer", "ReadResult"],
        "InRange": ["plate", "ResultMetaData"],
        "Nothing": ["plate"],
        "LayerInRange": ["Nothing", "Layer"],
        "MatteOnPlate": ["plate", "MatteAlpha"],
        "Classes": ["MatteOnPlate", "AffectedAlpha"],
        "Reach0": ["Classes"],
        "Reach1": ["Classes"],
        "Round1": ["Reach1", "Reach0"],
        "Reach2": ["Classes"],
        "Round2": ["Reach2", "Round1"],
        "Quadmask": ["Classes", "Round2"],
        "ResultLayer": ["InRange", "InRange"],
        "Difference": ["ShownLayer", "ResultLayer"],
        "Shown": ["InRange", "plate", "Quadmask", "LayerInRange", "Difference"],
        "Output1": ["Shown"],
    }


def test_the_tree_of_a_key_is_as_it_is_drawn() -> None:
    nodes = {node["knobs"]["name"]: node for node in GROUPS["key"]}
    assert {name: node["fed"] for name, node in nodes.items() if node["fed"]} == {
        "WriteScreen": ["screen"],
        "HintAlpha": ["hint"],
        "WriteHint": ["HintAlpha"],
        "PlateLayer": ["plate", "plate"],
        "WritePlate": ["PlateLayer"],
        "Straight": ["ReadResult"],
        "StraightShown": ["plate", "Straight"],
        "Screen": ["ReadResult"],
        "ScreenShown": ["plate", "Screen"],
        "Premultiplied": ["plate", "ReadResult"],
        "Alpha": ["plate", "ReadResult"],
        "Chosen": ["Premultiplied", "StraightShown", "Alpha", "ScreenShown", "ReadResult"],
        "ResultMetaData": ["Chosen", "ReadResult"],
        "Shown": ["plate", "ResultMetaData"],
        "Output1": ["Shown"],
    }
    assert KEY.outputs[: len(nodes["Chosen"]["fed"])] == KEY.outputs[:-1]


@EACH
def test_every_knob_of_the_table_is_there_with_its_default_and_its_tooltip(
    operation: HostOperation,
) -> None:
    (node,) = (node for node in GROUPS[operation.name] if node["class"] == "Group")
    assert [words[1] for words in node["added"]] == [knob.name for knob in operation.knobs]
    for knob, words in zip(operation.knobs, node["added"], strict=True):
        rest = list(words[2:])
        flags = {word for word in rest if word.startswith(("+", "-"))}
        options = dict(zip(rest[::2], rest[1::2], strict=False)) if not flags else None
        named = options or dict(
            zip(
                [w for w in rest if w not in flags][::2],
                [w for w in rest if w not in flags][1::2],
                strict=True,
            )
        )
        assert named["l"] == knob.label
        assert named.get("t", "") == knob.tooltip
        assert ("+INVISIBLE" in flags) is knob.hidden
        if knob.kind == CHOICE:
            assert tuple(tkinter.Tcl().splitlist(named["M"])) == knob.choices
        if knob.kind in ARRAYS:
            assert node["knobs"][knob.name] == knob.default
        elif knob.has_value:
            spelled = (
                str(knob.default).lower() if isinstance(knob.default, bool) else str(knob.default)
            )
            assert (
                float(node["knobs"][knob.name]) == knob.default
                if isinstance(knob.default, float)
                else node["knobs"][knob.name] == spelled
            )


@EACH
def test_writes_are_disabled_and_write_exact_files(operation: HostOperation) -> None:
    writes = [node["knobs"] for node in GROUPS[operation.name] if node["class"] == "Write"]
    assert len(writes) == len(operation.inputs)
    for knobs in writes:
        assert knobs["disable"] == knobs["raw"] == knobs["create_directories"] == "true"
        assert (knobs["file_type"], knobs["datatype"]) == ("exr", "16 bit half")
        assert (knobs["compression"], knobs["metadata"]) == ("Zip (1 scanline)", "all metadata")
    pictures = dict.fromkeys(("plate", "screen", "tail", "reference"), "rgb")
    wanted = {"clean": "rgba", **pictures}
    assert {knobs["name"]: knobs["channels"] for knobs in writes} == {
        write_name(spec.role): wanted.get(spec.role, "alpha") for spec in operation.inputs
    }


@EACH
def test_reads_are_raw_and_stop_at_what_is_missing(operation: HostOperation) -> None:
    reads = [node["knobs"] for node in GROUPS[operation.name] if node["class"] == "Read"]
    assert {knobs["name"] for knobs in reads} <= set(group.READS)
    assert reads
    for knobs in reads:
        assert (knobs["raw"], knobs["on_error"], knobs["localizationPolicy"]) == (
            "true",
            "error",
            "off",
        )
        assert knobs["file"].startswith("[value parent.")


@pytest.mark.parametrize("value", ['a "b" [c] $d \\ {e}', "x\ny", "", "ü", 3, 0.1, True, -1])
def test_any_value_is_one_word_of_tcl(value: Any) -> None:
    (word,) = tkinter.Tcl().splitlist(tkinter.Tcl().eval(f"list {quoted(value)}"))
    assert word == (str(value).lower() if isinstance(value, bool) else str(value))


def callbacks(operation: str = "remove") -> dict[str, str]:
    (node,) = (node for node in GROUPS[operation] if node["class"] == "Group")
    found = {name: node["knobs"][name] for name in ("onCreate", "knobChanged")}
    for words in node["added"]:
        if words[0] == "22":
            found[words[1]] = words[list(words).index("T") + 1]
    return found


@pytest.mark.parametrize("name", callbacks())
def test_a_callback_does_no_harm_without_the_plugin(name: str) -> None:
    script = f"""
class nuke:
    GUI = False
    said = []
    tprint = said.append
    thisNode = thisKnob = None
exec({callbacks()[name]!r})
assert len(nuke.said) == {int(name not in ("onCreate", "knobChanged"))}
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_no_callback_holds_logic() -> None:
    for text in [*callbacks().values(), *callbacks("key").values()]:
        assert len(text.splitlines()) == 6
        assert text.splitlines()[5].startswith("    voidbridge_nuke.")


def test_every_button_has_something_that_it_does() -> None:
    source = Path(group.__file__).with_name("buttons.py").read_text()
    table = source.partition("BUTTONS: ")[2]
    for operation in OPERATIONS.values():
        for knob in operation.knobs:
            if knob.kind == BUTTON:
                assert f'    "{knob.name}": ' in table


NEW = Knob("novel", "int", "novel", "New.", 4, since=2)


def test_an_older_node_gets_what_it_lacks_and_a_newer_one_is_left_alone() -> None:
    assert migrate.plan(1, {"seed"}, (*REMOVE.knobs, NEW), 2) == migrate.MigrationPlan(
        (NEW,), False
    )
    assert migrate.plan(1, {"novel"}, (*REMOVE.knobs, NEW), 2) == migrate.MigrationPlan((), False)
    assert migrate.plan(NODE_VERSION + 1, set()) == migrate.MigrationPlan((), True)


def test_the_version_of_the_table_is_that_of_its_newest_knob() -> None:
    assert max(knob.since for one in OPERATIONS.values() for knob in one.knobs) == NODE_VERSION
