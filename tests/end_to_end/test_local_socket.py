"""Where a daemon listens unless told otherwise: a socket of its user alone, and where clients look for it."""

import stat
from pathlib import Path

import pytest
from voidbridge_machine import short_folder
from voidbridge_stage import daemon, voidbridge

from voidbridge_backend.config import Config
from voidbridge_protocol.wire.local_socket import LOCAL, resolved


def test_a_daemon_without_an_address_is_for_its_user_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Config().listen == LOCAL
    with short_folder("vbr") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        with daemon(address=LOCAL):
            path = Path(resolved(LOCAL).removeprefix("ipc://"))
            assert path.is_relative_to(runtime)
            for each in (path, path.with_name("ctl.bulk")):
                assert stat.S_IMODE(each.stat().st_mode) & 0o077 == 0
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            found = voidbridge("status")  # asks there too
            assert found.code == 0, found.err


def test_any_other_address_stays_as_it_is() -> None:
    for address in ("tcp://127.0.0.1:5577", "ipc:///run/voidbridge/ctl", ""):
        assert resolved(address) == address


def test_without_a_runtime_folder_the_socket_lies_in_the_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert resolved(LOCAL) == f"ipc://{Path.home()}/.cache/voidbridge/sockets/ctl"
