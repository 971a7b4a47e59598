"""Carries tasks from a running job's worker to the workers of lent devices, and their answers back.

The scheduler decides which device is lent. Tasks and answers are files in the job's folder; this module passes on
their numbers only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .supervisor import Supervisor

log = logging.getLogger(__name__)


@dataclass
class _Loan:
    """A lent device. `task` is the number of the task at work there, None between two."""

    job: str
    lead: str
    task: int | None = None
    is_recalled: bool = False


class Lending:
    """All lent devices. `device_ready` is called once a recalled device is idle."""

    def __init__(self, supervisor: Supervisor, device_ready: Callable[[str], None]) -> None:
        self._supervisor = supervisor
        self._device_ready = device_ready
        self._loans: dict[str, _Loan] = {}

    def lend(self, job: str, device: str, lead: str) -> None:
        """Offers `device` to the worker of the device `lead`, which runs the job."""
        self._loans[device] = _Loan(job, lead)
        log.info("lent", extra={"job": job, "device": device})
        self._tell(device, "lent")

    def recall(self, device: str) -> None:
        """Takes the device back: at once between two tasks, else at the next step of its task."""
        loan = self._loans.get(device)
        if loan is None:
            return
        self._tell(device, "unlent")
        loan.is_recalled = True
        if loan.task is None:
            self._release(device)
        else:
            self._supervisor.interrupt(device, loan.job, time.monotonic())

    def ask(self, lead: str, device: str, command: Mapping[str, Any]) -> None:
        """Passes a task of the worker of `lead` on. A task for a device that is no longer lent is dropped.

        Its sender has already been told.
        """
        loan = self._loans.get(device)
        if loan and loan.lead == lead and not loan.is_recalled:
            loan.task = int(command["task"])
            self._supervisor.assist(device, loan.job, command, time.monotonic())

    def assisted(self, device: str, task: int, reason: str) -> None:
        """Notes that the worker has answered a task, or could not for this `reason`."""
        loan = self._loans.get(device)
        self._supervisor.release(device, time.monotonic())
        if loan is None or loan.task != task:
            return
        if loan.is_recalled:
            self._release(device)
            return
        loan.task = None
        self._tell(device, "assisted", task=task, why=reason)

    def job_of(self, device: str) -> str:
        """Returns the job that a device is lent to, "" for one that is not lent."""
        loan = self._loans.get(device)
        return loan.job if loan else ""

    def lost(self, device: str, reason: str) -> None:
        """Notes that the worker of a device died."""
        if device in self._loans:
            self._tell(device, "unlent", why=reason)
            del self._loans[device]

    def _release(self, device: str) -> None:
        del self._loans[device]
        self._supervisor.rest(device)
        self._device_ready(device)

    def _tell(self, device: str, event: str, **fields: Any) -> None:
        loan = self._loans[device]
        self._supervisor.tell(loan.lead, {"do": event, "job": loan.job, "device": device, **fields})
