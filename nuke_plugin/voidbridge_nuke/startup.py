"""The functions that Nuke's startup files call.

Imports are lazy, because every farm task pays for each import here.
"""

from __future__ import annotations

import os

NODES = {
    "Voidbridge": "Voidbridge",
    "Voidbridge Key": "VoidbridgeKey",
    "Voidbridge Mask": "VoidbridgeMask",
    "Voidbridge Generate": "VoidbridgeGenerate",
}
"""The entries of the menu, and the files of their nodes."""
ICON = "voidbridge.png"
SELECTED = "Start selected nodes"
"""The entry of the menu that presses Remove, Key, Track or Generate of every selected node."""


def menu() -> None:
    """Called by `menu.py`, in sessions with a GUI."""
    from . import host

    for label, name in NODES.items():
        host.add_to_menu(label, f"import voidbridge_nuke.startup as s; s.paste({name!r})", ICON)
    host.add_to_menu(SELECTED, "import voidbridge_nuke.startup as s; s.start_selected()", ICON)


def start_selected() -> None:
    """Called by the menu: starts the jobs of all selected nodes."""
    from . import controller, host
    from .request import NodeError

    problems, nodes = [], host.selected()
    for node in nodes:
        try:
            controller.start(node)
        except NodeError as refused:
            problems.append(f"{node.name()}: {refused}")
        except host.Stopped:
            break
    if problems or not nodes:
        host.show_message("\n".join(problems) or "No Voidbridge node is selected.")


def paste(name: str = "Voidbridge") -> None:
    """Creates a node, connected to the selection like any new node in Nuke."""
    from . import host, installation

    host.paste(os.path.join(installation.folder(), name + ".nk").replace("\\", "/"))


def loaded() -> None:
    """Called after a script is loaded, in every session."""
    from . import controller

    controller.adopt_all()


def before_render() -> None:
    """Called before a Write renders, in every session. Raises RuntimeError, which stops the render."""
    from . import farm

    farm.guard()
