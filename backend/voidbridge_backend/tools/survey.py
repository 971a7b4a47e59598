"""The command `survey`: looks at a whole shot once, for jobs of ranges of it."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from voidbridge_backend.client.output_places import check_places
from voidbridge_backend.client.outputs import check_files
from voidbridge_backend.client.progress import ProgressView, watched
from voidbridge_backend.client.submission import Submission
from voidbridge_backend.engines import registry
from voidbridge_backend.engines.cleanplate.survey import is_survey
from voidbridge_backend.render import remove
from voidbridge_backend.render.job import RenderJob
from voidbridge_protocol.errors import DiskFull, JobCancelled
from voidbridge_protocol.transfer.atomic_files import disk_error, write_whole


class SurveyContext:
    """Reports to the view; `JobCancelled` after Ctrl-C or SIGTERM."""

    def __init__(self, view: ProgressView, cancelled: threading.Event) -> None:
        self._view, self._cancelled = view, cancelled

    def step(self, stage: str, done: int, total: int) -> None:
        if self._cancelled.is_set():
            raise JobCancelled("the survey was stopped")
        self._view.stage(stage, done, total)

    def warn(self, text: str) -> None:
        self._view.message(f"note: {text}")
        self._view.event("warning", text=text)


def survey(
    prepare: Callable[[], Submission],
    ocio: str,
    output: str,
    overwrite: bool,
    as_json: bool = False,
    openjd: bool = False,
) -> None:
    """Writes the survey of a shot. It reads the files in this process, without a daemon.

    `ocio` is the OpenColorIO config, as the worker gets it. Raises what a job of the shot raises, and
    `OutputExists` for a file that is no survey.
    """
    with watched(as_json, openjd) as (view, cancelled):
        submission, target = prepare(), Path(output).absolute()
        context = SurveyContext(view, cancelled)
        task = submission.task(
            lambda frame: target,
            lambda done, of: context.step("reading files", done, of),
            cancelled.is_set,
        )
        check_places([target])
        check_files([(target, is_survey)], task.sources, overwrite)
        paths = dict(zip((file.sha256 for file in task.request.files), task.sources, strict=True))
        order = RenderJob("survey", task.request, paths.__getitem__, target.parent, ocio)
        engine = registry.make("remove", getattr(submission.settings, "engine", ""))
        data = remove.survey(order, engine, context)
        _publish(target, data)
        view.event("survey", path=str(target), bytes=len(data))
        view.message(f"survey: {target}, {len(data)} bytes")


def _publish(target: Path, data: bytes) -> None:
    """Writes the survey whole. A farm may run its task twice at once: each has a temporary file of its own.

    Raises `DiskFull`.
    """
    part = target.with_name(f".{uuid.uuid4().hex}.survey")
    try:
        write_whole(part, data)
        os.replace(part, target)
    except DiskFull as error:
        raise DiskFull(error.text.replace(str(part), str(target)), error.hint) from error
    except OSError as error:
        with suppress(OSError):  # the first error says more
            part.unlink(missing_ok=True)
        raise disk_error(target, error) from error
