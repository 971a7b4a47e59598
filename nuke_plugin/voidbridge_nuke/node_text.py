"""The text of single nodes inside a Group, as a Nuke script spells them."""

from __future__ import annotations

from .knobs import CHANNELS, COLORS_OF_LAYER, Value

IN_RANGE = "frame>=parent.result_first&&frame<=parent.result_last"
"""True at the frames that have a result."""


def write_name(role: str) -> str:
    """Returns the name of the Write that renders an input."""
    return "Write" + role.capitalize()


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


def node(kind: str, **knobs: Value) -> list[str]:
    """Returns a node. A value that begins with a brace or a quote is taken as it is."""
    lines = [kind + " {"]
    for name, value in knobs.items():
        as_it_is = isinstance(value, str) and value.startswith(("{", '"'))
        lines.append(f" {name} {value if as_it_is else quoted(value)}")
    return [*lines, "}"]


def input_node(role: str, number: int, xpos: int) -> list[str]:
    """Returns the group's input `number`."""
    lines = ["Input {", " inputs 0", f" name {role}", f" xpos {xpos}"]
    return lines + ([f" number {number}"] if number else []) + ["}"]


def write(role: str, channels: str, xpos: int) -> list[str]:
    """Returns a disabled Write, because an enabled one runs in Render All and in `nuke -x`."""
    return node(
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
        name=write_name(role),
        xpos=xpos,
        ypos=200,
        disable=True,
    )


def read(name: str, files: str, xpos: int) -> list[str]:
    """Returns a Read of the group's knob `files`, at the frames that have a result."""
    return node(
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


def merge(name: str, expressions: list[str]) -> list[str]:
    """Returns a MergeExpression of red, green, blue and alpha. Its B pipe is the top of the stack."""
    numbered = {f"expr{i}": expression for i, expression in enumerate(expressions)}
    return node("MergeExpression", inputs=2, **dict(numbered, name=name))


def copy_layer(name: str, disable: bool = False) -> list[str]:
    """Returns a node that copies red, green and blue from A to B. Its knobs may name another layer."""
    knobs: dict[str, Value] = {}
    for i, color in enumerate(COLORS_OF_LAYER):
        knobs.update({f"from{i}": f"rgba.{color}", f"to{i}": f"rgba.{color}"})
    return node("Copy", inputs=2, **knobs, name=name, **({"disable": True} if disable else {}))


def channel_of(channel: str, invert: str = "") -> str:
    """Returns the expression of the channel that the choice `channel` names, inverted by the knob `invert`."""
    letters = "argb"
    picked = letters[0]
    for i in range(1, len(CHANNELS)):
        picked = f"parent.{channel}=={i}?{letters[i]}:({picked})"
    return f"parent.{invert}?1-({picked}):({picked})" if invert else picked
