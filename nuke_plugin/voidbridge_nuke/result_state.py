"""The state of a node: the shown version, its completeness, its match with the knobs, and its folders."""

from __future__ import annotations

import os
from typing import Any, Mapping, Sequence

from . import cache, graph, host
from .job import text_of
from .job_status import ChildTrace, judged
from .knobs import Value, bookkeeping, chosen
from .operations import operation_of
from .request import NodeError, described, differences, resolve

SEVERAL = 3
"""Maximum number of changed knobs that the status line lists."""
NO_RECORD = "no record"
"""Short status of a result whose frames are all there, without the record that tells how it was made."""
OF_RESULT = (
    "result_files", "plate_files", "result_first", "result_last", "version_record", "result_record"
)  # fmt: skip
NO_RESULT: dict[str, Value] = {
    knob.name: knob.default for knob in bookkeeping("") if knob.name in OF_RESULT
}
"""The knobs of a node that shows no result."""
KEPT = ("node_id", "homes", "last_version", *OF_RESULT)
"""The knobs that tie a node to its versions."""
FILLED_IN = ("color_space", "views_wanted")
"""Knobs that the script completes, so their own values are not those of the request."""


def standing(node: Any) -> tuple[str, str, str]:
    """Returns status line, short status and color, from the knobs and the files on disk."""
    values = host.values(node)
    shown = shown_version(values)
    if shown is None:
        return _without_record(values)
    lost = cache.missing_frames(shown)
    if lost:
        return (
            f"{shown.called} lacks {len(lost)} files, {lost[0]} first",
            "incomplete",
            "failed",
        )
    try:
        asked = described(resolve(values, graph.scene(node)))
    except NodeError as refused:
        return f"{shown.called}, but now: {refused}", shown.called, "stale"
    changes = differences(asked, shown.made_with)
    if changes:
        return _out_of_date(shown, changes)
    first, last = shown.frames
    return f"done: {shown.called}, frames {first}-{last}", shown.called, "ready"


def own_standing(values: Mapping[str, Value]) -> tuple[str, str, str] | None:
    """Compares only the node's own knobs with the shown version. Returns None if they do not differ.

    It looks at no other node, so it may be called at every tick of a slider.
    """
    shown = shown_version(values)
    if shown is None:
        return None
    counting = [knob for knob in operation_of(values).knobs if knob.makes_result]
    asked = {knob.name: chosen(knob, values) for knob in counting if knob.name not in FILLED_IN}
    if values["frame_range"] == "custom":
        asked["frames"] = "{}-{}".format(values["first"], values["last"])
    made_with = {name: shown.made_with.get(name, "") for name in asked}
    changes = differences(asked, made_with)
    return _out_of_date(shown, changes) if changes else None


def _out_of_date(shown: cache.Version, changes: Sequence[str]) -> tuple[str, str, str]:
    names = ", ".join(changes[:SEVERAL]) + (", ..." if len(changes) > SEVERAL else "")
    return (
        f"out of date: {names} changed since {shown.called}",
        f"out of date {shown.called}",
        "stale",
    )


def _without_record(values: Mapping[str, Value]) -> tuple[str, str, str]:
    """Judges by the frames: collectors of assets may leave the records behind."""
    pattern = str(values["result_files"])
    if not pattern:
        return "not rendered", "not rendered", "ready"
    opened = host.mapped(pattern)
    first, last = int(values["result_first"]), int(values["result_last"])
    names = [
        opened.replace("%V", view) % frame
        for view in host.views()
        for frame in range(first, last + 1)
    ]
    if not names or not all(os.path.exists(name) for name in names):
        return f"the result is no longer at its place: {opened}", "missing", "failed"
    return (
        f"frames {first}-{last} are there, but not their record {cache.RECORD}: nothing shows whether they fit",
        NO_RECORD,
        "stale",
    )


def shown_version(values: Mapping[str, Value]) -> cache.Version | None:
    """Returns the version whose frames the node reads, in any folder."""
    folder = str(values["result_files"]).rpartition("/")[0]
    return cache.read(folder, host.mapped) if folder else None


def job_of(version: cache.Version) -> str:
    """Returns the daemon's id of the job that made a version; empty if its child left none."""
    path = os.path.join(version.place, cache.status_file(version.views[0]))
    return judged(ChildTrace(status=text_of(path))).job


def fitting(node: Any) -> cache.Version | None:
    """Returns the newest complete version that matches the knobs, unless a matching one is shown."""
    values = host.values(node)
    try:
        asked = described(resolve(values, graph.scene(node)))
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
    return next(filter(fits, reversed(versions(values))), None)


def versions(values: dict[str, Value]) -> list[cache.Version]:
    """Returns every version of this node, by number."""
    return cache.versions(homes(values), host.mapped)


def homes(values: dict[str, Value]) -> list[str]:
    """Returns every folder with versions of this node, as the script spells them. The next goes to the last one."""
    now = cache.home(str(values["cache"]), host.script(), host.temporary(), str(values["node_id"]))
    before = [home for home in str(values["homes"]).split("\n") if home and home != now]
    return [*before, now]
