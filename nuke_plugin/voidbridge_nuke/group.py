"""The text of the Group that is pasted into a script. It shows its result without this package.

It contains only nodes and knobs of Nuke 13 and later, and no logic: each callback is one guarded call.
"""

from __future__ import annotations

from . import generate_body, key_body, mask_body, remove_body
from .knobs import (
    ARRAYS,
    BOOL,
    BOX,
    BUTTON,
    CHOICE,
    COLOR,
    FILE,
    FLOAT,
    INT,
    NODE_VERSION,
    POINT,
    STRING,
    TAB,
    TEXT,
    Knob,
)
from .node_text import quoted
from .operations import REMOVE, HostOperation

TYPES = {
    STRING: 1,
    FILE: 2,
    INT: 3,
    CHOICE: 4,
    BOOL: 6,
    FLOAT: 7,
    POINT: 12,
    BOX: 15,
    COLOR: 18,
    TAB: 20,
    BUTTON: 22,
    TEXT: 26,
}
"""Nuke's numbers for `addUserKnob`."""

READS = ("ReadResult", "ReadPlate")
"""Reads of a result. An operation's Group has the first, or both."""
BODIES = {
    "remove": remove_body.body,
    "key": key_body.body,
    "mask": mask_body.body,
    "generate": generate_body.body,
}
"""The inside of the Group of each operation."""
COLORS = {"ready": 0x3F5F7FFF, "stale": 0x9F7F2FFF, "failed": 0x8F2F2FFF}
"""Tile colors: a result or none requested; a result that no longer matches the knobs; a failed job."""


def text(name: str = "", operation: HostOperation = REMOVE) -> str:
    """Returns the text that `nuke.nodePaste` and a script accept. `name`: of the node; by default with a 1."""
    head = _head(name or operation.node + "1", operation)
    return "\n".join(head + BODIES[operation.name]() + ["end_group", ""])


def pasted(operation: HostOperation) -> str:
    """Returns the file that is pasted: the selected node becomes the plate, as in text that Nuke copies."""
    lines = [version_line() + "set cut_paste_input [stack 0]"]
    lines += ["push 0"] * (len(operation.inputs) - 1) + ["push $cut_paste_input"]
    return "\n".join([*lines, text(operation=operation)])


def guarded(call: str, otherwise: str = "pass") -> str:
    """Returns callback code that does nothing if this package is not installed."""
    return (
        f"try:\n    import voidbridge_nuke\nexcept ImportError:\n    {otherwise}\n"
        f"else:\n    voidbridge_nuke.{call}"
    )


def _head(name: str, operation: HostOperation) -> list[str]:
    lines = [
        "Group {",
        f" inputs {len(operation.inputs)}",
        f" name {name}",
        " tile_color 0x{:08x}".format(COLORS["ready"]),
        ' label "\\[value state]"',
        " onCreate {}".format(quoted(guarded("on_create(nuke.thisNode())"))),
        " knobChanged {}".format(quoted(guarded("knob_changed(nuke.thisNode(), nuke.thisKnob())"))),
    ]
    for knob in operation.knobs:
        lines.append(" " + _declared(knob))
        if knob.kind in ARRAYS:
            lines.append(f" {knob.name} {{{knob.default}}}")
        elif knob.has_value:
            lines.append(f" {knob.name} {quoted(knob.default)}")
    return [*lines, "}"]


def _declared(knob: Knob) -> str:
    words = [f"{TYPES[knob.kind]} {knob.name} l {quoted(knob.label)}"]
    if knob.tooltip:
        words.append(f"t {quoted(knob.tooltip)}")
    if knob.kind == CHOICE:
        words.append("M {{{}}}".format(" ".join(quoted(choice) for choice in knob.choices)))
    if knob.kind == TEXT:
        words.append(f"T {quoted(knob.default)}")
    if knob.kind == BUTTON:
        absent = "(nuke.message if nuke.GUI else nuke.tprint)('Voidbridge is not installed here.')"
        words.append(
            "T {}".format(quoted(guarded(f"press('{knob.name}', nuke.thisNode())", absent)))
        )
    if knob.kind in (BUTTON, CHOICE, BOOL):
        words.append("-STARTLINE" if knob.same_line else "+STARTLINE")
    elif knob.same_line:
        words.append("-STARTLINE")
    if knob.hidden:
        words.append("+INVISIBLE")
    return "addUserKnob {{{}}}".format(" ".join(words))


def version_line() -> str:
    """Returns the first line of the file with the Group."""
    return f"# Voidbridge, node version {NODE_VERSION}. Paste it into a script.\n"
