"""What those who watch a job hear of it without asking, and the rest of the lists that somebody asked for."""

from __future__ import annotations

from collections.abc import Callable

from voidbridge_backend.daemon.jobs.service import JobService
from voidbridge_protocol.messages import Message, Ready, Status

from .router import PeerId, Router
from .sessions import Sessions

STATUS_EVERY_S = 0.1
"""A job's progress is told to its watchers so often at most; changes of state at once."""


class Notifications:
    """Goes out after each turn in which everything was written down. `say` has a message sent."""

    def __init__(
        self,
        router: Router,
        job_service: JobService,
        sessions: Sessions,
        say: Callable[[PeerId, Message], None],
    ) -> None:
        self._router = router
        self._job_service = job_service
        self._sessions = sessions
        self._say = say
        self._told: dict[str, float] = {}

    def publish(self, now: float) -> None:
        for session in self._sessions.active():
            assert session.rest
            session.rest = self._router.send_what_fits(session.control, session.rest)
        results, self._job_service.results = self._job_service.results, []
        for job, result in results:
            for session in self._sessions.watching(job):
                self._say(session.control, Ready(job, (result,)))
        if self._job_service.has_changes:
            self._spread_statuses(now)

    def _spread_statuses(self, now: float) -> None:
        watched = self._sessions.watched()
        for job in self._job_service.changed_jobs(watched):
            status = self._job_service.status(job)
            if now - self._told.get(job, 0.0) < STATUS_EVERY_S and not _has_changed(status):
                self._job_service.changed[job] = None  # another turn will be the time
                continue
            self._told[job] = now
            for session in watched[job]:
                self._say(session.control, status)
            if status.state.is_final:
                self._told.pop(job, None)


def _has_changed(status: Status) -> bool:
    return status.state.is_final or not status.of
