"""Whether a daemon keeps to the protocol, asked from outside, at its address.

Each check is a rule of `docs/protocol.md` and a conversation of its own. The job that they submit is never
complete and is cancelled at the end, so that nothing runs; what they send is new content every time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import zmq

from .codec import MAGIC, PREFIX, Frame, decode, encode, indices
from .connection import bulk_address
from .errors import (
    BadMessage,
    BadSetting,
    NotHere,
    ProtocolError,
    TransferFailed,
    UnknownJob,
    UnknownSession,
    VersionMismatch,
    WrongOffset,
)
from .lifecycle import JobState
from .messages import (
    OLDEST,
    PROTOCOL,
    Accepted,
    Attach,
    Cancel,
    Credit,
    Fetched,
    FrameFile,
    Get,
    GetHealth,
    GetProvenance,
    Got,
    HandOver,
    Health,
    Hello,
    Lacking,
    Listed,
    ListJobs,
    Message,
    Nack,
    Offer,
    Ping,
    Pong,
    Put,
    Query,
    Ready,
    Refused,
    Request,
    Settings,
    Status,
    Submit,
    Watch,
    Welcome,
)

PATIENCE_S = 4.0
SIZE = 4096
"""Bytes of the plate and of the matte that the checks send."""

Wanted = TypeVar("Wanted", bound=Message)


@dataclass(frozen=True)
class Finding:
    """Where a daemon leaves the protocol."""

    rule: str
    text: str


class _Broken(AssertionError):
    """A rule is."""


class _Visitor:
    """A client that may say anything."""

    def __init__(self, address: str, patience: float) -> None:
        self._address = address
        self._patience = patience
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.session = uuid.uuid4().hex
        self.user = "conformance"
        self.control = self._socket(address)
        self.bulk: zmq.Socket[bytes] | None = None

    def close(self) -> None:
        self._context.destroy(linger=0)

    def hello(self, oldest: int = OLDEST, newest: int = PROTOCOL) -> Hello:
        return Hello(oldest, newest, self.session, self.user, "conformance checks")

    def introduced(self, attach: bool = False) -> Welcome:
        self.say(self.hello())
        welcome = self.expect(Welcome)
        if self.bulk is not None:
            self.bulk.close()
        self.bulk = self._socket(bulk_address(self._address, welcome.bulk))
        if attach:
            self.say_bulk(Attach(self.session))
            self.expect(Credit, self.bulk)
        return welcome

    def say(self, message: Message, payload: Frame | None = None) -> None:
        self.say_raw(encode(message, payload))

    def say_raw(self, frames: list[Frame]) -> None:
        self.control.send_multipart(frames)

    def say_bulk(self, message: Message, payload: Frame | None = None) -> None:
        assert self.bulk is not None
        self.bulk.send_multipart(encode(message, payload))

    def expect(self, kind: type[Wanted], socket: zmq.Socket[bytes] | None = None) -> Wanted:
        """The next message of this kind; others of the job are passed over, a refusal is not."""
        socket = socket or self.control
        until = time.monotonic() + self._patience
        while (left := until - time.monotonic()) > 0 and socket.poll(int(left * 1000) + 1):
            try:
                message, _ = decode(socket.recv_multipart())
            except ProtocolError as error:
                raise _Broken(f"says what cannot be read: {error.text}") from error
            if isinstance(message, kind):
                return message
            if isinstance(message, Refused):
                raise _Broken(f"no {kind.kind!r} but {message.code}: {message.text}")
            if not isinstance(message, (Status, Ready, Credit, Got)):
                raise _Broken(f"no {kind.kind!r} but {message.kind!r}")
        raise _Broken(f"no {kind.kind!r} within {self._patience:g} s")

    def expect_refusal(self, code: str, socket: zmq.Socket[bytes] | None = None) -> Refused:
        refused = self.expect(Refused, socket)
        if refused.code != code:
            raise _Broken(f"refused with {refused.code}, not {code}: {refused.text}")
        if not refused.text:
            raise _Broken(f"refused with {code} and no text")
        return refused

    def expect_life(self) -> None:
        self.say(Ping())
        self.expect(Pong)

    def _socket(self, address: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(address)
        return socket


def _require(holds: bool, text: str) -> None:
    if not holds:
        raise _Broken(text)


# -- the rules --------------------------------------------------------------------------------------


def _welcomes(visitor: _Visitor) -> None:
    welcome = visitor.introduced()
    _require(OLDEST <= welcome.version <= PROTOCOL, f"chose protocol {welcome.version}")
    _require(bool(welcome.software and welcome.epoch), "says no software or no epoch")
    limits = welcome.limits
    _require(0 < limits.chunk <= limits.window, f"a window of {limits.window} for {limits.chunk}")
    visitor.say_bulk(Attach(visitor.session))
    credit = visitor.expect(Credit, visitor.bulk)
    _require(credit.amount == limits.window, f"{credit.amount} of credit; {limits.window} promised")


def _answers_pings(visitor: _Visitor) -> None:
    visitor.introduced(attach=True)
    visitor.expect_life()
    visitor.say_bulk(Ping())
    visitor.expect(Pong, visitor.bulk)


def _refuses_other_versions(visitor: _Visitor) -> None:
    visitor.say(visitor.hello(PROTOCOL + 7, PROTOCOL + 8))
    text = visitor.expect_refusal(VersionMismatch.code).text
    _require(str(PROTOCOL + 8) in text and str(PROTOCOL) in text, f"names not both: {text}")


def _refuses_other_framings(visitor: _Visitor) -> None:
    visitor.say_raw([PREFIX + b"999", *encode(visitor.hello())[1:]])
    visitor.expect_refusal(VersionMismatch.code)


def _ignores_unknown_fields(visitor: _Visitor) -> None:
    magic, header = encode(visitor.hello())
    visitor.say_raw([magic, json.dumps({**json.loads(bytes(header)), "mood": [1, None]}).encode()])
    visitor.expect(Welcome)


def _refuses_what_is_no_message(visitor: _Visitor) -> None:
    visitor.introduced()
    for frames in (
        [MAGIC, b'{"kind": "no-such-kind"}'],
        [MAGIC, b"{", b"payload"],
        [MAGIC, b"[" * 5000],
        [MAGIC, b'{"kind": "query"}'],
        [MAGIC, b'{"kind": "query", "job": "\\ud800"}'],
        [b"GET / HTTP/1.1", b"Host: localhost"],
    ):
        visitor.say_raw(list(frames))
        visitor.expect_refusal(BadMessage.code)
    visitor.expect_life()


def _refuses_strangers(visitor: _Visitor) -> None:
    for message in (Ping(), Query("0" * 24), ListJobs(), Cancel("0" * 24)):
        visitor.say(message)
        visitor.expect_refusal(UnknownSession.code)
    visitor.introduced()
    visitor.say_bulk(Attach(uuid.uuid4().hex))
    visitor.expect_refusal(UnknownSession.code, visitor.bulk)
    visitor.say_bulk(Put("0" * 64, 1, 0), b"x")
    visitor.expect_refusal(UnknownSession.code, visitor.bulk)


def _refuses_unknown_jobs(visitor: _Visitor) -> None:
    visitor.introduced(attach=True)
    job = uuid.uuid4().hex[:24]
    for message in (Query(job), Watch(job), Cancel(job), GetProvenance(job)):
        visitor.say(message)
        visitor.expect_refusal(UnknownJob.code)
    visitor.say_bulk(Get(job, 1001, 0, 1))
    visitor.expect_refusal(UnknownJob.code, visitor.bulk)


def _does_what_it_promised(visitor: _Visitor) -> None:
    capabilities = visitor.introduced().capabilities
    if Health.kind in capabilities:
        visitor.say(GetHealth())
        health = visitor.expect(Health)
        _require(health.ready or bool(health.code and health.text), "is not ready and says not why")
    if Fetched.kind in capabilities:
        visitor.say(Fetched(uuid.uuid4().hex[:24]))
        visitor.expect_refusal(UnknownJob.code)


def _takes_files_ahead(visitor: _Visitor) -> None:
    welcome = visitor.introduced(attach=True)
    if Lacking.kind not in welcome.capabilities:
        return
    request, (_, plate) = _shot(welcome)
    visitor.say(Offer(request.files))
    lacking = visitor.expect(Lacking)
    if not lacking.need:
        return  # short of room, as it may be
    _require(lacking == Lacking("0-1"), f"lacks {lacking} of two new files")
    visitor.say_bulk(Put(request.files[1].sha256, SIZE, 0), plate)
    visitor.expect(Got, visitor.bulk)
    visitor.say(Offer(request.files))
    _require(visitor.expect(Lacking).need == "0", "lacks what it has got")
    job = _submitted(visitor, request, [0], ())
    visitor.say(Cancel(job))


def _opens_nothing_that_is_not_shared(visitor: _Visitor) -> None:
    welcome = visitor.introduced(attach=True)
    if not welcome.shares:
        return
    request, _ = _shot(welcome)
    job = _submitted(visitor, request, [0, 1], ())
    said = set()
    for path in ("/etc/passwd", "", f"{welcome.shares[0]}/../passwd", welcome.shares[0]):
        visitor.say_bulk(HandOver(request.files[0].sha256, SIZE, path, "0" * 64))
        nack = visitor.expect(Nack, visitor.bulk)
        said.add((nack.code, nack.offset, nack.text))
    _require(len(said) == 1, f"tells one path that it does not open from another: {said}")
    _require(nack.code == NotHere.code, f"says {nack.code} to a path that it does not open")
    visitor.say(Cancel(job))


def _refuses_unknown_settings(visitor: _Visitor) -> None:
    welcome = visitor.introduced()
    request, _ = _shot(welcome)
    body = json.loads(request.canonical())
    body["settings"]["make_it_pop"] = True
    visitor.say(Submit(), json.dumps(body).encode())
    refused = visitor.expect_refusal(BadSetting.code)
    _require("make_it_pop" in refused.text, f"does not name the setting: {refused.text}")


def _refuses_names_that_are_no_hashes(visitor: _Visitor) -> None:
    visitor.introduced(attach=True)
    _, header, payload = encode(Put("0" * 64, 1, 0), b"x")
    for name in ("../../../../tmp/" + "0" * 49, "/tmp/" + "0" * 59, "0" * 63, "A" * 64):
        assert visitor.bulk is not None
        forged = json.dumps({**json.loads(bytes(header)), "sha256": name}).encode()
        visitor.bulk.send_multipart([MAGIC, forged, payload])
        visitor.expect_refusal(BadMessage.code, visitor.bulk)


def _takes_up_where_it_was(visitor: _Visitor) -> None:
    welcome = visitor.introduced(attach=True)
    request, (matte, plate) = _shot(welcome)
    job = _submitted(visitor, request, [0, 1], ())
    key = request.key(welcome.user or visitor.user)
    _require(job == key, f"the job is {job}, not {key}")
    _require(_submitted(visitor, request, [0, 1], ()) == job, "the same request is another job")
    name = request.files[1].sha256

    visitor.say_bulk(Put(name, SIZE, 0), plate[:1024])
    visitor.expect(Credit, visitor.bulk)
    visitor.say_bulk(Put(name, SIZE, 2048), plate[2048:])
    nack = visitor.expect(Nack, visitor.bulk)
    _require((nack.code, nack.offset) == (WrongOffset.code, 1024), f"at 1024, says {nack}")

    visitor.introduced(attach=True)  # the same session on another bulk socket
    _submitted(visitor, request, [0, 1], ((1, 1024),))
    visitor.say_bulk(Put(name, SIZE, 0), plate[:1024])  # what it has is dropped, the credit is not
    credit = visitor.expect(Credit, visitor.bulk)
    _require(credit.amount == 1024, f"gives {credit.amount} bytes of credit back for 1024")
    visitor.say_bulk(Put(name, SIZE, 1024), plate[1024:])
    got = visitor.expect(Got, visitor.bulk)
    _require(got.sha256 == name, f"got {got.sha256}")
    visitor.say_bulk(
        Put(name, SIZE, 1024), plate[1024:]
    )  # as a second client might, a moment later
    visitor.expect(Got, visitor.bulk)
    _submitted(visitor, request, [0], ())

    visitor.say_bulk(Put(request.files[0].sha256, SIZE, 0), plate)
    nack = visitor.expect(Nack, visitor.bulk)
    _require((nack.code, nack.offset) == (TransferFailed.code, 0), f"other bytes, says {nack}")
    _ends(visitor, job, Put(request.files[0].sha256, SIZE, 0), matte)


def _ends(visitor: _Visitor, job: str, late: Put, matte: bytes) -> None:
    """Cancelled at once, twice if need be; a file that comes too late harms nobody."""
    for _ in range(2):
        visitor.say(Cancel(job))
        status = visitor.expect(Status)
        while status.state is JobState.RECEIVING:  # news from before
            status = visitor.expect(Status)
        _require(status.state is JobState.CANCELLED, f"cancelled, the job is {status.state.value}")
    visitor.say_bulk(late, matte)
    visitor.expect(Credit, visitor.bulk)
    visitor.expect_life()
    visitor.say(ListJobs())
    _require(visitor.expect(Listed).jobs > 0, "lists no jobs after one was submitted")


def _submitted(
    visitor: _Visitor, request: Request, need: list[int], partial: tuple[tuple[int, int], ...]
) -> str:
    visitor.say(Submit(), request.canonical())
    accepted = visitor.expect(Accepted)
    found = (accepted.state, indices(accepted.need, len(request.files)), accepted.partial)
    _require(found == (JobState.RECEIVING, need, partial), f"needs {need}, {partial}: {accepted}")
    return accepted.job


def _shot(welcome: Welcome) -> tuple[Request, tuple[bytes, bytes]]:
    """One frame of new noise, matte and plate, in the order of the request's files."""
    _require(bool(welcome.engines), "names no engine")
    matte, plate = os.urandom(SIZE), os.urandom(SIZE)
    files = tuple(
        FrameFile(role, 1001, hashlib.sha256(data).hexdigest(), SIZE)
        for role, data in (("matte", matte), ("plate", plate))
    )
    return Request(1001, 1001, Settings(engine=welcome.engines[0]), files), (matte, plate)


