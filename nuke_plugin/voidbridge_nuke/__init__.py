"""Voidbridge inside Nuke. What a node's saved callbacks call, and nothing that they call may ever be renamed."""

from __future__ import annotations

from typing import Any


def on_create(node: Any) -> None:
    """A node has been made, pasted or loaded."""
    from . import node as conduct

    conduct.created(node)


def knob_changed(node: Any, knob: Any) -> None:
    """The artist has changed a knob, an input, or opened the panel."""
    from . import node as conduct

    conduct.changed(node, knob.name())


def press(button: str, node: Any) -> None:
    """The artist has pressed a button."""
    from . import node as conduct

    conduct.BUTTONS[button](node)
