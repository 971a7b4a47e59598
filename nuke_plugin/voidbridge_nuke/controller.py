"""Reacts to a new or changed node, and does its jobs, by calling the other modules.

A job is followed in a worker thread; without a GUI, in the calling thread.
"""

from __future__ import annotations

import contextlib
import threading
import traceback
import uuid
from dataclasses import replace
from typing import Any, Callable, Iterator

from . import cache, extras, graph, host, migrate, site
from .group import COLORS
from .installation import executable
from .job_status import CANCELLED, DONE, line
from .knobs import COLOR, NO_VERSION, NODE_VERSION, Value
from .remove_body import rendered_channels, shown_channels
from .rendering import writing
from .request import CHANNEL_KNOBS, NodeError, NodeRequest, files, pieces, resolve
from .result_state import (
    KEPT,
    NO_RESULT,
    fitting,
    homes,
    own_standing,
    shown_version,
    standing,
    versions,
)
from .work import Work, commands_of

RUNNING: dict[str, Work] = {}
"""By the node's id. Only the main thread changes it."""
LAST: dict[str, Work] = {}
"""The last work of each node that ended, for the report."""
PENDING: set[str] = set()
"""Ids of the nodes whose state is looked at when the present callback is over."""


# -- a node's life -----------------------------------------------------------------------------------


def created(node: Any) -> None:
    """Gives a new or copied node its own id, and adds knobs that an older one lacks."""
    values = host.values(node)
    plan = migrate.plan(int(values["node_version"]), set(node.knobs()), host.operation(node).knobs)
    if plan.is_newer:
        _show_status(node, "made by a later release of Voidbridge", "newer", "stale")
        return
    host.add_knobs(node, plan.add)
    changes: dict[str, Value] = {"node_version": NODE_VERSION}
    others = [other for other in host.ours() if other.fullName() != node.fullName()]
    if values["node_id"] in {other["node_id"].value() for other in others}:
        # A copy may get another plate, so it must not keep the original's result.
        changes.update(NO_RESULT, homes="", last_version=0)
        host.put_choices(node, "version_shown", [NO_VERSION], NO_VERSION)
        if host.has_gui():
            host.soon(_claim, node.fullName(), {name: values[name] for name in KEPT})
    elif values["node_id"]:
        host.put(node, changes)
        return  # still loading: its inputs are not connected yet
    changes["node_id"] = uuid.uuid4().hex[:12]
    host.put(node, changes)
    if not values["node_id"]:
        host.put(node, site.defaults(host.operation(node)))
    refresh(node)


def _claim(name: str, kept: dict[str, Value]) -> None:
    """Gives a copy what its original had, if that is gone by now: Collapse to Group copies, and then deletes."""
    node = host.named(name)
    if node is not None and host.find(str(kept["node_id"])) is None:
        host.put(node, kept)
        version = shown_version(kept)
        if version is not None:
            _show_version(node, version)
        refresh(node)


def changed(node: Any, changed_knob: Any) -> None:
    """Called after a change of a knob, an input (`inputChange`) or the panel (`showPanel`)."""
    name = changed_knob.name()
    knob = host.operation(node).by_name.get(name)
    if name == "version_shown":
        _choose(node)
    elif name in ("inputChange", "showPanel"):
        _look_later(node)
    elif name in ("frame_range", "first", "last") or (
        knob and (knob.makes_result or knob.kind == COLOR)
    ):
        _compare(node)
        if name in CHANNEL_KNOBS:
            _look_later(node)


def adopt_all() -> None:
    """Called after a script is loaded: shows results that were finished while it was closed, and follows jobs."""
    for node in host.ours():
        with looking(node):
            _adopt(node)


def _adopt(node: Any) -> None:
    if host.has_gui() and _continued(node):
        return
    version = fitting(node)
    if version is not None:
        _show_version(node, version)
    refresh(node)


