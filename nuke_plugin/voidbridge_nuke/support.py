"""The report for support, and the check of the connection."""

from __future__ import annotations

import atexit
import contextlib
import os
import platform
import tempfile
import threading
from typing import Any

from . import host, job
from .installation import executable
from .job_status import line
from .knobs import NODE_VERSION
from .request import NodeError
from .work import environment

PAGE_WAIT_S = 5.0
"""A page that cannot be served ends within these seconds."""
PAGES: list[job.Child] = []
"""The process that serves the page of this session, if there is one."""


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


def browse(daemon: str, job_id: str, folder: str) -> None:
    """Serves the page of a job and opens it in the browser. Raises `NodeError`.

    It ends with this session, or when the next page is opened.
    """
    if not daemon:
        raise NodeError(
            "A job without a daemon's address has no page: its daemon ends with it.",
            "Start one with `voidbridge serve`, and enter its address in 'daemon'.",
        )
    words = [*executable(), "web", "--open", f"--daemon={daemon}", f"--folder={folder}"]
    words += [f"--page=/jobs/{job_id}"] if job_id else []
    _close_pages()
    handle, said = tempfile.mkstemp(prefix="voidbridge_page_", suffix=".txt")
    os.close(handle)
    os.unlink(said)
    files = job.ChildFiles("", said)
    try:
        child = job.Child(words, files, environment(), detached=False)
    except OSError as error:
        failed = job.failed_to_start(words, error)
        raise NodeError(failed.text, failed.hint) from error
    PAGES.append(child)
    atexit.register(_close_pages)
    threading.Thread(target=_watch_page, args=(child, files), daemon=True).start()


def _watch_page(child: job.Child, files: job.ChildFiles) -> None:
    """Shows why a page cannot be served."""
    if child.ends_within(PAGE_WAIT_S) and child in PAGES:
        host.later(host.show_message, files.seen().said.strip() or "The page cannot be served.")


def _close_pages() -> None:
    while PAGES:
        with contextlib.suppress(OSError):
            PAGES.pop().stop()


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
