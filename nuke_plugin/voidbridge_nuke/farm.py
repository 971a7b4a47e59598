"""Rendering without an artist: a task that makes a node's result, and a guard for dependent tasks.

nuke -t FOLDER/voidbridge_farm.py shot.nk --node=Voidbridge1
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any, Sequence

from . import controller, graph, host
from .installation import folder
from .job_status import CANCELLED, DONE, line
from .knobs import GUARDS
from .operations import operation_of
from .request import NodeError
from .result_state import NO_RECORD, standing

POLICY = "NUKE_VOIDBRIDGE_GUARD"
"""Environment variable with the studio's policy of the guard: refuse, warn or off.

It does not begin with VOIDBRIDGE_, because every command refuses settings of that prefix that it does not know.
"""
EXIT_DONE, EXIT_REQUEST, EXIT_DAEMON, EXIT_JOB, EXIT_CANCELLED = 0, 2, 3, 4, 5
"""Same as for the command `voidbridge`."""


def main(arguments: Sequence[str]) -> int:
    """Loads the script, makes the result of one node, and reports the outcome in one line on standard error."""
    parser = argparse.ArgumentParser(prog="voidbridge_farm.py")
    parser.add_argument("script", help="the Nuke script")
    parser.add_argument(
        "--node", default="", help="the Voidbridge node; needed if there are several"
    )
    options = parser.parse_args(list(arguments))
    try:
        host.open_script(options.script)
        chosen = _chosen(options.node)
        work = controller.start(chosen)
    except NodeError as refused:
        return _end(EXIT_REQUEST, f"failed: {refused}")
    except host.Stopped:
        return _end(EXIT_CANCELLED, "cancelled while the plate was rendered")
    if work.status.phase == DONE:
        return _end(EXIT_DONE, f"done: {work.version.place}")
    if work.status.phase == CANCELLED:
        return _end(EXIT_CANCELLED, "cancelled")
    return _end(_exit_code(work.status.code), f"{line(work.status)} [{work.status.code}]")


def guard() -> None:
    """Called before a Write renders. Raises RuntimeError if it would use a missing or outdated result.

    The exception stops the render before its first frame. A node that is disabled or shows its plate needs no
    result. By `policy` it warns only, or does not look.
    """
    for found in graph.upstream(host.this_node()):
        values = host.values(found)
        if host.is_disabled(found) or values["output"] in operation_of(values).free_outputs:
            continue
        chosen = policy(str(values["guard"]), os.environ.get(POLICY, ""), host.has_gui())
        text, state, color = ("", "", "ready") if chosen == "off" else standing(found)
        if color == "ready" and text != "not rendered":
            continue
        command = task(host.script(), found.fullName())
        told = f"Voidbridge: {found.fullName()} is {text}. Make its result first: {command}"
        if chosen == "refuse" and state != NO_RECORD:
            raise RuntimeError(told)
        host.warn(told)


def policy(knob: str, studio: str, has_gui: bool) -> str:
    """Returns refuse, warn or off: the node's choice, else the studio's, else by the kind of session.

    An artist's flipbook or test render must not stop, a farm's frames must not be wrong.
    """
    choices = GUARDS[1:]
    if knob in choices:
        return knob
    if studio in choices:
        return studio
    return "warn" if has_gui else "refuse"


def task(script: str, name: str) -> str:
    """Returns the command that makes a node's result."""
    return 'nuke -t "{}/voidbridge_farm.py" "{}" --node={}'.format(
        folder().replace("\\", "/"), script, name
    )


def _chosen(name: str) -> Any:
    if name:
        found = host.named(name)
        if found is None:
            raise NodeError(f"There is no Voidbridge node {name}.", f"There are: {_names()}.")
        return found
    ours = host.ours()
    if len(ours) != 1:
        raise NodeError(
            f"The script has {len(ours)} Voidbridge nodes.",
            f"Choose with --node=NAME: {_names()}.",
        )
    return ours[0]


def _names() -> str:
    names = [found.fullName() for found in host.ours()]
    return ", ".join(names) or "none"


def _exit_code(code: str) -> int:
    """Returns the exit code for the error's branch."""
    branches = {"request": EXIT_REQUEST, "daemon": EXIT_DAEMON, "protocol": EXIT_DAEMON}
    return branches.get(code.partition(".")[0], EXIT_JOB)


def _end(code: int, text: str) -> int:
    sys.stderr.write(f"voidbridge: {text}\n")
    sys.stderr.flush()
    return code
