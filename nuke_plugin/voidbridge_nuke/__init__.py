"""Voidbridge inside Nuke. What a node's saved callbacks call, and nothing that they call may ever be renamed."""

from __future__ import annotations


def on_create(node: object) -> None:
    """A node has been made, pasted or loaded."""
    from . import controller as conduct

    conduct.created(node)


def knob_changed(node: object, knob: object) -> None:
    """The artist has changed a knob, an input, or opened the panel."""
    from . import controller as conduct

    conduct.changed(node, knob)


def press(button: str, node: object) -> None:
    """The artist has pressed a button."""
    from . import controller as conduct

    conduct.BUTTONS[button](node)
