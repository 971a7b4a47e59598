"""Ends versions that are not shown: deletes them, or moves them to an archive."""

from __future__ import annotations

from typing import Any

from . import cache, host, short_command
from .installation import executable
from .knobs import NO_VERSION
from .request import NodeError
from .result_state import shown_version, versions


def purge(node: Any) -> None:
    """Deletes the versions that are not shown, after a question. Raises `NodeError`."""
    old = _old(node)
    if not host.ask(f"Delete {_listed(old)} Other scripts may use them."):
        return
    kept = [version for version in old if not cache.delete(version)]
    _show_choices(node)
    if kept:
        raise NodeError(
            "Not all of {} could be deleted.".format(", ".join(v.place for v in kept)),
            "These folders hold other files too, or are in use.",
        )


def archive(node: Any) -> None:
    """Moves the versions that are not shown to the archive folder, after a question. Raises `NodeError`."""
    place = host.mapped(str(host.values(node)["archive_to"]).strip())
    if not place:
        raise NodeError("No archive folder is named.", "Name one in 'archive folder'.")
    old = _old(node)
    if not host.ask(f"Move to {place}: {_listed(old)} Other scripts may use them."):
        return
    node_id = str(host.values(node)["node_id"])
    words = [*executable(), "archive", *(v.place for v in old), f"--to={place}", "--move", "--json"]
    short_command.run(
        words, lambda events: _archived(node_id, place, events), lambda _: _look_again(node_id)
    )


def _archived(node_id: str, place: str, events: short_command.Events) -> None:
    """On the main thread."""
    found = [event for event in events if event.get("event") == "archived"]
    left = [str(event["source"]) for event in found if not event["deleted"]]
    _look_again(node_id)
    size = cache.spelled_size(sum(int(event["bytes"]) for event in found))
    more = " Other files are left in {}.".format(", ".join(left)) if left else ""
    host.show_message(f"{len(found)} versions lie in {place}: {size}, each copy verified.{more}")


def _look_again(node_id: str) -> None:
    """On the main thread, also after a failure: the versions before it were moved."""
    node = host.find(node_id)
    if node is not None:
        _show_choices(node)


def _old(node: Any) -> list[cache.Version]:
    """Returns the versions that are not shown and not at work. Raises `NodeError` if there is none."""
    values = host.values(node)
    shown = shown_version(values)
    old = [
        version
        for version in versions(values)
        if (shown is None or version.folder != shown.folder) and not cache.is_at_work(version)
    ]
    if not old:
        raise NodeError("There is no other version.", "The one that is shown stays.")
    return old


def _listed(old: list[cache.Version]) -> str:
    sizes = [cache.size(version) for version in old]
    names = ", ".join(f"{v.called} ({cache.spelled_size(size)})" for v, size in zip(old, sizes))
    return f"{names}: {cache.spelled_size(sum(sizes))} in all?"


def _show_choices(node: Any) -> None:
    values = host.values(node)
    names = [v.name for v in versions(values) if cache.is_complete(v)]
    host.put_choices(node, "version_shown", [NO_VERSION, *names], str(values["version_shown"]))
