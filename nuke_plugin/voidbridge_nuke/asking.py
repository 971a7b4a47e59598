"""Asks a language model what an object affects: draws the pictures, shows them, and sends them after a yes.

The endpoint is the one of the machine's environment. Nothing is sent without it, and nothing without the yes.
"""

from __future__ import annotations

import os
import posixpath
from typing import Any

from . import cache, host, short_command
from .installation import executable
from .request import NodeError, files
from .result_state import shown_version

URL = "VOIDBRIDGE_ASK_URL"
"""Variable with the address of the endpoint; another one names its model."""
FILES = "affected.%04d.exr"


def ask(node: Any) -> None:
    """Draws the pictures of the shown result in a thread. Raises `NodeError` without a result."""
    values = host.values(node)
    shown = shown_version(values)
    if shown is None:
        raise NodeError("There is no result yet.", f"Press {host.operation(node).button}.")
    folder = posixpath.join(posixpath.dirname(shown.place), "asked-" + shown.name)
    words = _command(shown, folder)
    node_id = str(values["node_id"])
    short_command.run(words, lambda _: _offer(node_id, words, folder))


def _command(shown: cache.Version, folder: str) -> list[str]:
    view, (first, last) = shown.views[0], shown.frames
    return [
        *executable(),
        "mask-ask",
        files(shown.place, "plate", view),
        files(shown.place, "result", view),
        f"--output={folder}",
        f"--frames={first}-{last}",
        "--color-space={}".format(shown.made_with.get("color_space", "")),
        "--json",
    ]


def _offer(node_id: str, words: list[str], folder: str) -> None:
    """On the main thread: shows the pictures, and sends them if the artist says yes."""
    url = os.environ.get(URL, "")
    if not url:
        host.show_message(
            f"The pictures lie in {folder}. No endpoint is configured, so nothing can be sent. Set {URL} and "
            "VOIDBRIDGE_ASK_MODEL, start Nuke again, and ask again."
        )
    elif host.ask(
        f"The pictures in {folder} would be sent to {url}. Look at them first. Send them?"
    ):
        short_command.run([*words, "--send"], lambda _: _take(node_id, folder))


def _take(node_id: str, folder: str) -> None:
    """On the main thread: names the answer's areas to the node, which may be gone."""
    node = host.find(node_id)
    if node is not None:
        host.set_value(node, "affected", posixpath.join(folder, FILES))
        host.show_message("The answer is there. Press Track to take its areas as affected.")
