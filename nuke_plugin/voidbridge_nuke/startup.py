"""What Nuke's startup files call, and where the plug-in is installed. Light: every farm task pays for it.

FOLDER/init.py menu.py Voidbridge.nk voidbridge.json icons/ python/voidbridge_nuke/
"""

from __future__ import annotations

import json
import os

CONFIG = "voidbridge.json"
GROUP = "Voidbridge.nk"
ICON = "voidbridge.png"


def folder() -> str:
    """The plug-in's folder: the one on NUKE_PATH."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def executable() -> list[str]:
    """The command `voidbridge`, as the installation wrote it down. Raises `Refused`."""
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


def init() -> None:
    """For `init.py`, in every session. What it needs is imported when it is needed."""
    from . import host

    host.on_script_load(_loaded)
    host.before_render(_before_render)


def menu() -> None:
    """For `menu.py`, in sessions with a GUI."""
    from . import host

    host.add_to_menu("Voidbridge", "import voidbridge_nuke.startup as s; s.paste()", ICON)


def paste() -> None:
    """A new node, connected to what is selected as Nuke does it."""
    from . import host

    host.paste(os.path.join(folder(), GROUP).replace("\\", "/"))


def _loaded() -> None:
    from . import node

    node.adopt_all()


def _before_render() -> None:
    from . import farm

    farm.guard()
