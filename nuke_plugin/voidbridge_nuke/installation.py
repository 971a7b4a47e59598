"""Finds the plug-in's folder and the command recorded by its installation.

FOLDER/init.py menu.py Voidbridge.nk voidbridge.json icons/ python/voidbridge_nuke/
"""

from __future__ import annotations

import json
import os

from .request import NodeError

CONFIG = "voidbridge.json"


def folder() -> str:
    """Returns the plug-in's folder, which is on NUKE_PATH."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def executable() -> list[str]:
    """Returns the recorded command `voidbridge`. Raises `NodeError`."""
    path = os.path.join(folder(), CONFIG)
    try:
        with open(path, encoding="utf-8") as file:
            words = json.load(file)["command"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NodeError(
            f"{path} does not say where voidbridge is: {error}.",
            "Install the node again with: voidbridge install nuke",
        ) from error
    return [str(word) for word in words]
