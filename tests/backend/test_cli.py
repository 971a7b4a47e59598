"""Arguments become requests, and errors become exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from voidbridge_backend import cli
from voidbridge_backend.cli import options as cli_options
from voidbridge_backend.client.submission import Submission
from voidbridge_protocol.errors import BY_CODE, BadSetting
from voidbridge_protocol.operations.remove import RemoveSettings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without settings, and an environment without any."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("VOIDBRIDGE_DAEMON", "VOIDBRIDGE_SPOOL", "OCIO"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def shot(*words: str) -> Submission:
    return cli_options.removal(
        cli.parser().parse_args(["submit", "plate.####.exr", "matte.####.exr", *words])
    )


def test_an_untouched_option_is_the_protocols_default() -> None:
    assert shot().settings == RemoveSettings()


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["--engine", "void", "--passes", "2", "--steps", "30"], RemoveSettings("void", steps=30, passes=2)),
        (["--prompt", "an empty street", "--seed", "5"], RemoveSettings(prompt="an empty street", seed=5)),
        (["--matte-kind", "quadmask"], RemoveSettings(matte_kind="quadmask")),
        (["--threshold", "0.5", "--grow", "0", "--soften", "3"], RemoveSettings(threshold=0.5, grow=0, soften=3)),
        (["--detail", "0.3"], RemoveSettings(detail=0.3)),
        (["--quality", "preview"], RemoveSettings(quality="preview")),
        (["--color-space", "ARRI LogC4"], RemoveSettings(color_space="ARRI LogC4")),
    ],
)  # fmt: skip
def test_an_option_is_a_setting(words: list[str], settings: RemoveSettings) -> None:
    assert shot(*words).settings == settings


def test_patterns_and_ranges_are_understood() -> None:
    assignment = shot("--affected", "shadow.####.exr", "--frames", "1001-1003", "--handles", "4")
    assert assignment.files["plate"].path(1001) == Path("plate.1001.exr")
    assert assignment.files["affected"].path(1002) == Path("shadow.1002.exr")
    assert str(assignment.frames) == "1001-1003"
    assert assignment.handles == 4


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_the_branch_of_an_error_is_its_exit_code(code: str) -> None:
    expected = {"request": 2, "daemon": 3, "protocol": 3, "job": 4, "error": 4}
    found = cli.exit_code(BY_CODE[code]("what was wrong"))
    assert found == (5 if code == "job.cancelled" else expected[code.partition(".")[0]])


def test_an_error_is_said_to_people_and_to_programs(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "plate.exr", "matte.exr", "-o", "out.exr", "--frames", "9-1", "--json"]
    assert cli.main(words) == 2
    said = capsys.readouterr()
    event = json.loads(said.out)
    assert event["event"] == "error"
    assert (event["code"], event["exit"]) == ("request.setting", 2)
    assert "9-1 ends before it begins" in event["text"]
    assert event["text"] in said.err
    assert event["hint"] in said.err


def test_settings_come_from_file_environment_and_options(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / ".config/voidbridge/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('spool = "/from/file"\nwindow_mb = 3\n')
    monkeypatch.setenv("VOIDBRIDGE_SPOOL", "/from/environment")
    assert cli.main(["config", "--devices", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["spool"] == {
        "value": "/from/environment",
        "from": "environment",
        "temporary": False,
    }
    assert found["window_mb"] == {"value": 3, "from": "file", "temporary": True}
    assert found["devices"] == {"value": ["cpu"], "from": "command line", "temporary": True}
    private = {name for name, setting in found.items() if not setting["temporary"]}
    assert private == {"listen", "spool", "http_port", "require_keys", "ray"}


def test_the_address_of_a_daemon_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOIDBRIDGE_DAEMON", "tcp://box:5577")
    options = cli.parser().parse_args(["run", "p.exr", "m.exr", "-o", "r.exr"])
    assert cli_options.client(options).address == "tcp://box:5577"
    options = cli.parser().parse_args(["status", "--daemon", "tcp://other:1"])
    assert cli_options.client(options).address == "tcp://other:1"


@pytest.mark.parametrize(
    ("own", "found"), [(None, "/show/config.ocio"), ("/mine.ocio", "/mine.ocio")]
)
def test_ocio_is_taken_from_the_hosts_variable_unless_it_is_set(
    own: str | None, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCIO", "/show/config.ocio")
    words = ["config"] + (["--ocio", own] if own else [])
    config, _ = cli_options.config(cli.parser().parse_args(words))
    assert config.ocio == found


def test_the_settings_can_be_read_back_as_a_file(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["config", "--devices", "cpu,cuda:1"]) == 0
    written = capsys.readouterr().out
    file = home / "again.toml"
    file.write_text(written)
    assert cli.main(["config", "--config", str(file)]) == 0
    again = capsys.readouterr().out
    assert [line.split("  # ")[0] for line in again.splitlines()] == [
        line.split("  # ")[0] for line in written.splitlines()
    ]


@pytest.mark.parametrize("text", ["spool = ", 'spol = "/x"\n'])
def test_a_file_that_cannot_be_is_a_bad_request(
    text: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / "settings.toml"
    file.write_text(text)
    assert cli.main(["config", "--config", str(file)]) == 2
    assert cli.main(["config", "--config", str(home / "nowhere.toml")]) == 2
    assert "nowhere.toml cannot be read" in capsys.readouterr().err


def test_no_command_is_a_mistake_of_the_caller(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "COMMAND" in capsys.readouterr().err


def test_painted_frames_are_files_of_frames_or_a_sequence(tmp_path: Path) -> None:
    for frame in (1001, 1003):
        (tmp_path / f"paint.{frame}.exr").write_bytes(b"")
    files = shot("--clean", f"{tmp_path}/paint.####.exr", "--clean", "1002=other.exr").files[
        "clean"
    ]
    assert files.scan() == [1001, 1002, 1003]
    assert files.path(1002) == Path("other.exr")
    assert files.path(1003) == tmp_path / "paint.1003.exr"
    assert "clean" not in shot().files


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["1050=a.exr", "1050=b.exr"], "--clean names two files for frame 1050: a.exr and b.exr"),
        (["1050="], "--clean '1050=' names no frame and file"),
        (["=a.exr"], "--clean '=a.exr' names no frame and file"),
    ],
)
def test_painted_frames_that_are_not_clear_are_refused(words: list[str], text: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(text)):
        shot(*(part for word in words for part in ("--clean", word)))
