"""Takes in requests for jobs: reads them on a thread, checks limits, makes room, and answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from voidbridge_backend.engines.void.files import lora_names
from voidbridge_protocol.errors import (
    BadSetting,
    DaemonDraining,
    RequestError,
    SpoolFull,
    TooMany,
    VoidbridgeError,
)
from voidbridge_protocol.operations import operations
from voidbridge_protocol.operations.generate import GenerateSettings
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.wire.codec import Frame
from voidbridge_protocol.wire.codec import ranges as as_ranges
from voidbridge_protocol.wire.messages import (
    Accepted,
    Limits,
    Missing,
    Offer,
    Ready,
    Request,
    Submit,
)

from .files.cleanup import Cleanup
from .jobs.prepared import Prepared
from .jobs.request_parser import RequestParser
from .jobs.service import JobService
from .net.clients import Clients
from .net.router import PeerId
from .net.sessions import Session
from .store.spool import UserFile
from .workers.pool import WorkerPool

RESULTS_A_MESSAGE = 1000


@dataclass
class Submissions:
    """Used on the daemon's own thread."""

    clients: Clients
    job_service: JobService
    parser: RequestParser
    cleanup: Cleanup
    worker_pool: WorkerPool
    limits: Limits
    max_priority: int
    models: Path
    """The folder whose LoRAs users may name."""
    is_draining: bool = False
    """No new jobs are accepted."""

    def submit(self, session: Session, message: Submit, payload: Frame) -> None:
        """Answered by `Accepted` or `Refused` when the request is read. Raises `DaemonError`, `RequestError`."""
        if self.is_draining:
            raise DaemonDraining("the daemon is stopping")
        if message.priority > self.max_priority and not session.identity.admin:
            raise BadSetting(
                f"the priority {message.priority} is above {self.max_priority}, the highest that "
                "this daemon gives to users",
                "Leave --priority out, or ask for a key that is allowed with --admin.",
            )
        if session.is_submitting:
            raise TooMany("the request that this client submitted before is still being read")
        session.is_submitting = True

        def on_parsed(found: Prepared | VoidbridgeError) -> None:
            if isinstance(found, VoidbridgeError):
                self._refuse(session, found)
            else:
                self._submit_or_refuse(session, message, found)

        try:
            self.parser.parse(session.user, payload, on_parsed)
        except VoidbridgeError:
            session.is_submitting = False
            raise

    def _submit_or_refuse(
        self, session: Session, message: Submit, prepared: Prepared, may_wait: bool = True
    ) -> None:
        try:
            self._submit_parsed(session, message, prepared, may_wait)
        except VoidbridgeError as error:
            self._refuse(session, error)

    def _refuse(self, session: Session, error: VoidbridgeError) -> None:
        session.is_submitting = False
        self.clients.refuse(session.control, session.user, error)

    def _submit_parsed(
        self, session: Session, message: Submit, prepared: Prepared, may_wait: bool
    ) -> None:
        """Admits a job. With `may_wait` it tries again after cleanup has freed all possible space."""
        self._check_limits(prepared.request)
        self._check_loras(session, prepared.request)
        admission = self.job_service.admission
        try:
            made = admission.submit(
                session.user, prepared.request, message.priority, message.force, prepared
            )
        except SpoolFull:
            if not may_wait:
                raise
            self.cleanup.make_room(
                admission.room_for(prepared),
                lambda: self._submit_or_refuse(session, message, prepared, may_wait=False),
            )
            return
        session.is_submitting = False
        session.watching.add(made.job)
        self.clients.send(
            session.control,
            Accepted(made.job, made.state, as_ranges(made.need), tuple(made.partial)),
        )
        self.worker_pool.execute()
        self.send_status(session.control, made.job)

    def _check_limits(self, request: Request) -> None:
        """Raises `RequestError` beyond this daemon's limits."""
        results = request.last - request.first + 1
        frames = max(results, len({file.frame for file in request.files}))
        if frames > self.limits.frames:
            raise RequestError(
                f"the job has {frames} frames; this daemon allows {self.limits.frames}",
                "Send fewer frames, or set max_frames higher on the daemon.",
            )
        for file in request.files:
            if file.size > self.limits.file:
                raise RequestError(
                    f"{file.role} frame {file.frame} has {file.size / 2**20:.0f} MB; "
                    f"this daemon allows {self.limits.file / 2**20:.0f} MB per file",
                    "Write smaller files, or set max_file_mb higher on the daemon.",
                )

    def _check_loras(self, session: Session, request: Request) -> None:
        """Raises `BadLora` for a LoRA that this user may not name. Only the key of an admin names all."""
        match request.settings:
            case RemoveSettings() as settings:
                named = [name for name, _ in settings.loras if not name.startswith("@")]
                folder = lora_names.FOLDER
            case GenerateSettings() as wanted:
                named, folder = [name for name, _ in wanted.loras], lora_names.LTX_FOLDER
            case _:
                return
        if not named:
            return
        sees_all = session.identity.key and session.identity.admin
        known = (
            lora_names.names(self.models, folder)
            if sees_all
            else lora_names.names_for(self.models, session.user, folder)
        )
        for name in named:
            if name not in known:
                raise lora_names.absent(name, known, folder)

    def offer(self, session: Session, offer: Offer) -> Missing:
        """Returns which files of a job that is going to be submitted are missing. Raises `RequestError`."""
        most = max(len(kind.roles) for kind in operations().values()) * self.limits.frames
        if len(session.offered) + len(offer.files) > most:
            raise RequestError(f"{most} files are offered; no job of this daemon has more")
        admission = self.job_service.admission
        admission.offered(offer.operation, offer.engine)
        need, partial = admission.missing(session.user, offer.files)
        for index in need:
            file = offer.files[index]
            session.offered[UserFile(session.user, file.sha256)] = file.size
        return Missing(as_ranges(need), tuple(partial))

    def watch(self, session: Session, job: str) -> None:
        """Tells this client the state of a job, now and from now on."""
        self.send_status(session.control, job)
        self.job_service.admission.use(job)
        session.watching.add(job)

    def send_status(self, peer_id: PeerId, job: str) -> None:
        """Sends the complete state of a job."""
        results = self.job_service.results_of(job)
        self.clients.send(peer_id, self.job_service.status(job))
        for i in range(0, len(results), RESULTS_A_MESSAGE):
            self.clients.send(peer_id, Ready(job, tuple(results[i : i + RESULTS_A_MESSAGE])))
