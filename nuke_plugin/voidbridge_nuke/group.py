"""The text of the Group that is pasted into a script. It shows its result without this package.

It contains only nodes and knobs of Nuke 13 and later, and no logic: each callback is one guarded call.
"""

from __future__ import annotations

from .knobs import (
    BOOL,
    BUTTON,
    CHANNELS,
    CHOICE,
    FILE,
    FLOAT,
    INT,
    KNOBS,
    NODE_VERSION,
    STRING,
    TAB,
    TEXT,
    Knob,
    Value,
)

TYPES = {STRING: 1, FILE: 2, INT: 3, CHOICE: 4, BOOL: 6, FLOAT: 7, TAB: 20, BUTTON: 22, TEXT: 26}
"""Nuke's numbers for `addUserKnob`."""

WRITES = {
    "plate": "WritePlate",
    "matte": "WriteMatte",
    "affected": "WriteAffected",
    "clean": "WriteClean",
}
READS = ("ReadResult", "ReadPlate")
INPUTS = {"plate": 0, "matte": 1, "affected": 2, "clean": 3}
COLORS = {"ready": 0x3F5F7FFF, "stale": 0x9F7F2FFF, "failed": 0x8F2F2FFF}
"""Tile colors: a result or none requested; a result that no longer matches the knobs; a failed job."""

ROUND = ((0.945, 0.524), (0.764, 0.764), (0.524, 0.945))
"""Three boxes whose union is a circle of radius 1 to 8 %: Nuke grows by boxes, the engines by distance."""

DIFFERS = "(Ar!=Br||Ag!=Bg||Ab!=Bb)"
"""True where the result differs from the sent plate. A NaN differs from itself; the result has it too."""


def text(name: str = "Voidbridge1") -> str:
    """Returns the text that `nuke.nodePaste` and a script accept."""
    return "\n".join(_head(name) + _body() + ["end_group", ""])


def guarded(call: str, otherwise: str = "pass") -> str:
    """Returns callback code that does nothing if this package is not installed."""
    return (
        f"try:\n    import voidbridge_nuke\nexcept ImportError:\n    {otherwise}\n"
        f"else:\n    voidbridge_nuke.{call}"
    )


