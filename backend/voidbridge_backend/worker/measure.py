"""Measures what one job took on its device: seconds, and memory of the machine and of the card."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voidbridge_protocol.errors import VoidbridgeError

if TYPE_CHECKING:
    from voidbridge_backend.render.job import RenderJob


class JobMeter:
    """Begins with the job."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.loading = 0.0
        """Seconds of loading the engine. They do not count, because the next job finds it loaded."""
        self.figures: dict[str, Any] | None = None
        """Time and memory of the job; None before its end, and for a job without a plate."""
        _asked_of_card("reset_peak_memory_stats")

    def end(self, job: RenderJob) -> None:
        """Memory is the most that this process has taken by now: an upper bound, if an earlier job took more."""
        from voidbridge_backend.render.inputs import InputFiles

        seconds = time.monotonic() - self._began - self.loading
        files = InputFiles.of(job.request, job.source, job.allowance)
        if "plate" not in files.paths:
            return
        try:
            window = files.header("plate", files.frames[0]).parts[0].display_window
        except VoidbridgeError:
            return  # the job did without this file
        self.figures = {
            "frames": len(job.request.pictures),
            "seen": len(files.frames),
            "effort": job.request.settings.effort,
            "seconds": round(seconds, 3),
            "width": window.width,
            "height": window.height,
            "memory": peak_bytes(),
            "card_memory": _asked_of_card("max_memory_reserved"),
        }


def _asked_of_card(function: str) -> int:
    """Calls a function of torch.cuda if an engine already uses it. Returns 0 without an answer.

    Nothing is imported for a figure, and no job fails of one.
    """
    torch = sys.modules.get("torch")
    with suppress(Exception):
        if torch is not None and torch.cuda.is_initialized():
            return int(getattr(torch.cuda, function)() or 0)
    return 0


def peak_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Returns 0 where the system does not tell.

    Linux tells it in `status`. Its ru_maxrss begins with the memory of the process that started this one.
    """
    with suppress(OSError, ValueError, IndexError):
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
