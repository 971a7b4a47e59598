"""Sends the changes of a job to the clients that watch it, and requested lists of jobs in parts."""

from __future__ import annotations

import time
from collections import deque

from voidbridge_backend.daemon.jobs.service import JobService
from voidbridge_protocol.errors import TooMany, UnknownJob
from voidbridge_protocol.wire.messages import Listed, Ready, Status

from .clients import Clients
from .router import Sent
from .sessions import JobList, Session

STATUS_EVERY_S = 0.1
"""Minimum seconds between progress messages of a job; changes of state are sent at once."""
LISTS_S = 0.01
"""Maximum seconds per turn for lists; clients that wait for one take turns."""
LIST_TURN = 20
"""Jobs of one list before the next list's turn."""


class Notifications:
    """Sends notifications after each turn whose changes are all on disk."""

    def __init__(
        self,
        clients: Clients,
        job_service: JobService,
    ) -> None:
        self._router = clients.router
        self._job_service = job_service
        self._sessions = clients.sessions
        self._send = clients.send_now
        self._told: dict[str, float] = {}
        self._lists: deque[Session] = deque()
        self.is_behind = False
        """True if a list could continue at once, because the turn was too short for it."""

    def begin_list(self, session: Session) -> None:
        """Sends this client all jobs that it sees. Raises `TooMany` while an earlier list is on its way."""
        if session.job_list:
            raise TooMany(
                "the earlier list for this client is still on its way",
                "Read that list to its end, then ask again.",
            )
        session.job_list = JobList(deque(self._job_service.jobs(session.sees)))
        self._lists.append(session)

    def publish(self, now: float) -> None:
        """Sends parts of lists, new results and changed statuses."""
        self._continue_lists()
        results = self._job_service.changes.take_results()
        for job, result in results:
            for session in self._sessions.watching(job):
                self._send(session.control, Ready(job, (result,)))
        if self._job_service.changes:
            self._send_statuses(now)

    def _continue_lists(self) -> None:
        until, full = time.monotonic() + LISTS_S, []
        while self._lists and time.monotonic() < until:
            session = self._lists.popleft()
            if session.job_list is None:
                continue  # this client is gone
            sent = self._continue_list(session)
            if sent is Sent.NO_ROOM:
                full.append(session)
            elif sent is Sent.ON_ITS_WAY and session.job_list:
                self._lists.append(session)
            else:
                session.job_list = None
        self.is_behind = bool(self._lists)
        self._lists.extend(full)

    def _continue_list(self, session: Session) -> Sent:
        assert session.job_list
        jobs = session.job_list.jobs
        for _ in range(LIST_TURN):
            if not jobs:
                sent = self._router.try_send(session.control, Listed(session.job_list.told))
                if sent is Sent.ON_ITS_WAY:
                    session.job_list = None
                return sent
            try:
                status = self._job_service.status(jobs[0])
            except UnknownJob:  # forgotten since the list was begun
                jobs.popleft()
                continue
            sent = self._router.try_send(session.control, status)
            if sent is not Sent.ON_ITS_WAY:
                return sent
            jobs.popleft()
            session.job_list.told += 1
        return Sent.ON_ITS_WAY

    def _send_statuses(self, now: float) -> None:
        watched = self._sessions.watched()
        for job in self._job_service.changed_jobs(watched):
            status = self._job_service.status(job)
            if now - self._told.get(job, 0.0) < STATUS_EVERY_S and not _has_changed(status):
                self._job_service.changes.add_status(job)
                continue
            self._told[job] = now
            for session in watched[job]:
                self._send(session.control, status)
            if status.state.is_final:
                self._told.pop(job, None)


def _has_changed(status: Status) -> bool:
    return status.state.is_final or not status.of
