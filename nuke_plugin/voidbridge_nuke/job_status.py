"""The status line of a job. A pure state machine over JSON events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Mapping

WORKING, DONE, FAILED, CANCELLED = "working", "done", "failed", "cancelled"


@dataclass(frozen=True)
class JobStatus:
    """The state of one job."""

    phase: str = WORKING
    text: str = "starting"
    fraction: float = 0.0
    """Progress in the present stage, 0 to 1."""
    job: str = ""
    """The daemon's id; empty before it is accepted."""
    warnings: tuple[str, ...] = ()
    code: str = ""
    """The error's code, as in docs/errors.md; empty if there is none."""
    hint: str = ""
    from_store: bool = False


def advanced(status: JobStatus, event: Mapping[str, Any]) -> JobStatus:
    """Returns the status after one event of `voidbridge run --json`. Unknown events are ignored."""
    name = event.get("event")
    if status.phase != WORKING:
        return status
    if name == "accepted":
        return replace(status, job=str(event.get("job", "")), text="accepted")
    if name == "uploading":
        sent, total = float(event.get("sent", 0)), float(event.get("total", 0))
        text = f"sending, {sent / 2**20:.0f} of {total / 2**20:.0f} MB"
        return replace(status, text=text, fraction=_part(sent, total))
    if name == "imported":
        files, of = float(event.get("files", 0)), float(event.get("of", 0))
        text = f"importing, {files:.0f} of {of:.0f} files"
        return replace(status, text=text, fraction=_part(files, of))
    if name == "status":
        return _reported(status, event)
    if name == "frame":
        return replace(status, text="fetched frame {}".format(event.get("frame")))
    if name == "warning":
        return replace(status, warnings=(*status.warnings, str(event.get("text", ""))))
    if name == "trouble":
        return replace(status, text=str(event.get("text", "")))
    if name == "done":
        return replace(
            status, phase=DONE, text="done", fraction=1.0, from_store=bool(event.get("from_store"))
        )
    if name == "error":
        code = str(event.get("code", ""))
        phase = CANCELLED if event.get("exit") == 5 else FAILED
        return replace(
            status,
            phase=phase,
            text=str(event.get("text", "")),
            code=code,
            hint=str(event.get("hint", "")),
        )
    return status


def ended(status: JobStatus, exit_code: int, errors: str) -> JobStatus:
    """Returns the status after the child has ended. It never stays "working", even without a last event."""
    if status.phase != WORKING:
        return status
    last = errors.strip().splitlines()[-1:] or ["no output"]
    return replace(
        status,
        phase=FAILED,
        text=f"voidbridge ended with {exit_code}: {last[0]}",
        hint="Copy report has the full output.",
    )


def line(status: JobStatus) -> str:
    """Formats the status for the artist."""
    if status.phase == FAILED:
        return (f"failed: {_sentence(status.text)} {status.hint}").strip()
    if status.phase == CANCELLED:
        return "cancelled"
    return status.text


def _reported(status: JobStatus, event: Mapping[str, Any]) -> JobStatus:
    state = event.get("state")
    if state == "queued":
        ahead = int(event.get("ahead", 0))
        return replace(
            status, text=f"queued, {ahead} ahead" if ahead else "queued, next", fraction=0.0
        )
    if state == "running" and event.get("stage"):
        step, of = int(event.get("step", 0)), int(event.get("of", 0))
        text = str(event["stage"])
        if of:
            text += f" {step} of {of}"
        return replace(
            status,
            text=text + _left(float(event.get("seconds_left", -1))),
            fraction=_part(step, of),
        )
    if state == "cancelling":
        return replace(status, text="cancelling")
    return status


def _left(seconds: float) -> str:
    if seconds < 0.5:
        return ""
    return ", about %s left" % (
        f"{seconds:.0f} s" if seconds < 100 else "%.0f min" % (seconds / 60)
    )


def _part(done: float, total: float) -> float:
    return min(max(done / total, 0.0), 1.0) if total > 0 else 0.0


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."