def _continued(node: Any) -> bool:
    """Follows a job that an earlier session started. Returns False if there is none."""
    values = host.values(node)
    node_id = str(values["node_id"])
    known = versions(values)
    commands = cache.unfinished_job(known[-1]) if known and node_id not in RUNNING else []
    if not commands:
        return False
    work = Work(node_id, node.name(), known[-1], commands, _show_progress, _finished)
    RUNNING[node_id] = work
    _show_status(node, "found at work", "at work", "ready")
    _follow(work)
    return True


@contextlib.contextmanager
def looking(node: Any) -> Iterator[None]:
    """Keeps every error of a look at a node from Nuke, which would stop a script from opening."""
    try:
        yield
    except Exception as problem:  # any error, because the script matters more than the status
        traceback.print_exc()
        text = f"cannot look: {type(problem).__name__}: {problem}"
        _show_status(node, text, "cannot look", "stale")


def _compare(node: Any) -> None:
    """Compares the node's own knobs at once, and the tree when the artist lets go of the knob."""
    values = host.values(node)
    if values["node_id"] in RUNNING:
        return
    state = own_standing(values)
    if state is not None:
        _show_status(node, *state)
    else:
        _look_later(node)


def _look_later(node: Any) -> None:
    """Looks at the tree after the callback. Without a GUI nobody reads the status, and renders look again."""
    node_id = str(node["node_id"].value()) if "node_id" in node.knobs() else ""
    if node_id and node_id not in PENDING and host.has_gui():
        PENDING.add(node_id)
        host.soon(_look, node_id)


def _look(node_id: str) -> None:
    PENDING.discard(node_id)
    node = host.find(node_id)
    if node is not None:
        with looking(node):
            refresh(node)
            if node_id not in RUNNING:
                with contextlib.suppress(NodeError):  # the status line has the reason
                    _fit_channels(node)


def refresh(node: Any) -> None:
    """Updates the node's status."""
    values = host.values(node)
    if values["node_id"] in RUNNING:
        return
    text, state, color = standing(node)
    _show_status(node, text, state, color)


# -- buttons ------------------------------------------------------------------------------------------


def begin(node: Any) -> None:
    """Renders and starts the job. Reports a problem in one message; without a GUI it raises `NodeError`."""
    answering(node, start)


def test_frame(node: Any) -> None:
    """Makes a version of the current frame only."""
    answering(node, lambda _: start(node, host.frame()))


def track_again(node: Any) -> None:
    """Tracks again from the frame that the viewer shows, and keeps the result before it."""
    answering(node, lambda _: start(node, earlier=extras.kept_before(node, host.frame())))


def start(node: Any, only: int | None = None, earlier: tuple[int, str] | None = None) -> Work:
    """Raises `NodeError`, `host.Stopped`. Without a GUI, returns after the work has ended.

    `only` is the one frame that is wanted; by default the node's own range. `earlier` is that of the request.
    """
    values = host.values(node)
    node_id = str(values["node_id"])
    if node_id in RUNNING:
        raise NodeError("This node is already working.", "Wait for it, or press Cancel.")
    edition = host.limited_edition()
    if edition:
        raise NodeError(
            f"{edition} lets Python see ten nodes at most, so this node cannot tell what feeds it.",
            "Render plate and matte with Writes, and use `voidbridge run` or `voidbridge web`.",
        )
    request = replace(_fit_channels(node, only), earlier=earlier)
    executable()
    folders = homes(values)
    last = int(values["last_version"])
    version = cache.begin(folders[-1], folders, request, host.mapped, last)
    host.put(node, {"homes": "\n".join(folders)})
    commands = commands_of(request, version.place)
    work = Work(node_id, node.name(), version, commands, _show_progress, _finished)
    RUNNING[node_id] = (
        work  # registered now, because Nuke may call this function again while it renders
    )
    try:
        cache.keep_job(version, commands)
        work.begin()
        _render(node, work, request)
    except BaseException:  # after any error, the child would wait for frames that never come
        del RUNNING[node_id]
        work.abandon()
        cache.forget_job(version)
        cache.discard(version)
        refresh(node)
        raise
    host.put(node, {"last_version": version.number})
    work.rendered_all()
    _follow(work)
    return work


