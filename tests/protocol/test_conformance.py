"""The checks find nothing in a daemon that keeps to the protocol, and the very rule in one that does not."""

from dataclasses import replace
from typing import Any

import pytest

from voidbridge_protocol.conformance import CHECKS, conformance
from voidbridge_protocol.errors import NotHere
from voidbridge_protocol.testing.fake_daemon import FakeDaemon, Script, fake_daemon
from voidbridge_protocol.wire.messages import (
    PROTOCOL,
    Accepted,
    Cancel,
    Got,
    Hello,
    ImportFile,
    JoinBulk,
    Message,
    Nack,
    Ping,
    Put,
    Submit,
)


def test_nothing_is_found_in_a_daemon_that_keeps_to_the_protocol() -> None:
    with fake_daemon() as daemon:
        assert conformance(daemon.address) == []
        assert conformance(daemon.address) == [], "the checks can be repeated"


UPLOADS = "uploads go on where they were, and a cancel ends the job"


@pytest.mark.parametrize(
    ("deaf_to", "rule"),
    [
        (Ping, "pings are answered on both sockets"),
        (JoinBulk, "hello is answered by welcome, join-bulk by the whole window"),
        (Submit, "unknown settings are refused by name"),
        (Put, UPLOADS),
        (Cancel, UPLOADS),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_what_is_never_answered_is_found(deaf_to: type[Message], rule: str) -> None:
    with fake_daemon(Script(deaf_to=frozenset({deaf_to}))) as daemon:
        findings = conformance(daemon.address, patience=0.1)
    assert rule in {finding.rule for finding in findings}
    assert all("within 0.1 s" in finding.text for finding in findings)


def test_silence_breaks_every_rule() -> None:
    with fake_daemon(Script(deaf_to=frozenset({Message}))) as daemon:
        findings = conformance(daemon.address, patience=0.05)
    # What no message is cannot be passed over in silence by a fake that has not read it.
    assert {finding.rule for finding in findings} >= set(CHECKS) - {"another framing is refused"}


def is_broken(kind: type[FakeDaemon], script: Script, rule: str) -> bool:
    """Whether this rule is, and no other. On a busy machine other answers may take longer."""
    for patience in (2.0, 60.0):
        daemon = kind(script)
        daemon.start()
        try:
            findings = conformance(daemon.address, patience=patience)
        finally:
            daemon.stop()
        if [finding.rule for finding in findings] == [rule]:
            return True
    return False


PATHS = "a path outside the shares is never opened"


def test_a_daemon_with_shared_folders_keeps_to_it_too() -> None:
    with fake_daemon(Script(shares=("/no/such/folder",))) as daemon:
        assert conformance(daemon.address) == []


class TellsPathsApart(FakeDaemon):
    def _import_file(self, asked: ImportFile) -> Message:
        return Nack(asked.sha256, 0, NotHere.code, f"{asked.path} cannot be opened")


class OpensEverything(FakeDaemon):
    def _import_file(self, asked: ImportFile) -> Message:
        return Got(asked.sha256)


@pytest.mark.parametrize("kind", [TellsPathsApart, OpensEverything])
def test_a_daemon_that_opens_or_tells_too_much_is_found_out(kind: type[FakeDaemon]) -> None:
    assert is_broken(kind, Script(shares=("/no/such/folder",)), PATHS)


class TakesAnyVersion(FakeDaemon):
    def _welcome(self, route: bytes, hello: Hello) -> Any:
        return super()._welcome(route, replace(hello, oldest=PROTOCOL))


class ForgetsParts(FakeDaemon):
    def _send(self, route: bytes, message: Message, payload: Any = None) -> None:
        if isinstance(message, Accepted):
            message = replace(message, partial=())
        super()._send(route, message, payload)


class TakesAnyBytes(FakeDaemon):
    def _give(self, route: bytes, message: Message, payload: Any = None) -> None:
        if isinstance(message, Nack) and not message.offset:
            return
        super()._give(route, message, payload)


class KnowsEverybody(FakeDaemon):
    def _on_control(self, route: bytes, message: Message, payload: Any) -> None:
        self._users.setdefault(route, "whoever")
        super()._on_control(route, message, payload)


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (TakesAnyVersion, "another version is refused, and both are named"),
        (ForgetsParts, UPLOADS),
        (TakesAnyBytes, UPLOADS),
        (KnowsEverybody, "a peer that has not said hello is refused"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_daemon_that_leaves_the_protocol_is_found_out(kind: type[FakeDaemon], rule: str) -> None:
    assert is_broken(kind, Script(), rule)