def quoted(value: Value) -> str:
    """Quotes a value as one word of Tcl."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"{value:g}" if isinstance(value, float) else str(value)
    escaped = (
        value.replace("\\", "\\\\").replace('"', '\\"').replace("[", "\\[").replace("$", "\\$")
    )
    return '"{}"'.format(escaped.replace("\n", "\\n"))


def _head(name: str) -> list[str]:
    lines = [
        "Group {",
        f" inputs {len(INPUTS)}",
        f" name {name}",
        " tile_color 0x{:08x}".format(COLORS["ready"]),
        ' label "\\[value state]"',
        " onCreate {}".format(quoted(guarded("on_create(nuke.thisNode())"))),
        " knobChanged {}".format(quoted(guarded("knob_changed(nuke.thisNode(), nuke.thisKnob())"))),
    ]
    for knob in KNOBS:
        lines.append(" " + _declared(knob))
        if knob.kind not in (TAB, BUTTON, TEXT):
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


def _body() -> list[str]:
    """Nodes are pushed on a stack: the last one becomes input 0 (B) of the next, the one before it input 1 (A)."""
    in_range = "{{frame>=parent.result_first&&frame<=parent.result_last}}"
    return [
        *_input("clean", 600),
        *_node("Expression", name="CleanAlpha", expr3="parent.clean_whole?1:a"),
        *_write("clean", "rgba", 600),
        *_input("affected", 400),
        *_node("Expression", name="AffectedAlpha", expr3=_chosen("affected_channel", "false")),
        "set Naffected [stack 0]",
        *_write("affected", "alpha", 400),
        *_input("matte", 200),
        *_node("Expression", name="MatteAlpha", expr3=_chosen("matte_channel", "matte_invert")),
        "set Nmatte [stack 0]",
        *_write("matte", "alpha", 200),
        *_input("plate", 0),
        "set Nplate [stack 0]",
        *_write("plate", "rgb", 0),
        *_read("ReadResult", "result_files", 0),
        "set Nresult [stack 0]",
        *_read("ReadPlate", "plate_files", 100),
        *_merge("Layer", [f"{DIFFERS}?{c}:0" for c in ("Ar", "Ag", "Ab")] + [f"{DIFFERS}?1:0"]),
        "set Nlayer [stack 0]",
        "push $Nplate",
        *_merge("Select", [*[f"Aa>0?A{c}:B{c}" for c in "rgb"], "Ba"]),
        "set Nselect [stack 0]",
        "push $Nresult",
        "push $Nselect",
        *_node("CopyMetaData", inputs=2, name="ResultMetaData", mergeMode="Meta+Image"),
        "push $Nplate",
        *_node("Switch", inputs=2, name="InRange", which=in_range),
        "set Nshown [stack 0]",
        "push $Nlayer",
        "push $Nplate",
        *_node("Remove", name="Nothing", operation="remove", channels="all"),
        *_node("Switch", inputs=2, name="LayerInRange", which=in_range),
        "set Nlayershown [stack 0]",
        *_quadmask(),
        "set Nquadmask [stack 0]",
        "push $Nshown",
        "push $Nplate",
        *_merge("Difference", ["fabs(Ar-Br)", "fabs(Ag-Bg)", "fabs(Ab-Bb)", "Ba"]),
        "push $Nlayershown",
        "push $Nquadmask",
        "push $Nplate",
        "push $Nshown",
        *_node("Switch", inputs=5, name="Shown", which="{{parent.output}}"),
        *_node("Output", name="Output1"),
    ]  # fmt: skip


def _quadmask() -> list[str]:
    """Draws object and affected as red and green, both grown, as codes. One class's growth stops at the other's
    object.
    """
    is_code, is_set = "parent.matte_kind==2?", ">=parent.threshold"
    removed = f"{is_code}Ba<{95 / 255:.4f}:Ba{is_set}"
    affected = f"{is_code}(Ba>{31.5 / 255:.4f}&&Ba<{191 / 255:.4f}):Aa{is_set}"
    lines = [
        "push $Naffected",
        "push $Nmatte",
        *_merge("Classes", [removed, affected, "0", "0"]),
        "set Nclasses [stack 0]",
    ]
    for i, box in enumerate(ROUND):
        size = " ".join(f"{{-{part}*(parent.grow+parent.soften)}}" for part in box)
        lines += ["push $Nclasses"] if i else []
        lines += _node(
            "FilterErode", channels="rgba", filter="box", size=f"{{{size}}}", name=f"Reach{i}"
        )
        if i:
            lines += _merge(f"Round{i}", [f"A{c}>B{c}?A{c}:B{c}" for c in "rg"])
    wider = "(Bg>0||(Ag>0&&Br<=0))"
    code = f"Ar>0?({wider}?{63 / 255:.6f}:0):({wider}?{127 / 255:.6f}:1)"
    return [*lines, "push $Nclasses", *_merge("Quadmask", [code, code, code, "1"])]


def _node(kind: str, **knobs: Value) -> list[str]:
    lines = [kind + " {"]
    for name, value in knobs.items():
        as_it_is = isinstance(value, str) and value.startswith(("{", '"'))
        lines.append(f" {name} {value if as_it_is else quoted(value)}")
    return [*lines, "}"]


def _input(role: str, xpos: int) -> list[str]:
    lines = ["Input {", " inputs 0", f" name {role}", f" xpos {xpos}"]
    number = INPUTS[role]
    return lines + ([f" number {number}"] if number else []) + ["}"]


def _write(role: str, channels: str, xpos: int) -> list[str]:
    """Returns a disabled Write, because an enabled one runs in Render All and in `nuke -x`."""
    return _node(
        "Write",
        channels=channels,
        file="",
        file_type="exr",
        raw=True,
        create_directories=True,
        checkHashOnRead=False,
        datatype="16 bit half",
        compression="Zip (1 scanline)",
        metadata="all metadata",
        on_error="error",
        name=WRITES[role],
        xpos=xpos,
        ypos=200,
        disable=True,
    )


def _read(name: str, files: str, xpos: int) -> list[str]:
    return _node(
        "Read",
        inputs=0,
        file_type="exr",
        file=f'"\\[value parent.{files}]"',
        first="{{parent.result_first}}",
        last="{{parent.result_last}}",
        origfirst="{{parent.result_first}}",
        origlast="{{parent.result_last}}",
        origset=True,
        before="black",
        after="black",
        localizationPolicy="off",
        on_error="error",
        raw=True,
        name=name,
        xpos=xpos,
        ypos=300,
    )


def _merge(name: str, expressions: list[str]) -> list[str]:
    numbered = {f"expr{i}": expression for i, expression in enumerate(expressions)}
    return _node("MergeExpression", inputs=2, **dict(numbered, name=name))


def _chosen(channel: str, invert: str) -> str:
    letters = "argb"
    picked = letters[0]
    for i in range(1, len(CHANNELS)):
        picked = f"parent.{channel}=={i}?{letters[i]}:({picked})"
    return picked if invert == "false" else f"parent.{invert}?1-({picked}):({picked})"


def version_line() -> str:
    """Returns the first line of the file with the Group."""
    return f"# Voidbridge, node version {NODE_VERSION}. Paste it into a script.\n"
