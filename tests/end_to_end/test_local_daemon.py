"""The daemon that a command starts for itself has the settings of that command, all of them."""

from __future__ import annotations

import socket
import subprocess
from dataclasses import fields
from pathlib import Path

from voidbridge_shots import make_shot
from voidbridge_stage import SECONDS, command, environment, voidbridge

from voidbridge_backend.config import Config, as_environment, resolve


def other(value: object) -> object:
    """A value that is not the default one, of the same kind."""
    match value:
        case bool():
            return not value
        case int():
            return value + 7
        case Path():
            return Path("/some/where else")
        case tuple():
            return ("one", "two words")
    return "a, b = c"


def test_every_setting_survives_the_way_to_the_child() -> None:
    values = {f.name: other(f.default) for f in fields(Config)}
    values |= {"sandbox": "required", "devices": ("cpu", "cuda:1")}
    changed = Config(**values)  # type: ignore[arg-type]
    plain = resolve({}, {}, {})[0]  # where a path does not begin with ~ any more
    file = {"ocio": "/the/file/says/otherwise", "max_frames": 3}
    for config in (changed, plain):
        assert resolve(file, as_environment(config), {})[0] == config


def test_a_limit_in_the_file_of_settings_holds_for_a_temporary_daemon(tmp_path: Path) -> None:
    shot = make_shot(tmp_path, range(1001, 1004))
    config = tmp_path / "config.toml"
    config.write_text("max_frames = 2\n")
    words = ["run", shot.plate, shot.matte, "-o", tmp_path / "r.%04d.exr", "--engine", "echo"]
    done = voidbridge(*words, "--config", config, "--spool", tmp_path / "spool", "--json")
    assert done.code == 2
    assert "the job has 3 frames; this daemon allows 2" in done.event("error")["text"]


def test_a_monitoring_port_that_is_taken_stops_no_temporary_daemon(tmp_path: Path) -> None:
    shot = make_shot(tmp_path, range(1001, 1003))
    words = ["run", shot.plate, shot.matte, "-o", tmp_path / "r.%04d.exr", "--engine", "echo"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = {"VOIDBRIDGE_HTTP_PORT": str(taken.getsockname()[1])}
        done = subprocess.run(
            command(*words, "--spool", tmp_path / "spool"),
            env={**environment(), **port, "VOIDBRIDGE_REQUIRE_KEYS": "true"},
            capture_output=True,
            timeout=2 * SECONDS,
        )
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "r.1002.exr").is_file()
