"""The work of one job: a child for each view, one after the other, and their progress.

A worker thread follows the children and touches only Nuke's progress bar. Everything that the work consists of lies
in the version's folder, so a host that is opened again continues it.
"""

from __future__ import annotations

import os
import threading
from typing import Callable, Sequence

from . import cache, host, job
from .child_environment import child_environment, host_folder, rules
from .installation import executable
from .job_status import DONE, JobStatus, line
from .request import NodeError, NodeRequest, command


class Work:
    """One job of a node, started here or by an earlier session."""

    def __init__(
        self,
        node_id: str,
        name: str,
        version: cache.Version,
        commands: Sequence[Sequence[str]],
        on_progress: Callable[[Work], None],
        on_end: Callable[[Work], None],
    ) -> None:
        """`commands` holds the words after the program for each view. The callbacks run on the main thread."""
        self.node_id = node_id
        self.name = name
        self.version = version
        self.status = JobStatus()
        self.output = ""
        self._commands = [list(words) for words in commands]
        self._on_progress = on_progress
        self._on_end = on_end
        self._cancelled = threading.Event()
        self._first: job.Child | None = None

    def begin(self) -> None:
        """Starts the first child, which sends frames while later ones are rendered. Raises `NodeError`."""
        try:
            self._first = self._started(0, fed=True)
        except OSError as error:
            failed = job.failed_to_start(executable(), error)
            raise NodeError(failed.text, failed.hint) from error

    def rendered(self, first: int, last: int) -> bool:
        """Tells the child that these frames are complete. Returns False if the child has ended; it reports the
        reason.
        """
        return self._first is not None and self._first.write_line(f"{first}-{last}")

    def rendered_all(self) -> None:
        if self._first is not None:
            self._first.write_line("end")

    def abandon(self) -> None:
        """Stops, because the remaining frames will never be rendered."""
        if self._first is not None:
            self._first.stop()

    def cancel(self) -> None:
        self._cancelled.set()

    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def run(self) -> None:
        """Waits for one child after the other. Callable on any thread."""
        progress = host.Progress(f"Voidbridge: {self.name}")

        def should_cancel() -> bool:
            if progress.is_cancelled():
                self._cancelled.set()
            return self._cancelled.is_set()

        def on_status(status: JobStatus) -> None:
            self.status = status
            progress.show(line(status), status.fraction)
            host.later(self._on_progress, self)

        try:
            for i, view in enumerate(self.version.views):
                child, self._first = self._first, None
                if child is None and not self.files(view).has_started():
                    child = self._started(i)
                self.status, said = job.follow(self.files(view), child, should_cancel, on_status)
                self.output += said
                if self.status.phase != DONE:
                    break
        except OSError as error:
            self.status = job.failed_to_start(executable(), error)
        finally:
            progress.close()
            host.later(self._on_end, self)

    def files(self, view: str) -> job.ChildFiles:
        return job.ChildFiles(
            os.path.join(self.version.place, cache.status_file(view)),
            os.path.join(self.version.place, cache.output_file(view)),
        )

    def _started(self, index: int, fed: bool = False) -> job.Child:
        words = [*executable(), *self._commands[index]]
        return job.Child(
            [*words, "--frames-from-stdin"] if fed else words,
            self.files(self.version.views[index]),
            environment(),
            fed,
            detached=host.has_gui(),
        )


def commands_of(request: NodeRequest, place: str) -> list[list[str]]:
    """Returns the words after the program for each view of a request."""
    return [
        [
            *command((), request, place, view),
            f"--status-file={os.path.join(place, cache.status_file(view))}",
        ]
        for view in request.views
    ]


def environment() -> dict[str, str]:
    """Returns the environment of a child of this Nuke."""
    return child_environment(os.environ, host_folder(host.program()), rules())
