"""The state of a node: the shown version, its completeness, its match with the knobs, and its folders."""

from __future__ import annotations

from typing import Any

from . import cache, host
from .knobs import Value
from .request import NodeError, described, differences, resolve

SEVERAL = 3
"""Maximum number of changed knobs that the status line lists."""


def standing(node: Any) -> tuple[str, str, str]:
    """Returns status line, short status and color, from the knobs and the files on disk."""
    values = host.values(node)
    shown = shown_version(values)
    if shown is None:
        if values["result_files"]:
            return (
                "the result is no longer at its place: {}".format(values["result_files"]),
                "missing",
                "failed",
            )
        return "not rendered", "not rendered", "ready"
    lost = cache.missing(shown)
    if lost:
        return (
            f"{shown.called} lacks {len(lost)} files, {lost[0]} first",
            "incomplete",
            "failed",
        )
    try:
        asked = described(resolve(values, host.scene(node)))
    except NodeError as refused:
        return f"{shown.called}, but now: {refused}", shown.called, "stale"
    changes = differences(asked, shown.made_with)
    if changes:
        names = ", ".join(changes[:SEVERAL]) + (", ..." if len(changes) > SEVERAL else "")
        return (
            f"out of date: {names} changed since {shown.called}",
            f"out of date {shown.called}",
            "stale",
        )
    first, last = shown.frames
    return f"done: {shown.called}, frames {first}-{last}", shown.called, "ready"


def shown_version(values: dict[str, Value]) -> cache.Version | None:
    """Returns the version whose frames the node reads, in any folder."""
    folder = str(values["result_files"]).rpartition("/")[0]
    return cache.read(folder) if folder else None


def fitting(node: Any) -> cache.Version | None:
    """Returns the newest complete version that matches the knobs, unless a matching one is shown."""
    values = host.values(node)
    try:
        asked = described(resolve(values, host.scene(node)))
    except NodeError:
        return None

    def fits(version: cache.Version | None) -> bool:
        return (
            version is not None
            and not differences(asked, version.made_with)
            and cache.is_complete(version)
        )

    if fits(shown_version(values)):
        return None
    return next(filter(fits, reversed(cache.versions(homes(values)))), None)


def homes(values: dict[str, Value]) -> list[str]:
    """Returns every folder with versions of this node; the next version goes to the last one."""
    now = cache.home(str(values["cache"]), host.script(), host.temporary(), str(values["node_id"]))
    before = [home for home in str(values["homes"]).split("\n") if home and home != now]
    return [*before, now]
