"""Buttons beside the job: a Read of the result, the folder, the page, the report, and prompts of the tracker."""

from __future__ import annotations

import os
from typing import Any

from . import cache, group, host, prompts, support
from .node_text import node as node_text
from .operations import REMOVE
from .request import NodeError, files, listed
from .result_state import job_of, shown_version
from .work import Work


def reveal(node: Any) -> None:
    """Raises `NodeError`."""
    shown = shown_version(host.values(node))
    if shown is None:
        raise NodeError("There is no result yet.", f"Press {host.operation(node).button}.")
    host.reveal(shown.place)


def browse(node: Any, work: Work | None) -> None:
    """Opens the page of the job `work`, else that of the shown result. Raises `NodeError`."""
    values = host.values(node)
    shown = shown_version(values)
    job_id = work.status.job if work is not None else job_of(shown) if shown is not None else ""
    place = work.version.place if work is not None else shown.place if shown is not None else ""
    folder = place if os.path.isdir(place) else host.temporary()
    support.browse(str(values["daemon"]).strip(), job_id, folder)


def make_read(node: Any) -> None:
    """Makes a Read of the shown result beside the node, which plays without Voidbridge. Raises `NodeError`."""
    values = host.values(node)
    if not values["result_files"]:
        raise NodeError("There is no result yet.", f"Press {host.operation(node).button}.")
    first, last = int(values["result_first"]), int(values["result_last"])
    lines = node_text(
        "Read",
        inputs=0,
        file_type="exr",
        file=str(values["result_files"]),
        first=first,
        last=last,
        origfirst=first,
        origlast=last,
        origset=True,
        raw=True,
        on_error="error",
        name=f"{node.name()}_result",
        xpos=int(node["xpos"].value()) + 120,
        ypos=int(node["ypos"].value()),
    )
    host.paste_beside(node, "\n".join([*lines, ""]))


def record(node: Any, version: cache.Version) -> dict[str, Any]:
    """Returns what a site's program needs to publish a result."""
    return {
        "script": host.script(),
        "node": node.fullName(),
        "operation": host.operation(node).name,
        "version": version.called,
        "files": files(version.place, "result"),
        "frames": version.frames,
        "views": version.views,
        "settings": dict(version.made_with),
    }


def report(node: Any, work: Work | None) -> None:
    """Copies the report to the clipboard; without one, shows it in the message."""
    text = support.report_text(node, work)
    if host.copy(text):
        host.show_message("The report is on the clipboard.")
    else:
        host.show_message(text)


# -- prompts and mattes of the tracker ---------------------------------------------------------------


def add_prompt(node: Any, kind: str) -> None:
    """Adds the node's point or box at each of its frames. Raises `NodeError` for frames that cannot be read."""
    values = host.values(node)
    text, name = str(values["prompts"]), str(values["object"]).strip()
    frames = listed("prompt", str(values["prompt_frames"])) or [host.frame()]
    knob, count = ("box", 4) if kind == "box" else ("point", 2)
    for frame in frames:
        numbers = host.numbers_at(node, knob, frame, count)
        text = prompts.added(text, kind, frame, numbers, name, str(values["object_role"]))
    host.set_value(node, "prompts", text)


def add_noun(node: Any) -> None:
    """Adds the node's noun for its object. Raises `NodeError` for what is no noun."""
    values = host.values(node)
    name, role = str(values["object"]).strip(), str(values["object_role"])
    try:
        text = prompts.noun_added(str(values["prompts"]), str(values["noun"]), name, role)
    except ValueError as error:
        raise NodeError(
            f"The noun {str(error)!r} cannot be read.",
            "Write a short one without colon and semicolon, as the man in the red coat.",
        ) from error
    host.set_value(node, "prompts", text)


def drop_prompt(node: Any) -> None:
    host.set_value(node, "prompts", prompts.without_last(str(host.values(node)["prompts"])))


def kept_before(node: Any, frame: int) -> tuple[int, str]:
    """Returns the frame, and the folder of the shown result. Raises `NodeError` if it has none before the frame."""
    shown = shown_version(host.values(node))
    if shown is None:
        raise NodeError("There is no result yet.", f"Press {host.operation(node).button}.")
    if not shown.frames[0] < frame <= shown.frames[1]:
        raise NodeError(
            f"Frame {frame} is not after the first of the frames {shown.frames[0]}-{shown.frames[1]}.",
            "Go to the frame from which to track again, or track everything.",
        )
    return frame, shown.place


def use_mattes(node: Any) -> None:
    """Leads the mattes to the inputs matte and affected of the selected node that removes, or of a new one."""
    there = [one for one in host.selected() if host.operation(one) is REMOVE]
    if not there:
        before = {one.fullName() for one in host.ours()}
        host.paste_beside(node, "push 0\n" * len(REMOVE.inputs) + group.text())
        there = [one for one in host.ours() if one.fullName() not in before]
    for one in there:
        host.connect(one, (host.input_of(node, 0), node, node))
        host.put(one, {"matte_channel": "alpha", "affected_channel": "red"})
