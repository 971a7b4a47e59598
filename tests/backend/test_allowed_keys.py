"""The list of allowed keys: read as it is now, edited whole, and trusted only when nobody else can write it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from voidbridge_backend.daemon.net import allowed_keys
from voidbridge_backend.daemon.net.allowed_keys import AllowList, Identity
from voidbridge_backend.daemon.net.endpoints import Endpoints
from voidbridge_protocol.errors import BadKey
from voidbridge_protocol.wire import keys

ANA, BEN, ROOT = (keys.make().public for _ in range(3))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "allowed"


def test_what_is_allowed_is_let_in_and_what_is_revoked_is_not(path: Path) -> None:
    allowed = AllowList(path)
    assert (allowed.identity(ANA), len(allowed)) == (None, 0)
    allowed_keys.allow(path, Identity("ana", ANA))
    allowed_keys.allow(path, Identity("root", ROOT, admin=True))
    assert allowed.identity(ANA) == Identity("ana", ANA)
    assert allowed.identity(ROOT) == Identity("root", ROOT, admin=True)
    assert allowed.identity(BEN) is None
    assert allowed_keys.revoke(path, "ana") == [Identity("ana", ANA)]
    assert allowed.identity(ANA) is None
    assert allowed.identity(ROOT)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_user_may_have_several_keys_and_loses_one_or_all(path: Path) -> None:
    for key in (ANA, BEN, ROOT):
        allowed_keys.allow(path, Identity("ana", key))
    assert allowed_keys.revoke(path, BEN) == [Identity("ana", BEN)]
    assert {identity.key for identity in allowed_keys.revoke(path, "ana")} == {ANA, ROOT}
    with pytest.raises(BadKey, match="no key of 'ana'"):
        allowed_keys.revoke(path, "ana")


def test_a_key_belongs_to_one_user(path: Path) -> None:
    allowed_keys.allow(path, Identity("ana", ANA))
    with pytest.raises(BadKey, match="that of ana"):
        allowed_keys.allow(path, Identity("ben", ANA, admin=True))
    assert AllowList(path).identity(ANA) == Identity("ana", ANA)


@pytest.mark.parametrize("user", ["", "a b", "#ana", "../ana", "a" * 65, "ana\nroot", "a/b"])
def test_what_is_no_name_is_not_allowed(path: Path, user: str) -> None:
    with pytest.raises(BadKey, match="not a valid user name"):
        allowed_keys.allow(path, Identity(user, ANA))
    assert not path.exists()


def test_a_list_written_by_hand_keeps_its_comments_and_its_good_lines(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    lines = [
        "# the night shift", "", f"ana   {ANA}", f"ben {BEN} Admin", "nonsense", f"cat {ANA} admin",
        f"root\t{ROOT} admin",
    ]  # fmt: skip
    path.write_text("\n".join(lines))
    path.chmod(0o600)
    with caplog.at_level(logging.WARNING):
        allowed = AllowList(path)
        assert [allowed.identity(key) for key in (ANA, BEN, ROOT)] == [
            Identity("ana", ANA), None, Identity("root", ROOT, admin=True),
        ]  # fmt: skip
    assert [line for line in ("line 4", "line 5", "line 6") if line in caplog.text] == [
        "line 4", "line 5", "line 6",
    ]  # fmt: skip
    allowed_keys.revoke(path, "root")
    assert path.read_text().splitlines() == lines[:-1]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_list_that_others_can_write_lets_nobody_in(path: Path, mode: int) -> None:
    allowed_keys.allow(path, Identity("ana", ANA))
    allowed = AllowList(path)
    assert allowed.identity(ANA)
    path.chmod(mode)
    assert allowed.identity(ANA) is None
    with pytest.raises(BadKey, match="can write"):
        allowed_keys.allow(path, Identity("ben", BEN))
    path.chmod(0o644)  # it holds no secret
    assert allowed.identity(ANA)


def test_a_list_that_is_taken_away_lets_nobody_in(path: Path) -> None:
    allowed_keys.allow(path, Identity("ana", ANA))
    allowed = AllowList(path)
    assert allowed.identity(ANA)
    path.unlink()
    assert allowed.identity(ANA) is None


def test_the_list_is_not_written_through_a_link_that_somebody_laid(path: Path) -> None:
    allowed_keys.allow(path, Identity("ana", ANA))
    elsewhere = path.parent / "elsewhere"
    elsewhere.write_text("mine")
    (path.parent / "allowed.tmp").symlink_to(elsewhere)
    allowed_keys.allow(path, Identity("ben", BEN))
    assert elsewhere.read_text() == "mine"
    assert AllowList(path).identity(BEN)


# -- whether a daemon may start ---------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "[::]", "10.0.0.5", "render7"])
def test_a_daemon_without_a_key_does_not_start_where_others_reach_it(
    tmp_path: Path, host: str
) -> None:
    with pytest.raises(BadKey, match="needs keys") as refused:
        allowed_keys.auth_of(Endpoints.of(f"tcp://{host}:5577"), tmp_path, required=False)
    assert "voidbridge keys make daemon" in refused.value.hint
    assert "voidbridge keys allow USER KEY" in refused.value.hint


def test_a_daemon_whose_key_or_list_is_open_to_others_does_not_start(tmp_path: Path) -> None:
    addresses = Endpoints.of("tcp://0.0.0.0:5577")
    keys.write(tmp_path / "daemon.key", keys.make())
    (tmp_path / "daemon.key").chmod(0o640)
    with pytest.raises(BadKey, match="0640") as refused:
        allowed_keys.auth_of(addresses, tmp_path, required=False)
    assert "chmod 600" in refused.value.hint
    (tmp_path / "daemon.key").chmod(0o600)
    (tmp_path / "allowed").write_text("")
    (tmp_path / "allowed").chmod(0o666)
    with pytest.raises(BadKey, match="can write"):
        allowed_keys.auth_of(addresses, tmp_path, required=False)


def test_a_daemon_with_a_key_starts_and_waits_for_the_first_to_be_allowed(tmp_path: Path) -> None:
    keys.write(tmp_path / "daemon.key", pair := keys.make())
    auth = allowed_keys.auth_of(Endpoints.of("tcp://0.0.0.0:5577"), tmp_path, required=False)
    assert auth
    assert (auth.own, len(auth.allowed)) == (pair, 0)


def test_on_its_own_machine_a_daemon_asks_for_keys_only_if_it_is_told_to(tmp_path: Path) -> None:
    local, unix = Endpoints.of("tcp://127.0.0.1:5577"), Endpoints.of("ipc:///run/vb/ctl")
    assert allowed_keys.auth_of(local, tmp_path, required=False) is None
    assert allowed_keys.auth_of(unix, tmp_path, required=True) is None
    with pytest.raises(BadKey):
        allowed_keys.auth_of(local, tmp_path, required=True)


def test_a_key_that_root_put_there_is_a_key(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a file to root")
    keys.write(tmp_path / "daemon.key", pair := keys.make())
    os.chown(tmp_path / "daemon.key", 0, 0)
    assert keys.read(tmp_path / "daemon.key") == pair
