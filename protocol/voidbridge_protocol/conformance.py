"""Checks from outside, at its address, if a daemon follows the protocol.

Each check tests one rule of `docs/protocol.md` on a connection of its own. The submitted jobs never become
complete and are cancelled at the end, so nothing runs. Every check sends new content.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from .conformance_visitor import PATIENCE_S, Broken, Visitor, require
from .errors import (
    BadMessage,
    BadSetting,
    NotHere,
    TransferFailed,
    UnknownJob,
    UnknownSession,
    VersionMismatch,
    WrongOffset,
)
from .lifecycle import JobState
from .operations.remove import RemoveSettings
from .wire.codec import MAGIC, PREFIX, encode, indices
from .wire.messages import (
    OLDEST,
    PROTOCOL,
    Accepted,
    Cancel,
    Credit,
    Fetched,
    FrameFile,
    Get,
    GetHealth,
    GetProvenance,
    GetRequest,
    Got,
    Health,
    ImportFile,
    JoinBulk,
    Listed,
    ListJobs,
    Missing,
    Nack,
    Offer,
    Ping,
    Pong,
    Put,
    Query,
    Request,
    Status,
    Submit,
    Watch,
    Welcome,
)

SIZE = 4096
"""Bytes of the plate and of the matte that the checks send."""


@dataclass(frozen=True)
class Finding:
    """One violation of the protocol."""

    rule: str
    text: str


# -- the rules --------------------------------------------------------------------------------------


def _welcomes(connection: Visitor) -> None:
    welcome = connection.introduced()
    require(OLDEST <= welcome.version <= PROTOCOL, f"chose protocol {welcome.version}")
    require(bool(welcome.software and welcome.epoch), "says no software or no epoch")
    limits = welcome.limits
    require(0 < limits.chunk <= limits.window, f"a window of {limits.window} for {limits.chunk}")
    connection.say_bulk(JoinBulk(connection.session))
    credit = connection.expect(Credit, connection.bulk)
    require(credit.amount == limits.window, f"{credit.amount} of credit; {limits.window} promised")


def _answers_pings(connection: Visitor) -> None:
    connection.introduced(attach=True)
    connection.expect_life()
    connection.say_bulk(Ping())
    connection.expect(Pong, connection.bulk)


def _refuses_other_versions(connection: Visitor) -> None:
    connection.say(connection.hello(PROTOCOL + 7, PROTOCOL + 8))
    text = connection.expect_refusal(VersionMismatch.code).text
    require(str(PROTOCOL + 8) in text and str(PROTOCOL) in text, f"does not name both: {text}")


def _refuses_other_framings(connection: Visitor) -> None:
    connection.say_raw([PREFIX + b"999", *encode(connection.hello())[1:]])
    connection.expect_refusal(VersionMismatch.code)


def _ignores_unknown_fields(connection: Visitor) -> None:
    magic, header = encode(connection.hello())
    connection.say_raw(
        [magic, json.dumps({**json.loads(bytes(header)), "mood": [1, None]}).encode()]
    )
    connection.expect(Welcome)


def _refuses_what_is_no_message(connection: Visitor) -> None:
    connection.introduced()
    for frames in (
        [MAGIC, b'{"kind": "no-such-kind"}'],
        [MAGIC, b"{", b"payload"],
        [MAGIC, b"[" * 5000],
        [MAGIC, b'{"kind": "query"}'],
        [MAGIC, b'{"kind": "query", "job": "\\ud800"}'],
        [b"GET / HTTP/1.1", b"Host: localhost"],
    ):
        connection.say_raw(list(frames))
        connection.expect_refusal(BadMessage.code)
    connection.expect_life()


def _refuses_strangers(connection: Visitor) -> None:
    for message in (Ping(), Query("0" * 24), ListJobs(), Cancel("0" * 24)):
        connection.say(message)
        connection.expect_refusal(UnknownSession.code)
    connection.introduced()
    connection.say_bulk(JoinBulk(uuid.uuid4().hex))
    connection.expect_refusal(UnknownSession.code, connection.bulk)
    connection.say_bulk(Put("0" * 64, 1, 0), b"x")
    connection.expect_refusal(UnknownSession.code, connection.bulk)


def _refuses_unknown_jobs(connection: Visitor) -> None:
    connection.introduced(attach=True)
    job = uuid.uuid4().hex[:24]
    for message in (
        *(Query(job), Watch(job), Cancel(job)),
        *(GetProvenance(job), GetRequest(job), Fetched(job)),
    ):
        connection.say(message)
        connection.expect_refusal(UnknownJob.code)
    connection.say_bulk(Get(job, 1001, 0, 1))
    connection.expect_refusal(UnknownJob.code, connection.bulk)


def _says_how_it_does(connection: Visitor) -> None:
    connection.introduced()
    connection.say(GetHealth())
    health = connection.expect(Health)
    require(health.ready or bool(health.code and health.text), "is not ready and gives no reason")


def _takes_files_ahead(connection: Visitor) -> None:
    welcome = connection.introduced(attach=True)
    request, (_, plate) = _shot(welcome)
    connection.say(Offer(request.files))
    lacking = connection.expect(Missing)
    if not lacking.need:
        return  # allowed: the daemon is short of space
    require(lacking == Missing("0-1"), f"lacks {lacking} of two new files")
    connection.say_bulk(Put(request.files[1].sha256, SIZE, 0), plate)
    connection.expect(Got, connection.bulk)
    connection.say(Offer(request.files))
    require(connection.expect(Missing).need == "0", "asks for a file that it has")
    job = _submitted(connection, request, [0], ())
    connection.say(Cancel(job))


def _opens_nothing_that_is_not_shared(connection: Visitor) -> None:
    welcome = connection.introduced(attach=True)
    if not welcome.shares:
        return
    request, _ = _shot(welcome)
    job = _submitted(connection, request, [0, 1], ())
    said = set()
    for path in ("/etc/passwd", "", f"{welcome.shares[0]}/../passwd", welcome.shares[0]):
        connection.say_bulk(ImportFile(request.files[0].sha256, SIZE, path, "0" * 64))
        nack = connection.expect(Nack, connection.bulk)
        said.add((nack.code, nack.offset, nack.text))
    require(len(said) == 1, f"answers differ between paths that it does not open: {said}")
    require(nack.code == NotHere.code, f"answers {nack.code} to a path that it does not open")
    connection.say(Cancel(job))


def _refuses_unknown_settings(connection: Visitor) -> None:
    welcome = connection.introduced()
    request, _ = _shot(welcome)
    body = json.loads(request.canonical())
    body["settings"]["make_it_pop"] = True
    connection.say(Submit(), json.dumps(body).encode())
    refused = connection.expect_refusal(BadSetting.code)
    require("make_it_pop" in refused.text, f"does not name the setting: {refused.text}")


def _refuses_names_that_are_no_hashes(connection: Visitor) -> None:
    connection.introduced(attach=True)
    _, header, payload = encode(Put("0" * 64, 1, 0), b"x")
    for name in ("../../../../tmp/" + "0" * 49, "/tmp/" + "0" * 59, "0" * 63, "A" * 64):
        assert connection.bulk is not None
        forged = json.dumps({**json.loads(bytes(header)), "sha256": name}).encode()
        connection.bulk.send_multipart([MAGIC, forged, payload])
        connection.expect_refusal(BadMessage.code, connection.bulk)


def _takes_up_where_it_was(connection: Visitor) -> None:
    welcome = connection.introduced(attach=True)
    request, (matte, plate) = _shot(welcome)
    job = _submitted(connection, request, [0, 1], ())
    key = request.key(welcome.user or connection.user)
    require(job == key, f"the job is {job}, not {key}")
    require(_submitted(connection, request, [0, 1], ()) == job, "the same request is another job")
    name = request.files[1].sha256

    connection.say_bulk(Put(name, SIZE, 0), plate[:1024])
    connection.expect(Credit, connection.bulk)
    connection.say_bulk(Put(name, SIZE, 2048), plate[2048:])
    nack = connection.expect(Nack, connection.bulk)
    require((nack.code, nack.offset) == (WrongOffset.code, 1024), f"at 1024, says {nack}")

    connection.introduced(attach=True)  # the same session on another bulk socket
    _submitted(connection, request, [0, 1], ((1, 1024),))
    connection.say_bulk(
        Put(name, SIZE, 0), plate[:1024]
    )  # known bytes are dropped, but their credit is returned
    credit = connection.expect(Credit, connection.bulk)
    require(credit.amount == 1024, f"gives {credit.amount} bytes of credit back for 1024")
    connection.say_bulk(Put(name, SIZE, 1024), plate[1024:])
    got = connection.expect(Got, connection.bulk)
    require(got.sha256 == name, f"got {got.sha256}")
    connection.say_bulk(
        Put(name, SIZE, 1024), plate[1024:]
    )  # a second client may send them a moment later
    connection.expect(Got, connection.bulk)
    _submitted(connection, request, [0], ())

    connection.say_bulk(Put(request.files[0].sha256, SIZE, 0), plate)
    nack = connection.expect(Nack, connection.bulk)
    require((nack.code, nack.offset) == (TransferFailed.code, 0), f"other bytes, says {nack}")
    _ends(connection, job, Put(request.files[0].sha256, SIZE, 0), matte)


def _ends(connection: Visitor, job: str, late: Put, matte: bytes) -> None:
    """Cancels twice, then sends a late file, which must do no harm."""
    for _ in range(2):
        connection.say(Cancel(job))
        status = connection.expect(Status)
        while status.state is JobState.RECEIVING:  # a status from before the cancel
            status = connection.expect(Status)
        require(status.state is JobState.CANCELLED, f"cancelled, the job is {status.state.value}")
    connection.say_bulk(late, matte)
    connection.expect(Credit, connection.bulk)
    connection.expect_life()
    connection.say(ListJobs())
    require(connection.expect(Listed).jobs > 0, "lists no jobs after one was submitted")


def _submitted(
    connection: Visitor, request: Request, need: list[int], partial: tuple[tuple[int, int], ...]
) -> str:
    connection.say(Submit(), request.canonical())
    accepted = connection.expect(Accepted)
    found = (accepted.state, indices(accepted.need, len(request.files)), accepted.partial)
    require(found == (JobState.RECEIVING, need, partial), f"needs {need}, {partial}: {accepted}")
    return accepted.job


def _shot(welcome: Welcome) -> tuple[Request, tuple[bytes, bytes]]:
    """One frame of new noise, matte and plate, in the order of the request's files."""
    matte, plate = os.urandom(SIZE), os.urandom(SIZE)
    files = tuple(
        FrameFile(role, 1001, hashlib.sha256(data).hexdigest(), SIZE)
        for role, data in (("matte", matte), ("plate", plate))
    )
    engines = [engine for operation, engine in welcome.engines if operation == "remove"]
    require(bool(engines), "names no engine that removes")
    return Request(1001, 1001, RemoveSettings(engine=engines[0]), files), (matte, plate)


