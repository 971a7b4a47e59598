"""Shows the events of a job to the user."""

from __future__ import annotations

import threading
from dataclasses import replace

from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.errors import from_code
from voidbridge_protocol.job_task import Listener
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.wire.messages import Status

from .progress import ProgressView, show_status


def job_listener(
    view: ProgressView,
    result: Sequence | None,
    cancelled: threading.Event,
    is_temporary: bool = False,
    sound: int | None = None,
) -> Listener:
    """`is_temporary` is True for a local daemon, which nobody repairs. `sound` is the result that is no frame."""
    warned: set[str] = set()
    fetched: set[int] = set()
    last: Status | None = None

    def on_status(status: Status) -> None:
        for warning in status.warnings:
            if warning not in warned:
                warned.add(warning)
                view.message(f"note: {warning}")
                view.event("warning", text=warning)
        if status.attempt > 1 and (text := f"attempt {status.attempt}") not in warned:
            warned.add(text)
            view.message(f"note: a crash or a restart interrupted the run; this is {text}")
        nonlocal last
        if status.state is JobState.DONE and last and last.step < last.of:
            # The daemon tells the last step and the end at once.
            show_status(view, replace(last, step=last.of))
        last = status if status.state is JobState.RUNNING else None
        show_status(view, status)
        if status.state is JobState.QUEUED and status.code:
            if is_temporary:
                raise from_code(status.code, status.text, status.hint)
            if status.text not in warned:
                warned.add(status.text)
                view.message(f"note: waiting: {status.text} [{status.code}]")

    def on_sent(sent: int, total: int) -> None:
        view.stage("uploading MB", sent >> 20, max(total >> 20, 1))
        view.event("uploading", sent=sent, total=total)

    def on_imported(done: int, total: int) -> None:
        view.stage("importing files", done, total)
        view.event("imported", files=done, of=total)

    def on_frame(frame: int) -> None:
        fetched.add(frame)
        if result is not None and frame != sound:
            view.event("frame", frame=frame, path=str(result.path(frame)))

    def on_accepted(job: str) -> None:
        view.event("accepted", job=job)
        view.message(f"job {job}")

    def on_trouble(text: str) -> None:
        view.message(f"note: {text}")
        view.event("trouble", text=text)

    return Listener(
        on_status, on_sent, on_frame, on_trouble, on_accepted, cancelled.is_set, on_imported
    )
