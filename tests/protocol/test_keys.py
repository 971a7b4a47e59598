"""Secret keys stay with their owner, and a client that is not let in says why."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq
from zmq.utils import z85

from voidbridge_protocol.client import Client
from voidbridge_protocol.errors import (
    BadKey,
    DaemonError,
    DaemonUnavailable,
    KeysDiffer,
    UnknownKey,
    WrongDaemon,
)
from voidbridge_protocol.wire import keys, zmtp_probe
from voidbridge_protocol.wire.keys import Keys, Pair


def test_a_key_is_read_as_it_was_written_and_only_its_owner_can(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "client.key"
    pair = keys.make()
    keys.write(path, pair)
    assert keys.read(path) == pair
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_the_folder_and_the_file_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys.write(tmp_path / "keys" / "client.key", keys.make())
    finally:
        os.umask(before)
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "keys" / "client.key").stat().st_mode & 0o777 == 0o600


def test_a_secret_is_in_no_text_about_it() -> None:
    pair = keys.make()
    for about in (pair, Keys(pair, pair.public)):
        assert pair.secret not in repr(about) + str(about)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "client.key"
    keys.write(path, pair := keys.make())
    with pytest.raises(BadKey, match="already"):
        keys.write(path, keys.make())
    assert keys.read(path) == pair


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o666, 0o610])
def test_a_key_that_others_can_reach_is_not_used(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "client.key"
    keys.write(path, pair := keys.make())
    path.chmod(mode)
    with pytest.raises(BadKey, match=f"{mode:04o}") as refused:
        keys.read(path)
    assert f"chmod 600 {path}" in refused.value.hint
    assert pair.secret not in refused.value.text


def test_what_is_no_key_is_refused_and_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "client.key"
    for text in ("", "secret", 'secret-key = "short"', 'secret-key = "' + "~" * 40 + '"'):
        path.write_text(text)
        path.chmod(0o600)
        with pytest.raises(BadKey, match="no secret key"):
            keys.read(path)
    with pytest.raises(BadKey, match="39 characters") as refused:
        keys.checked(keys.make().secret[:-1], "--server-key")
    assert "--server-key" in refused.value.text


def test_a_key_that_is_missing_is_made_by_a_command(tmp_path: Path) -> None:
    with pytest.raises(BadKey) as refused:
        keys.read(tmp_path / "daemon.key")
    assert refused.value.hint == "Make one with: voidbridge keys make daemon"


def test_a_folder_or_a_link_to_an_open_file_is_no_key(tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    keys.write(open_to_all, keys.make())
    open_to_all.chmod(0o644)
    (tmp_path / "client.key").symlink_to(open_to_all)
    with pytest.raises(BadKey, match="0644"):
        keys.read(tmp_path / "client.key")
    with pytest.raises(BadKey):
        keys.read(tmp_path)


def test_public_keys_begin_with_a_letter_or_digit() -> None:
    assert all(keys.make().public[0].isalnum() for _ in range(50))


@pytest.mark.parametrize(
    ("address", "needed"),
    [
        ("tcp://127.0.0.1:5577", False),
        ("tcp://localhost:5577", False),
        ("tcp://[::1]:5577", False),
        ("ipc:///run/vb/ctl", False),
        ("tcp://10.0.0.5:5577", True),
        ("tcp://render7:5577", True),
        ("tcp://localhost.studio.lan:5577", True),
        ("tcp://127.0.0.1.nip.io:5577", True),
    ],
)
def test_what_passes_a_network_needs_keys(address: str, needed: bool) -> None:
    assert keys.are_needed(address) is needed


def test_nothing_is_sent_over_a_network_without_keys() -> None:
    with (
        pytest.raises(KeysDiffer, match="over a network"),
        Client("tcp://192.0.2.1:5577", user="ana", software="test"),
    ):
        pass


# -- a client that is not let in --------------------------------------------------------------------


@contextmanager
def guarded(pair: Pair | None, allowed: set[str]) -> Iterator[str]:
    """A socket that asks for keys, as a daemon's does, and lets these in; nothing behind it answers."""
    with zmq.Context() as context:
        ended = threading.Event()
        zap = context.socket(zmq.REP)
        zap.bind("inproc://zeromq.zap.01")

        def auth() -> None:
            while not ended.is_set():
                if zap.poll(20):
                    version, number, *_, key = zap.recv_multipart()
                    code = b"200" if z85.encode(key).decode() in allowed else b"400"
                    zap.send_multipart([version, number, code, b"", b"", b""])
            zap.close(0)

        thread = threading.Thread(target=auth)
        thread.start()
        with context.socket(zmq.ROUTER) as router:
            router.linger = 0
            if pair:
                router.curve_server = True
                router.curve_secretkey = pair.secret.encode()
            port = router.bind_to_random_port("tcp://127.0.0.1")
            try:
                yield f"tcp://127.0.0.1:{port}"
            finally:
                ended.set()
                thread.join()


def refusal(address: str, with_keys: Keys | None, patience: float = 120.0) -> DaemonError:
    with (
        pytest.raises(DaemonError) as refused,
        Client(address, user="ana", software="test", patience=patience, keys=with_keys),
    ):
        pass
    return refused.value


def test_each_way_not_to_fit_has_an_error_of_its_own() -> None:
    daemon, mine, other = keys.make(), keys.make(), keys.make()
    with guarded(daemon, {mine.public}) as address:
        assert type(refusal(address, Keys(other, daemon.public))) is UnknownKey
        assert type(refusal(address, Keys(mine, other.public))) is WrongDaemon
        plain = refusal(address, None)
        assert type(plain) is KeysDiffer
        assert "requires keys" in plain.text
        silent = refusal(address, Keys(mine, daemon.public), patience=0.3)
        assert type(silent) is DaemonUnavailable, "let in: only nobody answers"
    with guarded(None, set()) as address:
        expects = refusal(address, Keys(mine, daemon.public))
        assert type(expects) is KeysDiffer
        assert "uses no keys" in expects.text


def test_a_refusal_at_once_is_heard_by_a_client_that_is_slow_to_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Slow(zmq.Socket[bytes]):
        def connect(self, addr: str) -> Any:
            done = super().connect(addr)
            time.sleep(0.05)  # the other side answers before this one goes on
            return done

    monkeypatch.setattr(zmq.Context, "_socket_class", Slow)
    for _ in range(12):  # which side notices first is random
        with guarded(keys.make(), set()) as address:
            assert type(refusal(address, None, patience=0.1)) is KeysDiffer


def test_what_listens_is_told_by_its_greeting() -> None:
    with guarded(keys.make(), set()) as address:
        assert zmtp_probe.mechanism(address) == "CURVE"
    with guarded(None, set()) as address:
        assert zmtp_probe.mechanism(address) == "NULL"
    assert zmtp_probe.mechanism(address) is None


def test_a_web_server_is_no_daemon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            with line:
                line.recv(10)
                line.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        assert zmtp_probe.mechanism(f"tcp://127.0.0.1:{server.getsockname()[1]}") == ""
        thread.join()
