"""What Nuke's startup files call, and where the plug-in is installed.

Imports wait until they are needed: every farm task pays for what this module imports.

    FOLDER/init.py menu.py Voidbridge.nk voidbridge.json icons/ python/voidbridge_nuke/
"""

from __future__ import annotations

import os

CONFIG = "voidbridge.json"
GROUP = "Voidbridge.nk"
ICON = "voidbridge.png"


def folder() -> str:
    """The plug-in's folder: the one on NUKE_PATH."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def executable() -> list[str]:
    """The command `voidbridge`, as the installation wrote it down. Raises `Refused`."""
    import json

    from .request import Refused

    path = os.path.join(folder(), CONFIG)
    try:
        with open(path, encoding="utf-8") as file:
            words = json.load(file)["command"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(
            f"{path} does not say where voidbridge is: {error}.",
            "Install the node again with: voidbridge install nuke",
        ) from error
    return [str(word) for word in words]


def menu() -> None:
    """For `menu.py`, in sessions with a GUI."""
    from . import host

    host.add_to_menu("Voidbridge", "import voidbridge_nuke.startup as s; s.paste()", ICON)


def paste() -> None:
    """A new node, connected to what is selected as Nuke does it."""
    from . import host

    host.paste(os.path.join(folder(), GROUP).replace("\\", "/"))


def loaded() -> None:
    """After a script is loaded, in every session."""
    from . import controller

    controller.adopt_all()


def before_render() -> None:
    """Before a Write renders, in every session. Raises RuntimeError, which stops the render."""
    from . import farm

    farm.guard()
