"""Renders the inputs of a node to files, with Nuke's own progress bar."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Callable, Iterator, Sequence

import nuke

from .host import Stopped, mapped, no_undo
from .node_text import write_name
from .request import NodeError, files

MISSING_TIMES = 5
"""Maximum number of missing files that a message names."""


@contextlib.contextmanager
def writing(
    node: Any, roles: Sequence[str], views: Sequence[str], folder: str, depth: str
) -> Iterator[Callable[[int, int], None]]:
    """Yields a function that renders a run of frames of the inputs to files, in full size. Raises `NodeError`.

    The function raises `Stopped` and `NodeError`.
    """
    writes = [node.node(write_name(role)) for role in roles]
    if None in writes:
        raise NodeError(
            "The inside of this node was changed: {}.".format(
                ", ".join(write_name(role) for role in roles)
            ),
            "Make a new node and connect it in place of this one.",
        )

    def render(first: int, last: int) -> None:
        try:
            nuke.executeMultiple(tuple(writes), ((first, last, 1),), list(views))
        except RuntimeError as error:
            if "cancel" in str(error).lower():
                raise Stopped() from error
            raise NodeError(
                f"The plate cannot be rendered: {error}.", "Check the nodes that feed this node."
            ) from error
        wanted = _expected(folder, roles, (first, last), views)
        missing = [name for name in wanted if not os.path.exists(name)]
        if missing:
            raise NodeError(
                "Nuke did not write {}.".format(", ".join(missing[:MISSING_TIMES])),
                "Check the nodes that feed this node, and the free disk space.",
            )

    with no_undo(), _full_size():
        try:
            for role, write in zip(roles, writes):
                write["file"].setValue(files(folder, role))
                write["datatype"].setValue(depth)
                write["views"].fromScript(" ".join(views))
                write["disable"].setValue(False)
            yield render
        finally:
            for write in writes:
                write["disable"].setValue(True)


def _expected(
    folder: str, roles: Sequence[str], frames: tuple[int, int], views: Sequence[str]
) -> list[str]:
    folder = mapped(folder)
    return [
        files(folder, role, view) % frame
        for role in roles
        for view in views
        for frame in range(frames[0], frames[1] + 1)
    ]


@contextlib.contextmanager
def _full_size() -> Iterator[None]:
    """Turns proxies off, because half-size plates would pass for full ones."""
    root = nuke.root()
    proxy = root["proxy"].value() if "proxy" in root.knobs() else False
    if proxy:
        root["proxy"].setValue(False)
    try:
        yield
    finally:
        if proxy:
            root["proxy"].setValue(True)