def _fit_channels(node: Any, only: int | None = None) -> NodeRequest:
    """Leads the layer, the channels and the frames that the artist named to the Writes. Raises `NodeError`."""
    values = host.values(node)
    if only is not None:
        values.update(frame_range="custom", first=only, last=only)
    request = resolve(values, graph.scene(node))
    host.put_inside(node, rendered_channels(request.settings, request.matte_offset))
    return request


def _follow(work: Work) -> None:
    if host.has_gui():
        threading.Thread(target=work.run, name=f"voidbridge {work.name}", daemon=True).start()
    else:
        work.run()


def _render(node: Any, work: Work, request: NodeRequest) -> None:
    """Renders in pieces, so that one is sent while the next is made. Raises `NodeError`, `host.Stopped`."""
    first, last = request.rendered
    _show_status(node, f"rendering the plate, frames {first}-{last}", "rendering", "ready")
    depth = str(request.settings["depth"])
    for role, frames in request.listed.items():
        with writing(node, [role], request.views, work.version.folder, depth) as render:
            for frame in frames:
                render(frame, frame)
    with writing(node, request.roles, request.views, work.version.folder, depth) as render:
        for begin, end in pieces(request.rendered):
            render(begin, end)
            if work.is_cancelled():
                raise host.Stopped()
            if not work.rendered(begin, end):
                break


def cancel(node: Any) -> None:
    work = RUNNING.get(str(host.values(node)["node_id"]))
    if work is None:
        host.show_message("This node is not working.")
    else:
        work.cancel()


def work_of(node: Any) -> Work | None:
    """Returns the present job of a node, or the last one of this session."""
    node_id = str(host.values(node)["node_id"])
    return RUNNING.get(node_id) or LAST.get(node_id)


def answering(node: Any, action: Callable[[Any], Any]) -> None:
    """Does what a button asks for, and shows a refusal. Without a GUI it raises `NodeError`, `host.Stopped`."""
    try:
        action(node)
    except NodeError as refused:
        if not host.has_gui():
            raise
        host.show_message(str(refused))
    except host.Stopped:
        if not host.has_gui():
            raise


# -- what is shown ---------------------------------------------------------------------------------


def _show_progress(work: Work) -> None:
    node = host.find(work.node_id)
    if node is not None and RUNNING.get(work.node_id) is work:
        _show_status(node, line(work.status), "at work", "ready")


def _finished(work: Work) -> None:
    """Runs on the main thread. If the node was deleted, its result stays on disk."""
    RUNNING.pop(work.node_id, None)
    LAST[work.node_id] = work
    cache.forget_job(work.version)
    if work.status.phase != DONE:
        cache.discard(work.version)
    node = host.find(work.node_id)
    if node is None:
        return
    if work.status.phase == DONE:
        _show_version(node, work.version)
        refresh(node)
        site.publish(extras.record(node, work.version))
    elif work.status.phase == CANCELLED:
        text, state, color = standing(node)
        _show_status(node, f"cancelled; {text}", state, color)
    else:
        _show_status(node, line(work.status), work.status.phase, "failed")


def _show_version(node: Any, version: cache.Version) -> None:
    names = [found.name for found in versions(host.values(node)) if cache.is_complete(found)]
    host.put_choices(node, "version_shown", [NO_VERSION, *names], version.name)
    host.put(
        node,
        {
            "result_files": files(version.folder, "result"),
            "plate_files": files(version.folder, "plate"),
            "version_record": f"{version.folder}/{cache.RECORD}",
            "result_record": f"{version.folder}/{cache.result_record(version)}",
            "result_first": version.frames[0],
            "result_last": version.frames[1],
        },
    )
    host.put_inside(node, shown_channels(str(version.made_with.get("layer", ""))))
    host.reload_result(node)


def _choose(node: Any) -> None:
    """Shows the version that the artist chose in the menu."""
    values = host.values(node)
    for version in versions(values):
        if version.name == values["version_shown"]:
            _show_version(node, version)
            break
    else:
        host.put(node, NO_RESULT)
    _compare(node)


def _show_status(node: Any, text: str, state: str, color: str) -> None:
    host.put(node, {"status": text, "state": state, "tile_color": COLORS[color]})
