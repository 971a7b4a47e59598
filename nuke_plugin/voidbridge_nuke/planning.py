"""Buttons before a job: an estimate of its time and memory, and a farm's job files for it."""

from __future__ import annotations

import os
from typing import Any

from . import farm, graph, host, short_command, site
from .installation import executable
from .knobs import SETTINGS
from .request import NodeError, NodeRequest, resolve
from .result_state import homes

SEND = "HOST_VOIDBRIDGE_SUBMIT"
"""Variable of a site: the command that sends a farm's files, run in their folder; `own` is the farm's own."""


def estimate(node: Any) -> None:
    """Tells time and memory of the job, from measured jobs. Raises `NodeError`."""
    values = host.values(node)
    request = resolve(values, graph.scene(node))
    words = [*executable(), *estimate_words(request, graph.size(node))]
    views = len(request.views)
    each = f"For each of {views} views: " if views > 1 else ""
    short_command.run(
        words,
        lambda events: host.show_message(
            each + str(short_command.last(events, "estimate").get("text"))
        ),
    )


def estimate_words(request: NodeRequest, size: tuple[int, int]) -> list[str]:
    """Returns the words after the program. `size`: width and height of the plate."""
    settings, name = SETTINGS[request.operation.name], request.operation.name
    first, last = request.rendered
    words = [
        "estimate",
        name,
        "--engine={}".format(request.settings["engine"]),
        f"--size={size[0]}x{size[1]}",
        f"--frames={request.wanted[0]}-{request.wanted[1]}",
        f"--seen={max(last - first + 1, 0)}",
        "--json",
    ]
    for knob, value in request.settings.items():
        if settings.get(knob, {}).get("effort"):
            spelled = str(value).lower() if isinstance(value, bool) else str(value)
            words.append(f"--set={knob}={spelled}")
    return words + ([f"--daemon={request.daemon}"] if request.daemon else [])


def submit(node: Any) -> None:
    """Writes a farm's files for the node's job and the render behind it. Raises `NodeError`."""
    script = host.script()
    if not script or host.is_modified():
        raise NodeError(
            "The script has changes that are not saved."
            if script
            else "The script was never saved.",
            "Save it: the farm opens the file.",
        )
    values = host.values(node)
    request = resolve(values, graph.scene(node))  # what it refuses, the farm would refuse too
    task = farm.task(script, node.fullName())
    then = str(values["farm_then"]).strip() or 'nuke -x "{}" {},{}'.format(script, *host.frames())
    folder = host.mapped(homes(values)[-1]) + "/farm"
    words = [
        *executable(),
        "farm",
        f"--bundle={folder}",
        "--for={}".format(values["farm"]),
        f"--name=voidbridge: {os.path.basename(script)} {node.name()}",
        f"--task={task}",
        f"--then={then}",
        "--overwrite",
        "--json",
        *(["--gpus=1"] if request.settings["engine"] in NEED_CARDS else []),
    ]
    send = os.environ.get(SEND, "")
    words += [f"--send={send}"] if send else []
    told = {
        "script": script,
        "node": node.fullName(),
        "operation": request.operation.name,
        "farm": values["farm"],
        "folder": folder,
        "task": task,
        "then": then,
    }
    short_command.run(words, lambda events: _submitted(told, events))


NEED_CARDS = ("void", "ltx", "sam2", "sam3", "corridorkey")
"""Engines whose farm task asks for a card."""


def _submitted(answer: dict[str, Any], events: short_command.Events) -> None:
    """On the main thread."""
    made = short_command.last(events, "farm-bundle")
    command = " ".join(str(word) for word in made.get("submit", ()))
    sent = bool(made.get("sent"))
    site.submitted({**answer, "submit": made.get("submit", []), "sent": sent})
    if sent:
        host.show_message("The farm has the job: {}".format(made.get("said") or "sent."))
    else:
        host.show_message(
            "The farm's files lie in {}. Send them there: {}".format(answer["folder"], command)
        )
