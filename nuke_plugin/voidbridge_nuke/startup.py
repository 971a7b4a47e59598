"""The functions that Nuke's startup files call.

Imports wait until they are needed: every farm task pays for each import here.
"""

from __future__ import annotations

import os

GROUP = "Voidbridge.nk"
ICON = "voidbridge.png"


def menu() -> None:
    """For `menu.py`, in sessions with a GUI."""
    from . import host

    host.add_to_menu("Voidbridge", "import voidbridge_nuke.startup as s; s.paste()", ICON)


def paste() -> None:
    """A new node, connected to what is selected as Nuke does it."""
    from . import host, installation

    host.paste(os.path.join(installation.folder(), GROUP).replace("\\", "/"))


def loaded() -> None:
    """After a script is loaded, in every session."""
    from . import controller

    controller.adopt_all()


def before_render() -> None:
    """Before a Write renders, in every session. Raises RuntimeError, which stops the render."""
    from . import farm

    farm.guard()
