"""Runs one job over the wire, from files to files: submit, upload, watch, fetch.

It survives a daemon that restarts and a network that fails for a while. It opens new sockets, because libzmq's
own reconnect would send no `Hello`. Then it submits the same request again and sends only the missing files.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from contextlib import suppress
from pathlib import Path

from .errors import (
    BadMessage,
    DaemonUnavailable,
    DamagedFile,
    JobCancelled,
    NotHere,
    TransferFailed,
    UnknownSession,
    VoidbridgeError,
    WrongOffset,
    from_code,
)
from .job_task import JobTask, Listener, Outcome
from .lifecycle import JobState
from .retry import RetryPolicy
from .transfer.download import Download
from .transfer.source_guard import SourceGuard
from .transfer.upload import Upload
from .wire.codec import Frame, indices
from .wire.connection import ConnectionLost, ServerConnection
from .wire.messages import (
    Accepted,
    Cancel,
    Chunk,
    Credit,
    Fetched,
    Get,
    GetProvenance,
    Got,
    JoinBulk,
    Message,
    Nack,
    Provenance,
    Put,
    Query,
    Ready,
    Status,
    Submit,
    Watch,
    Welcome,
)

POLL_MS = 50
SETTLING_MS = 2
"""Poll interval in milliseconds while a result is being finalized, which no message announces."""
RECONNECT_PATIENCE_S = 2.0
ACKNOWLEDGE_PATIENCE_S = 2.0
CANCEL_PATIENCE_S = 0.8
"""Seconds after which a cancel returns to the caller at the latest; the daemon finishes the rest."""


MOST_REPAIRS = 5
"""A daemon whose disk damages files again and again is given up after so many."""
ABOUT_A_FILE = frozenset({TransferFailed.code, WrongOffset.code, NotHere.code})
"""Error codes after which a file is sent again. Any other code ends the upload."""


class JobClient(ABC):
    """Base of `Run` and `Fetch`: watches and fetches one job over as many connections as needed."""

    def __init__(
        self, wire: ServerConnection, target: Callable[[int], Path], listener: Listener
    ) -> None:
        """Takes ownership of `wire` and closes it."""
        self._wire = wire
        self._listener = listener
        self._target = target
        self._job = ""
        self._state = JobState.RECEIVING
        self._last: Status | None = None
        self._download: Download | None = None
        self._upload: Upload | None = None
        self._held: tuple[Message, Frame | None] | None = None
        self._held_get: Get | None = None
        self._provenance: bytes | None = None
        self._asked_for_end = False
        self._cancelled_at = 0.0
        self._cancel_said = False
        self._from_store = False
        self._confirmed = self._lacked = 0
        self._repairs = 0
        self._must_submit = False
        self._can_repair = False
        """Whether this client has the job's files, and can send them again."""

    @abstractmethod
    def begin(self, welcome: Welcome) -> None:
        """Sends the first messages on a new connection."""

    @abstractmethod
    def is_over(self) -> bool:
        """Returns True once every expected answer has arrived."""

    def carry_out(self) -> Outcome:
        """Runs until the job ends. Raises the job's error, `JobCancelled`, or `NoProgress` after repeated
        disconnects.

        Finished frames stay; partial files are removed.
        """
        losses = RetryPolicy(self._wire.peer.address, time.monotonic())
        try:
            while True:
                try:
                    self._converse()
                    self._acknowledge()
                    return self._outcome()
                except (ConnectionLost, UnknownSession) as error:
                    pause = losses.lost(error, self._reached(), time.monotonic())
                    self._listener.trouble(f"{error.text}; trying again")
                    self._reconnect(pause)
                    losses.connected(time.monotonic())
        finally:
            self._wire.close()
            if self._download:
                self._download.abandon()
            if self._upload:
                self._upload.close()

    def _converse(self) -> None:
        self._held = self._held_get = None
        self._asked_for_end = False
        self.begin(self._wire.welcome)
        if self._download:
            self._download.reconnected()
        self._wire.send_bulk(JoinBulk(self._wire.peer.hello.session))
        while not self.is_over():
            busy = self._push()
            try:
                for message, payload in self._wire.receive(0 if busy else self._patience_ms()):
                    self._take(message, payload)
            except DamagedFile as error:
                if self._state is not JobState.DONE:
                    raise
                self._begin_again(error.text)
            for frame in self._download.settled() if self._download else ():
                self._listener.fetched(frame)
            self._look_for_cancel()

    def _acknowledge(self) -> None:
        """Tells the daemon that it may delete the results. If the message is lost, the daemon keeps them longer."""
        if self._download is None:
            return
        with suppress(VoidbridgeError):
            self._wire.send(Fetched(self._job))
            for message, _ in self._wire.answers(ACKNOWLEDGE_PATIENCE_S):
                if isinstance(message, Fetched):
                    return

    def _reached(self) -> Hashable:
        """Returns the job's progress: files in the spool, bytes fetched and the last status."""
        said = self._last
        return (
            *(self._job, self._confirmed, self._lacked, self._repairs),
            *((said.state, said.stage, said.step, said.ahead, said.attempt) if said else ()),
            *((self._download.received, len(self._download.finished)) if self._download else ()),
        )

    def _reconnect(self, pause: float) -> None:
        """Waits, then reconnects until the daemon answers, the artist cancels, or the patience ends."""
        since = time.monotonic()
        peer = self._wire.peer
        self._wire.close()
        while True:
            self._rest(pause)
            try:
                self._wire = ServerConnection(peer, min(RECONNECT_PATIENCE_S, peer.patience))
                return
            except DaemonUnavailable:
                if time.monotonic() - since > peer.reconnect:
                    raise
            pause = min(max(2 * pause, 0.1), 1.0)

    def _rest(self, seconds: float) -> None:
        """Sleeps. Raises `JobCancelled` if the artist cancels meanwhile."""
        until = time.monotonic() + seconds
        while not self._listener.should_cancel():
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, POLL_MS / 1000))
        raise JobCancelled("cancelled while the daemon was unreachable")

    def _push(self) -> bool:
        """Sends the next message if allowed. Returns True if more may follow at once."""
        if self._upload:
            upload = self._upload
            self._held = self._held or upload.next_import() or upload.next_chunk()
            if self._held and self._wire.send_bulk(*self._held):
                if isinstance(self._held[0], Put):
                    self._listener.sent(upload.sent, upload.total)
                self._held = None
                return True
        self._ask_for_more()
        return False

    def _ask_for_more(self) -> None:
        """Requests results as far as the window allows."""
        if self._download:
            while get := self._held_get or self._download.next_get():
                self._held_get = None if self._wire.send_bulk(get) else get
                if self._held_get:
                    return

    def _patience_ms(self) -> int:
        return SETTLING_MS if self._download and self._download.is_settling else POLL_MS

    def _take(self, message: Message, payload: Frame | None) -> None:
        upload, download = self._upload, self._download
        match message:
            case Accepted():
                self._accepted(message)
            case Status() if message.job == self._job:
                self._status(message)
            case Ready() if message.job == self._job and download:
                for frame in download.announced(message.results):
                    self._listener.fetched(frame)
            case Provenance() if message.job == self._job:
                self._provenance = bytes(payload or b"")
            case Credit() if upload:
                upload.granted(message.amount)
            case Got() if upload:
                self._confirmed += 1
                if upload.confirmed(message.sha256):
                    self._listener.imported(upload.imported, upload.to_import)
            case Nack() if message.code == DamagedFile.code:
                self._begin_again(message.text)
            case Nack() if upload and message.code in ABOUT_A_FILE:
                upload.refused(message)
            case Nack():
                raise from_code(message.code, message.text)
            case Chunk() if download and payload is not None:
                download.arrived(message, payload)
                self._ask_for_more()  # at once, because the daemon waits meanwhile

    def _accepted(self, message: Accepted) -> None:
        raise BadMessage("the daemon accepted a job that was not submitted")

    def _status(self, message: Status) -> None:
        self._state, self._last = message.state, message
        self._listener.status(message)
        if (
            message.state is JobState.FAILED
            and message.code == DamagedFile.code
            and self._can_repair
        ):
            self._begin_again(message.text)
        if message.state is JobState.FAILED:
            raise from_code(message.code, message.text, message.hint)
        if message.state is JobState.CANCELLED:
            raise JobCancelled(f"job {message.job} was cancelled")
        if message.state is JobState.DONE and not self._asked_for_end:
            # An earlier list of results may have been dropped on its way to a slow client; this one is complete.
            self._asked_for_end = True
            self._wire.send(Query(self._job))
            self._wire.send(GetProvenance(self._job))

    def _begin_again(self, text: str) -> None:
        """Files changed on the daemon's disk: what is not finished starts over. Raises `ConnectionLost`.

        A new connection, so that nothing that was asked for before is answered any more.
        """
        self._repairs += 1
        if self._repairs > MOST_REPAIRS:
            raise DamagedFile(f"{text}, {self._repairs} times")
        self._must_submit = self._can_repair
        self._provenance = None
        if self._download:
            self._download.begin_again()
        raise ConnectionLost(text)

    def _look_for_cancel(self) -> None:
        now = time.monotonic()
        if not self._cancelled_at:
            if not self._listener.should_cancel():
                return
            self._cancelled_at = now
        if self._job and not self._cancel_said:  # the client learns the job's id from `Accepted`
            self._cancel_said = True
            self._wire.send(Cancel(self._job))
        if not self._job and now - self._cancelled_at > CANCEL_PATIENCE_S:
            raise JobCancelled("cancelled before the daemon had accepted the job")
        if self._state is JobState.CANCELLING or now - self._cancelled_at > CANCEL_PATIENCE_S:
            raise JobCancelled(f"job {self._job} is being cancelled")

    def _outcome(self) -> Outcome:
        return Outcome(
            self._job,
            sorted(self._download.finished) if self._download else [],
            self._provenance or b"",
            self._from_store,
            self._upload.sent if self._upload else 0,
            self._last.warnings if self._last else (),
            self._upload.imported if self._upload else 0,
        )

    def _fetched_all(self) -> bool:
        return (
            self._state is JobState.DONE
            and self._download is not None
            and self._last is not None
            and self._provenance is not None
            and len(self._download.finished) == self._last.frames
        )


