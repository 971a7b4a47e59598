"""The command `keys`, and what `serve` and clients make of keys."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from voidbridge_stage import Finished, command, environment

from voidbridge_backend import cli
from voidbridge_backend.cli import keys as key_commands
from voidbridge_backend.config import Config
from voidbridge_protocol.errors import BadKey
from voidbridge_protocol.wire import keys


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # nobody's own keys are touched
    return tmp_path / "keys"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> Finished:
    code = cli.main([str(word) for word in words])
    said = capsys.readouterr()
    return Finished(code, said.out, said.err)


def test_from_making_a_key_to_being_let_in_no_more(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ("--keys", folder)
    made = run(capsys, "keys", "make", *there)
    public = made.out.strip()
    assert public == keys.read(folder / "client.key").public
    assert run(capsys, "keys", "show", *there).out.strip() == public
    assert shlex.quote(public) in made.err or shlex.quote(public) == public
    daemon = run(capsys, "keys", "make", "daemon", *there).out.strip()
    assert json.loads(run(capsys, "keys", "show", "daemon", "--json", *there).out) == {
        "whose": "daemon", "key": daemon,
    }  # fmt: skip

    assert "allows no keys" in run(capsys, "keys", *there).err
    assert run(capsys, "keys", "allow", "ana", public, "--admin", *there).code == 0
    assert run(capsys, "keys", "list", *there).out == f"ana {public} admin\n"
    assert json.loads(run(capsys, "keys", "--json", *there).out) == {
        "user": "ana", "key": public, "admin": True,
    }  # fmt: skip
    assert run(capsys, "keys", "revoke", public, *there).code == 0
    assert run(capsys, "keys", *there).out == ""


def test_a_key_is_replaced_only_if_that_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(capsys, "keys", "make", "--keys", folder).out
    again = run(capsys, "keys", "make", "--keys", folder)
    assert (again.code, again.out) == (2, "")
    assert "--replace" in again.err
    other = run(capsys, "keys", "make", "--replace", "--keys", folder)
    assert other.code == 0
    assert other.out != first
    assert keys.read(folder / "client.key").public == other.out.strip()


@pytest.mark.parametrize(
    "words",
    [
        ("sing",),
        ("make", "ana"),
        ("show", "daemon", "more"),
        ("allow", "ana"),
        ("allow", "ana", "no key"),
        ("revoke",),
        ("revoke", "nobody"),
        ("list", "all"),
    ],
)
def test_what_makes_no_sense_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    refused = run(capsys, "keys", *words, "--keys", folder)
    assert (refused.code, refused.out) == (2, "")
    assert "[request.key]" in refused.err
    assert not folder.exists()


def test_a_client_uses_keys_where_a_daemons_key_is_named(folder: Path) -> None:
    daemon, mine = keys.make(), keys.make()
    keys.write(folder / "client.key", mine)
    named = Config(keys=folder, server_key=daemon.public)
    for address in ("tcp://127.0.0.1:5577", "tcp://render7:5577"):
        assert key_commands.client_keys(named, address) == keys.Keys(mine, daemon.public)
    assert key_commands.client_keys(named, "ipc:///run/vb/ctl") is None
    assert key_commands.client_keys(named, "") is None, "an embedded daemon asks for none"
    assert key_commands.client_keys(Config(keys=folder), "tcp://render7:5577") is None
    with pytest.raises(BadKey, match="--server-key"):
        key_commands.client_keys(Config(keys=folder, server_key="short"), "tcp://render7:5577")


def serve(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("serve", *words), capture_output=True, text=True, env=environment(), timeout=120
    )


def test_serve_does_not_start_where_others_reach_it_without_a_key(tmp_path: Path) -> None:
    refused = serve("--listen", "tcp://0.0.0.0:5599", "--keys", tmp_path, "--spool", tmp_path / "s")
    assert refused.returncode == 2
    assert "[request.key]" in refused.stderr
    assert "voidbridge keys make daemon" in refused.stderr
    assert "voidbridge keys allow USER KEY" in refused.stderr
    assert not (tmp_path / "s").exists(), "refused before anything was made"


@pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets")
def test_a_unix_socket_is_private_and_so_is_its_folder(tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o755)
    refused = serve("--listen", f"ipc://{open_to_all}/ctl", "--spool", tmp_path / "s")
    assert refused.returncode == 2
    assert f"chmod 700 {open_to_all}" in refused.stderr
    assert not list(open_to_all.iterdir())
    abstract = serve("--listen", "ipc://@voidbridge", "--spool", tmp_path / "s")
    assert abstract.returncode == 2
    assert "every user of the machine" in abstract.stderr
