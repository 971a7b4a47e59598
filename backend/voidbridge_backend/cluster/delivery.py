"""Frames to a node and results back, on the side of the daemon. Ray is behind one function that calls the actor."""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import IO, Any

from voidbridge_protocol.errors import DamagedFile
from voidbridge_protocol.transfer.atomic_files import create_temporary, disk_error, temporary
from voidbridge_protocol.transfer.hashing import sha256_of

from .frame_socket import FramePlace, FrameSender

THREADS = 4
"""Frames on their way to one node at once; each holds one piece in memory."""


class DeliveryStopped(Exception):
    """The job should not run any more."""


class _Way:
    """A connection to the node for each thread that sends."""

    def __init__(self, place: FramePlace, open_senders: ExitStack) -> None:
        """`open_senders` closes the connections."""
        self._place, self._open_senders = place, open_senders
        self._own = threading.local()

    def sender(self) -> FrameSender:
        if not hasattr(self._own, "sender"):
            self._own.sender = self._open_senders.enter_context(closing(FrameSender(self._place)))
        sender: FrameSender = self._own.sender
        return sender


class Delivery:
    """Sends frames to one node, each once."""

    def __init__(
        self,
        call: Callable[..., Any],
        place: FramePlace,
        spool: Path | None,
        progress: Callable[[int, int], None],
    ) -> None:
        """`call` runs a method of the actor, by name, and returns its answer; frames go to `place`.

        `spool` is the daemon's, if the node may read frames by path. `progress` gets the number of frames sent, and
        of frames to send.
        """
        self._call, self._place, self._progress = call, place, progress
        self._is_shared = spool is not None and self._both_see(spool)

    def send(
        self, objects: Path, names: Sequence[str], stop: threading.Event, by_path: bool = True
    ) -> None:
        """Sends the frames of a user's folder that the node lacks; not by path if that gave wrong ones before.

        Raises `DamagedFile`, `DeliveryStopped`, and `ConnectionBroke` if the node is gone.
        """
        user = objects.name
        lacking = self._call("missing", user, list(dict.fromkeys(names)))
        with ExitStack() as senders, ThreadPoolExecutor(THREADS, "sends") as threads:
            way = _Way(self._place, senders)
            try:
                import_first = self._is_shared and by_path
                sent = [
                    threads.submit(self._one, way, objects / name, stop, import_first)
                    for name in lacking
                ]
                for done, future in enumerate(as_completed(sent), 1):
                    future.result()
                    self._progress(done, len(lacking))
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def _one(self, way: _Way, path: Path, stop: threading.Event, import_first: bool) -> None:
        user = path.parent.name
        if stop.is_set():
            raise DeliveryStopped
        if import_first and self._call("import_file", user, path.name, str(path)):
            return
        try:
            with path.open("rb") as file:
                way.sender().send(user, path.name, file, stop)
        except InterruptedError as error:
            raise DeliveryStopped from error
        except OSError as error:
            raise _damaged(path, str(error.strerror or error)) from error

    def _both_see(self, spool: Path) -> bool:
        """Returns True if the node reads a file that was written here a moment ago."""
        proof = spool / "tmp" / f"seen-{uuid.uuid4().hex}"
        nonce = uuid.uuid4().hex
        try:
            proof.parent.mkdir(mode=0o700, exist_ok=True)
            proof.write_text(nonce)
            return bool(self._call("sees", str(proof), nonce))
        except OSError:
            return False
        finally:
            proof.unlink(missing_ok=True)


class Incoming:
    """A result that arrives from a node, beside its final place in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digest = hashlib.sha256()
        self._file: IO[bytes] | None = None

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes so far, in hexadecimal digits."""
        return self._digest.hexdigest()

    def add(self, piece: bytes) -> None:
        """Raises `DiskFull`."""
        self._digest.update(piece)
        try:
            self._file = self._file or create_temporary(self._folder / "incoming")
            self._file.write(piece)
        except OSError as error:
            raise self._failed(error) from error

    def publish(self, name: str) -> None:
        """Gives the file its name once it is on the disk. Raises `DiskFull`."""
        assert self._file
        try:
            with self._file as file:
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary(self._folder / "incoming"), self._folder / name)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> Exception:
        if self._file:
            with suppress(OSError):
                self._file.close()
        with suppress(OSError):  # the first error says more
            temporary(self._folder / "incoming").unlink(missing_ok=True)
        return disk_error(self._folder / "incoming", error)


def damaged(objects: Path, names: Sequence[str]) -> list[str]:
    """Returns those of `names` whose file in a user's folder is gone, or is not what its name says."""
    return [name for name in names if _hash_of(objects / name) != name]


def _hash_of(path: Path) -> str:
    try:
        return sha256_of(path)[0]
    except OSError:
        return ""


def _damaged(path: Path, reason: str) -> DamagedFile:
    return DamagedFile(
        f"a frame changed on the daemon's disk after arrival: {reason}", files=(path.name,)
    )