CHECKS: dict[str, Callable[[_Visitor], None]] = {
    "hello is answered by welcome, attach by the whole window": _welcomes,
    "pings are answered on both sockets": _answers_pings,
    "another version is refused, and both are named": _refuses_other_versions,
    "another framing is refused": _refuses_other_framings,
    "unknown fields are ignored": _ignores_unknown_fields,
    "capabilities are kept": _does_what_it_promised,
    "files are taken before their job": _takes_files_ahead,
    "no path is opened that is not shared": _opens_nothing_that_is_not_shared,
    "what is no message is refused, and the connection goes on": _refuses_what_is_no_message,
    "who has not said hello is refused": _refuses_strangers,
    "unknown jobs are refused": _refuses_unknown_jobs,
    "unknown settings are refused by name": _refuses_unknown_settings,
    "a file's name is a hash": _refuses_names_that_are_no_hashes,
    "uploads go on where they were, and a cancel ends the job": _takes_up_where_it_was,
}


def conformance(address: str, patience: float = PATIENCE_S) -> list[Finding]:
    """Where the daemon at `address` leaves the protocol; nothing, if it does not."""
    findings = []
    for rule, check in CHECKS.items():
        visitor = _Visitor(address, patience)
        try:
            check(visitor)
        except _Broken as broken:
            findings.append(Finding(rule, str(broken)))
        finally:
            visitor.close()
    return findings
