"""A script's text, which real Tcl reads, as nodes."""

from __future__ import annotations

import re
import tkinter
from typing import Any

from .graph import GROUPS, Group, Node, new_node
from .hand import stage
from .values import (
    BUILT_IN,
    EVERY_NODE,
    USER_KNOBS,
    Boolean_Knob,
    Enumeration_Knob,
    File_Knob,
    Int_Knob,
    Knob,
    PyScript_Knob,
    Reload,
    String_Knob,
    typed,
)

PRELUDE = """
set nodes {}; set stack {}; set saved {}; set count 0
proc stack {i} { lindex $::stack $i }
proc push {node} { set ::stack [linsert $::stack 0 $node] }
proc end_group {} {
    lappend ::nodes [list 0 end_group {} {}]
    set ::stack [lindex $::saved end]; set ::saved [lrange $::saved 0 end-1]
}
proc unknown {class body} {
    set inputs 1
    foreach {knob value} $body { if {$knob eq "inputs"} { set inputs $value } }
    set id [incr ::count]
    lappend ::nodes [list $id $class $body [lrange $::stack 0 [expr {$inputs - 1}]]]
    set ::stack [linsert [lrange $::stack $inputs end] 0 $id]
    if {$class in $::groups} { lappend ::saved $::stack; set ::stack {} }
}
"""


ROLES = ("scene_linear\tscene_linear (ACES - ACEScg)", "compositing_log")
"""Working spaces that are roles; Nuke labels one with the space that it stands for."""


SELECTED = "selected"
"""Name of the selected node on the stack."""


def empty() -> Node:
    """The root of a script that nobody has saved."""
    root = new_node("Root", None)
    for knob in (
        String_Knob("name", "", ""), Boolean_Knob("proxy"), String_Knob("gsv"),
        Int_Knob("first_frame"), Int_Knob("last_frame"),
        Enumeration_Knob("workingSpaceLUT", "", ["linear", "ACEScg", *ROLES]),
    ):  # fmt: skip
        root.addKnob(knob)
    return root


def load(text: str, selected: Node | None = None) -> list[Node]:
    """Adds the nodes of a text to the script; those of its top. A selected node lies on the stack."""
    tcl = tkinter.Tcl()
    tcl.eval(f"set groups {{{' '.join(GROUPS)}}}" + PRELUDE)
    tcl.eval(f"set stack {{{SELECTED if selected else ''}}}")
    tcl.eval(text)
    before, stage.loading = stage.loading, True
    try:
        return _made(tcl, {SELECTED: selected} if selected else {})
    finally:
        stage.loading = before


def _made(tcl: Any, made: dict[str, Node]) -> list[Node]:
    outer = parent = stage.context[-1] if stage.context else stage.root  # as for toNode
    top = []
    for item in tcl.splitlist(tcl.eval("set nodes")):
        number, kind, body, fed = tcl.splitlist(item)
        if kind == "end_group":
            done, parent = parent, parent._parent
            stage.made.append(done)
            stage.call(done["onCreate"].value(), done, None)
            stage.connected(done)
            continue
        node = made[number] = new_node(kind, parent)
        node._inputs = [made.get(other) for other in tcl.splitlist(fed)]
        words = tcl.splitlist(body)
        _fill(node, list(zip(words[::2], words[1::2], strict=True)), tcl)
        parent._nodes.append(node)
        if kind == "Read":
            node.width()  # as it is made, it takes its format
        top += [node] if parent is outer else []
        parent = node if isinstance(node, Group) else parent
    return top


def _fill(node: Node, pairs: list[tuple[str, str]], tcl: Any) -> None:
    for name, default in {**EVERY_NODE, **BUILT_IN[node._kind]}.items():
        node.addKnob(File_Knob(name, "", default) if name == "file" else Knob(name, "", default))
    if node._kind == "Read":
        node.addKnob(Reload("reload"))
    for name, word in pairs:
        if name == "addUserKnob":
            node.addKnob(_user_knob(tcl.splitlist(word)))
        elif name != "inputs":
            knob = node[name]
            knob._value = typed(knob._value, word)
    taken = {other.name() for other in node._parent._nodes}
    while node.name() in taken:
        stem, number = re.fullmatch(r"(.*?)(\d*)", node.name()).groups()
        node["name"]._value = f"{stem}{int(number or 0) + 1}"


def _user_knob(words: Any) -> Knob:
    kind, name, *rest = [word for word in words if not re.fullmatch(r"[+-][A-Z]+", word)]
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    if kind == "4":
        return Enumeration_Knob(name, options["l"], list(tkinter.Tcl().splitlist(options["M"])))
    if kind == "22":
        return PyScript_Knob(name, options["l"], options["T"])
    return USER_KNOBS.get(kind, String_Knob)(name, options["l"])
