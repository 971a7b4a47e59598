"""Runs a short `voidbridge` command beside Nuke, and calls back on the main thread with what it said."""

from __future__ import annotations

import threading
from typing import Any, Callable, Dict, List, Sequence

from . import host, job
from .work import environment

Events = List[Dict[str, Any]]
"""The JSON objects that a command printed, in order."""


def run(
    words: Sequence[str],
    callback: Callable[[Events], None],
    on_failure: Callable[[Events], None] | None = None,
) -> None:
    """Runs a command in a thread if there is a GUI, and then a call on the main thread; shows what failed.

    `on_failure` gets what the command said before it failed.
    """

    def work() -> None:
        try:
            code, said, errors = job.output(words, environment())
        except OSError as error:
            code, said, errors = 1, "", f"{words[0]} cannot be started: {error.strerror or error}"
        events = list(job.events(said))
        failed = [
            "{}. {}".format(str(event.get("text")).rstrip("."), event.get("hint"))
            for event in events
            if event.get("event") == "error"
        ]
        if code == 0:
            host.later(callback, events)
        else:
            if on_failure is not None:
                host.later(on_failure, events)
            host.later(host.show_message, "\n".join(failed) or errors)

    if host.has_gui():
        threading.Thread(target=work, name=f"voidbridge {words[-1]}", daemon=True).start()
    else:
        work()


def last(events: Events, name: str) -> dict[str, Any]:
    """Returns the last event of a name; empty if there is none."""
    found = [event for event in events if event.get("event") == name]
    return found[-1] if found else {}
