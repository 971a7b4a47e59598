"""Frames over TCP connections of their own, from the daemon's machine to a node: both ends.

Ray's object store copies each byte several times, which takes longer than the network. Here the system sends a byte
from the file itself, and the node receives and writes it. The node listens on a port of its own choice and serves
only a sender that shows the secret, which the actor has told it through Ray. If Ray encrypts, both ends encrypt
with the same files.

Nobody hashes a frame on its way, because the worker does whenever it uses it. Another hash would take as long as
all the rest of the way.

A connection carries the secret, then for each frame a header, JSON with its length in four bytes before it, and the
frame. The node answers each with one byte once the frame has its name, or its disk no room for it.
"""

from __future__ import annotations

import errno
import hmac
import json
import os
import secrets
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from .node_cache import NodeCache

PIECE = 1 << 20
"""Bytes received at once: small enough for a processor's cache, from which they are written."""
SENT_PIECE = 4 << 20
"""Bytes sent at once, after which a sender looks if it should stop."""
FILE_ERRORS = frozenset({errno.EIO, errno.ESTALE, errno.EINVAL, errno.EOVERFLOW})
"""Errors of `sendfile` that a file causes, and no connection."""
SECRET = 32
"""Bytes of the secret."""
MOST_HEADER = 4096
"""Bytes of a header."""
ADMIT_S = 10.0
"""Seconds in which a connection is made and its secret shown."""
MOST_STRANGERS = 16
"""Connections that have not shown the secret, at once."""
KEPT, FULL = b"1", b"0"
FULL_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of a disk without room for a file."""


class ConnectionBroke(Exception):
    """The node cannot be reached, or has closed the connection."""


@dataclass(frozen=True)
class FramePlace:
    """The address of a node's end, and the secret of its senders."""

    host: str
    port: int
    secret: bytes


class FrameReceiver:
    """The node's end: keeps arriving frames in `cache`, on threads of its own."""

    def __init__(self, cache: NodeCache, host: str) -> None:
        """Listens on the address `host` of this machine."""
        self._cache, self._secret = cache, secrets.token_bytes(SECRET)
        self._context = _context(ssl.PROTOCOL_TLS_SERVER)
        self._strangers = threading.BoundedSemaphore(MOST_STRANGERS)
        self._listening = socket.create_server((host, 0))
        self.place = FramePlace(host, self._listening.getsockname()[1], self._secret)
        threading.Thread(target=self._accept, name="receives frames", daemon=True).start()

    def close(self) -> None:
        """Accepts no further sender."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # ends the wait for one
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                self._strangers.acquire()
                line = self._listening.accept()[0]
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with suppress(OSError, ValueError, KeyError, TypeError, EOFError), line:
            try:
                line = self._admitted(line)
            finally:
                self._strangers.release()
            with line:
                place = memoryview(bytearray(PIECE))
                while True:
                    header = json.loads(_exactly(line, _length(line)))
                    pieces = _pieces(line, int(header["size"]), place)
                    line.sendall(self._kept(str(header["user"]), str(header["name"]), pieces))

    def _kept(self, user: str, name: str, pieces: Iterator[memoryview]) -> bytes:
        """Keeps a frame, and returns the answer. Of a frame without room the rest is taken in too.

        Otherwise the sender would see its connection end, and not read why.
        """
        try:
            self._cache.keep(user, name, pieces)
        except OSError as error:
            if error.errno not in FULL_ERRORS:
                raise
            for _ in pieces:
                pass
            return FULL
        return KEPT

    def _admitted(self, line: socket.socket) -> socket.socket:
        """Raises `OSError` for a sender without the secret."""
        line.settimeout(ADMIT_S)
        if self._context:
            line = self._context.wrap_socket(line, server_side=True)
        if not hmac.compare_digest(_exactly(line, SECRET), self._secret):
            raise OSError("a sender showed a wrong secret")
        line.settimeout(None)
        return line


class FrameSender:
    """One connection to a node. Use it as a context, on one thread."""

    def __init__(self, place: FramePlace) -> None:
        """Raises `ConnectionBroke`."""
        try:
            self._line = socket.create_connection((place.host, place.port), ADMIT_S)
            if context := _context(ssl.PROTOCOL_TLS_CLIENT):
                self._line = context.wrap_socket(self._line)
            self._line.sendall(place.secret)
            self._line.settimeout(None)
        except OSError as error:
            raise ConnectionBroke(f"no connection for frames: {error}") from error

    def close(self) -> None:
        self._line.close()

    def send(self, user: str, name: str, file: IO[bytes], stop: threading.Event) -> None:
        """Sends a file, and returns once the node has it under its name.

        Raises `ConnectionBroke`, `OSError` if `file` cannot be read, and `InterruptedError` once `stop` is set;
        then the connection is of no more use.
        """
        size = os.fstat(file.fileno()).st_size
        header = json.dumps({"user": user, "name": name, "size": size}).encode()
        self._send(len(header).to_bytes(4, "big") + header)
        sent = 0
        while sent < size:
            if stop.is_set():
                raise InterruptedError
            count = self._send_part(file, sent, min(SENT_PIECE, size - sent))
            if not count:
                raise OSError("it became shorter while it was read")
            sent += count
        try:
            answer = _exactly(self._line, len(KEPT))
        except (OSError, EOFError) as error:
            raise ConnectionBroke(f"the node took no frame: {error}") from error
        if answer == FULL:
            raise ConnectionBroke("the node took no frame: its disk is full")

    def _send_part(self, file: IO[bytes], begin: int, count: int) -> int:
        """Sends at most `count` bytes of the file, and returns their number. Only encryption copies them here."""
        if isinstance(self._line, ssl.SSLSocket):
            piece = file.read(count)
            self._send(piece)
            return len(piece)
        try:
            return os.sendfile(self._line.fileno(), file.fileno(), begin, count)
        except OSError as error:
            if error.errno in FILE_ERRORS:
                raise
            raise ConnectionBroke(f"the connection for frames ended: {error}") from error

    def _send(self, data: bytes) -> None:
        try:
            self._line.sendall(data)
        except OSError as error:
            raise ConnectionBroke(f"the connection for frames ended: {error}") from error


def _context(role: int) -> ssl.SSLContext | None:
    """Returns what encrypts with Ray's own files, in which both ends prove who they are; None if Ray does not."""
    if os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
        return None
    context = ssl.SSLContext(role)
    context.check_hostname = False  # nodes have addresses, and the authority signs for nobody else
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(os.environ["RAY_TLS_SERVER_CERT"], os.environ["RAY_TLS_SERVER_KEY"])
    context.load_verify_locations(os.environ["RAY_TLS_CA_CERT"])
    return context


def _length(line: socket.socket) -> int:
    length = int.from_bytes(_exactly(line, 4), "big")
    if length > MOST_HEADER:
        raise ValueError(f"a header of {length} bytes")
    return length


def _exactly(line: socket.socket, count: int) -> bytes:
    """Raises `EOFError` if the connection ends before."""
    data = b""
    while len(data) < count:
        piece = line.recv(count - len(data))
        if not piece:
            raise EOFError("the connection ended")
        data += piece
    return data


def _pieces(line: socket.socket, size: int, place: memoryview) -> Iterator[memoryview]:
    """Yields the next `size` bytes, in `place`, which each piece overwrites. Raises `EOFError`."""
    while size > 0:
        count = line.recv_into(place[: min(len(place), size)])
        if not count:
            raise EOFError("the connection ended")
        yield place[:count]
        size -= count
