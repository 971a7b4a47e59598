"""Collects the effects of job changes until the workers and the clients are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from voidbridge_protocol.wire.messages import ResultFile

from .scheduler import Interrupt, Lend, Preempt, Prepare, Recall, Start

WorkerCommand = Start | Prepare | Interrupt | Preempt | Lend | Recall


class Changes:
    """Commands for workers, new results, and jobs with a new status."""

    def __init__(self) -> None:
        self._jobs: dict[str, None] = {}
        """Jobs with a status of their own to tell; `jobs` returns those that only moved up as well."""
        self._results: list[tuple[str, ResultFile]] = []
        self._commands: list[WorkerCommand] = []
        self._moved_up = False
        """True if waiting jobs have a new position or a new reason."""

    def __bool__(self) -> bool:
        """Returns True if some job's status is still to be told."""
        return bool(self._jobs) or self._moved_up

    def add_command(self, command: WorkerCommand) -> None:
        self._commands.append(command)

    def add_result(self, job: str, result: ResultFile) -> None:
        self._results.append((job, result))
        self.add_status(job)

    def add_status(self, job: str) -> None:
        """The job's status is still to be told."""
        self._jobs[job] = None

    def add_positions(self) -> None:
        """The status of every queued job is still to be told."""
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

    def take_jobs(self, watched: Iterable[str], queued: Callable[[str], bool]) -> list[str]:
        """Returns those of these jobs whose status changed since the last call.

        `queued` tells whether a job is queued: if one moved up, all of these have a new status.
        """
        changed, self._jobs = self._jobs, {}
        moved_up, self._moved_up = self._moved_up, False
        return [job for job in watched if job in changed or (moved_up and queued(job))]
