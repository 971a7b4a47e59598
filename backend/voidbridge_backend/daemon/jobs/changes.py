"""Collects the effects of job changes until they are sent to workers and clients."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from voidbridge_protocol.wire.messages import ResultFile

from .scheduler import Interrupt, Lend, Preempt, Prepare, Recall, Start

WorkerCommand = Start | Prepare | Interrupt | Preempt | Lend | Recall


class Changes:
    """Commands for workers, new results, and jobs with a new status."""

    def __init__(self) -> None:
        self._jobs: dict[str, None] = {}
        """Jobs with a changed status. `take_jobs` adds those that only moved up."""
        self._results: list[tuple[str, ResultFile]] = []
        self._commands: list[WorkerCommand] = []
        self._moved_up = False
        """True if waiting jobs have a new position or a new reason."""

    def __bool__(self) -> bool:
        """Returns True if some job's new status was not sent yet."""
        return bool(self._jobs) or self._moved_up

    def add_command(self, command: WorkerCommand) -> None:
        self._commands.append(command)

    def add_result(self, job: str, result: ResultFile) -> None:
        self._results.append((job, result))
        self.add_status(job)

    def add_status(self, job: str) -> None:
        """Marks the status of this job as changed."""
        self._jobs[job] = None

    def add_queued(self) -> None:
        """Marks the status of every queued job as changed, because positions in the queue moved."""
        self._moved_up = True

    def drop(self, job: str) -> None:
        self._jobs.pop(job, None)

    def take_commands(self) -> list[WorkerCommand]:
        """Returns the commands for the workers since the last call."""
        taken, self._commands = self._commands, []
        return taken

    def take_results(self) -> list[tuple[str, ResultFile]]:
        """Returns the results (job, file) since the last call."""
        taken, self._results = self._results, []
        return taken

    def take_jobs(self, watched: Iterable[str], is_queued: Callable[[str], bool]) -> list[str]:
        """Returns those of these jobs whose status changed since the last call.

        `is_queued` tells whether a job is queued. If one moved up, all queued jobs have a new status.
        """
        changed, self._jobs = self._jobs, {}
        moved_up, self._moved_up = self._moved_up, False
        return [job for job in watched if job in changed or (moved_up and is_queued(job))]
