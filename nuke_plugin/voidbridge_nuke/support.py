"""The report for support, and the check of the connection."""

from __future__ import annotations

import platform
import threading
from typing import Any

from . import host, job
from .installation import executable
from .job_status import line
from .knobs import NODE_VERSION
from .work import environment


def report_text(node: Any, work: Any) -> str:
    """Returns versions, every knob, and the output of the last job `work`. Addresses contain no secrets."""
    values = host.values(node)
    lines = [
        f"Voidbridge node version {NODE_VERSION}, Nuke {host.version()}",
        f"Python {platform.python_version()}, {platform.platform()}",
        "command: {}".format(" ".join(executable())),
        "script: %s" % (host.script() or "not saved"),
        f"node: {node.fullName()}",
    ]
    lines += [f"{name} = {value}" for name, value in sorted(values.items())]
    if work is not None:
        lines += [f"last job: {work.status.job} {line(work.status)}", work.output.strip()]
        lines += [f"note: {warning}" for warning in work.status.warnings]
    return "\n".join(lines)


def check(daemon: str) -> None:
    """Runs a round trip with `voidbridge doctor`, in a thread if there is a GUI. Raises `NodeError`."""
    words = executable() + ["doctor", "--json"] + ([f"--daemon={daemon}"] if daemon else [])
    if host.has_gui():
        threading.Thread(
            target=_examine, args=(words,), name="voidbridge doctor", daemon=True
        ).start()
    else:
        _examine(words)


def _examine(words: list[str]) -> None:
    try:
        code, said, errors = job.output(words, environment())
    except OSError as error:
        code, said, errors = 1, "", f"{words[0]} cannot be started: {error.strerror or error}"
    found = []
    for event in job.events(said):
        if event.get("event") == "check" and event.get("verdict") != "ok":
            found.append(
                "{}: {} {}".format(event.get("check"), event.get("text"), event.get("advice"))
            )
        if event.get("event") == "error":
            found.append("{} {}".format(event.get("text"), event.get("hint")))
    good = "The connection works: a tiny shot was sent and came back correctly."
    text = good if code == 0 else "\n".join(found) or errors
    host.later(host.show_message, text)