class Run(JobClient):
    """Submits and uploads a job. If `wait` is on, also watches it and fetches its results."""

    def __init__(
        self, wire: ServerConnection, task: JobTask, listener: Listener, wait: bool
    ) -> None:
        super().__init__(wire, task.target, listener)
        self._task = task
        self._wait = wait
        self._again = task.force
        self._can_repair = True

    def begin(self, welcome: Welcome) -> None:
        if self._upload is None:
            files = self._task.request.files
            self._upload = Upload(files, self._task.sources, welcome.limits.chunk)
        elif self._job and self._upload.done and not self._must_submit:
            # A second submit would restart a job that failed meanwhile, unknown to the artist.
            self._wire.send(Watch(self._job))
            return
        self._upload.reconnected(welcome.epoch, welcome.shares)
        self._wire.send(Submit(self._task.priority, self._again), self._task.request.canonical())

    def is_over(self) -> bool:
        if not self._wait:
            return bool(self._job) and self._upload is not None and self._upload.done
        return self._fetched_all()

    def _accepted(self, message: Accepted) -> None:
        assert self._upload is not None
        self._must_submit = False
        self._again = False  # after a reconnect, the client follows the run that has begun
        if not self._job:
            self._job = message.job
            self._from_store = message.state is JobState.DONE
            if self._wait:
                limits = self._wire.welcome.limits
                sources = SourceGuard(self._task.request.files, self._task.sources)
                self._download = Download(
                    message.job, self._target, limits.chunk, limits.window, sources
                )
            self._listener.accepted(message.job)
        self._state = message.state
        need = indices(message.need, len(self._task.request.files))
        self._upload.wanted(need, message.partial)
        self._lacked = self._upload.total - self._upload.sent


class Fetch(JobClient):
    """Watches a job and fetches its results."""

    def __init__(
        self,
        wire: ServerConnection,
        job: str,
        target: Callable[[int], Path],
        listener: Listener,
        sources: SourceGuard | None = None,
    ) -> None:
        super().__init__(wire, target, listener)
        self._job = job
        self._sources = sources

    def begin(self, welcome: Welcome) -> None:
        if self._download is None:
            limits = welcome.limits
            self._download = Download(
                self._job, self._target, limits.chunk, limits.window, self._sources
            )
        self._wire.send(Watch(self._job))

    def is_over(self) -> bool:
        return self._fetched_all()
