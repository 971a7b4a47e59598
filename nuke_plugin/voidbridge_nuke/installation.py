"""Where the plug-in is installed, and the command that its installation wrote down.

FOLDER/init.py menu.py Voidbridge.nk voidbridge.json icons/ python/voidbridge_nuke/
"""

from __future__ import annotations

import json
import os

from .request import Refused

CONFIG = "voidbridge.json"


def folder() -> str:
    """The plug-in's folder: the one on NUKE_PATH."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def executable() -> list[str]:
    """The command `voidbridge`, as the installation wrote it down. Raises `Refused`."""
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
