"""The Voidbridge package for Nuke. Saved nodes call these functions by name, so the names must never change."""

from __future__ import annotations


def on_create(node: object) -> None:
    """Called when a node was created, pasted or loaded."""
    from . import controller as conduct

    with conduct.looking(node):
        conduct.created(node)


def knob_changed(node: object, knob: object) -> None:
    """Called when the artist changed a knob or an input, or opened the panel."""
    from . import controller as conduct

    with conduct.looking(node):
        conduct.changed(node, knob)


def add_published(call: object) -> None:
    """For a site's init.py: calls `call` with a dictionary after each finished result, on the main thread."""
    from . import site

    site.add_published(call)


def add_submitted(call: object) -> None:
    """For a site's init.py: calls `call` with a dictionary after a farm's files are written."""
    from . import site

    site.add_submitted(call)


def press(button: str, node: object) -> None:
    """Called when the artist pressed a button."""
    from .buttons import BUTTONS

    BUTTONS[button](node)