CHECKS: dict[str, Callable[[Visitor], None]] = {
    "hello is answered by welcome, join-bulk by the whole window": _welcomes,
    "pings are answered on both sockets": _answers_pings,
    "another version is refused, and both are named": _refuses_other_versions,
    "another framing is refused": _refuses_other_framings,
    "unknown fields are ignored": _ignores_unknown_fields,
    "a daemon that is not ready says why": _says_how_it_does,
    "files are taken before their job": _takes_files_ahead,
    "a path outside the shares is never opened": _opens_nothing_that_is_not_shared,
    "an invalid message is refused, and the connection stays open": _refuses_what_is_no_message,
    "a peer that has not said hello is refused": _refuses_strangers,
    "unknown jobs are refused": _refuses_unknown_jobs,
    "unknown settings are refused by name": _refuses_unknown_settings,
    "a file's name is a hash": _refuses_names_that_are_no_hashes,
    "uploads go on where they were, and a cancel ends the job": _takes_up_where_it_was,
}


def conformance(address: str, patience: float = PATIENCE_S) -> list[Finding]:
    """Returns each violation of the protocol by the daemon at `address`; an empty list if there is none."""
    findings = []
    for rule, check in CHECKS.items():
        connection = Visitor(address, patience)
        try:
            check(connection)
        except Broken as broken:
            findings.append(Finding(rule, str(broken)))
        finally:
            connection.close()
    return findings
