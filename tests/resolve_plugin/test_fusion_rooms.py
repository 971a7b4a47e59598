"""The rooms of the Lua module that touch no Fusion: tables in, tables out."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from voidbridge_fusion_tools import plain
from voidbridge_job_table import JOBS

from voidbridge_backend import cli
from voidbridge_backend.cli import options as cli_options
from voidbridge_backend.cli.commands.key import key_submission
from voidbridge_nuke.child_environment import KEEP, child_environment, rules
from voidbridge_protocol.operations.key import KeySettings
from voidbridge_protocol.operations.remove import RemoveSettings

UNSET = -1000000000


@pytest.fixture
def lua(host: Any) -> Any:
    return host.lua


def table(lua: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return lua.table_from({k: table(lua, v) for k, v in value.items()})
    if isinstance(value, (list, tuple)):
        return lua.table_from([table(lua, v) for v in value])
    return value


# -- json ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        {
            "a": [1, 2.5, -3e-4],
            "b": {"c": True, "d": False},
            "text": 'a "b" \\ / \n\t\x07 ü \U0001f600',
        },
        ["", "x", [["deep"]]],
        {"frames": [0, 99]},
        3,
    ],
)
def test_what_python_writes_is_read_and_the_other_way_round(host: Any, value: Any) -> None:
    room = host.module("voidbridge.json")
    for ascii_only in (True, False):
        assert plain(room.decode(json.dumps(value, ensure_ascii=ascii_only, indent=1))) == value
    assert json.loads(room.encode(room.decode(json.dumps(value)))) == value


@pytest.mark.parametrize("text", ["", "{", '{"a"', '{"a": tru', "[1, 2", '"\\x"', "{'a': 1}", None])
def test_what_is_no_json_is_nothing(host: Any, text: str | None) -> None:
    assert host.module("voidbridge.json").decode(text) is None


def test_null_is_left_out(host: Any) -> None:
    assert plain(host.module("voidbridge.json").decode('{"a": null, "b": 1}')) == {"b": 1}


# -- frames -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [
        (UNSET, UNSET, [0, 99]),
        (10.0, 20.0, [10, 20]),
        (9.9999999, 20.0000001, [10, 20]),
        (UNSET, 5.0, [0, 5]),
    ],
)
def test_the_range_of_a_comp(host: Any, start: float, end: float, wanted: list[int]) -> None:
    attributes = {
        "COMPN_RenderStart": start, "COMPN_RenderEnd": end,
        "COMPN_GlobalStart": 0.0, "COMPN_GlobalEnd": 98.9999999,
    }  # fmt: skip
    found = host.module("voidbridge.frames").of_comp(table(host.lua, attributes))
    assert plain(found) == wanted


def test_handles_end_where_the_comp_ends(host: Any) -> None:
    room = host.module("voidbridge.frames")
    for handles, wanted in ((0, [5, 8]), (3, [2, 11]), (9, [0, 12])):
        found = room.with_handles(table(host.lua, [5, 8]), handles, table(host.lua, [0, 12]))
        assert plain(found) == wanted


def test_names_of_files(host: Any) -> None:
    room = host.module("voidbridge.frames")
    assert [room.file("plate", n) for n in (0, 1001, 123456)] == [
        "plate.0000.exr", "plate.1001.exr", "plate.123456.exr",
    ]  # fmt: skip


# -- request ------------------------------------------------------------------------------------------


def resolved(host: Any, name: str = "remove", **changes: Any) -> tuple[Any, Any]:
    """The request of defaults with changes and every input that is no list of frames, and its room."""
    controls = host.module("voidbridge.controls")
    operation = host.module("voidbridge.operations")[name]
    known = [c for c in operation["controls"].values() if controls.holds_value(c)]
    values = {c["name"]: c["default"] for c in known} | {"color_space": "ACEScg", **changes}
    sources = {
        "remove": {"plate": "p", "matte": "m"},
        "key": {"plate": "p", "screen": "s"},
        "mask": {"plate": "p"},
    }[name]
    scene = table(host.lua, {"range": [0, 99], "bounds": [0, 99], "sources": sources})
    scene["operation"] = operation
    room = host.module("voidbridge.request")
    return room.resolve(table(host.lua, values), scene), room


def test_the_words_are_understood_by_the_command_as_they_are_meant(host: Any) -> None:
    request, room = resolved(
        host, frame_range="custom", first=2, last=9, handles=4, frame_offset=1001, seed=2**31 - 1,
        prompt="--a 'quoted'\nstreet, 100%", threshold=0.25, grow=3, engine="void", passes="2",
        detail=0.5, quality="preview", daemon=" tcp://127.0.0.1:5577 ", priority=-3, grain="off", region="track",
        allow_full_matte=True, half_rate=True,
    )  # fmt: skip
    options = cli.parser().parse_args(plain(room.words(request)))
    shot = cli_options.removal(options)
    assert (str(shot.frames), shot.handles, shot.priority) == ("1003-1010", 4, -3)
    settings = shot.settings
    assert isinstance(settings, RemoveSettings)
    assert settings.prompt == "--a 'quoted' street, 100%"
    assert (settings.seed, settings.threshold, settings.grow) == (2**31 - 1, 0.25, 3)
    assert (settings.engine, settings.passes, settings.detail) == ("void", 2, 0.5)
    assert settings.is_preview
    assert settings.allow_full_matte
    assert settings.half_rate
    assert (settings.grain, settings.region, settings.color_space) == ("off", "track", "ACEScg")
    assert (options.daemon, str(options.status_file)) == ("tcp://127.0.0.1:5577", "status.json")


def test_the_words_of_a_key_are_understood_by_its_command(host: Any) -> None:
    request, room = resolved(
        host, "key", screen_color="picked", screen_red=0.1, screen_green=0.5, screen_blue=0.2,
        screen_frames="7,9-10", despill=0.25, core=3, garbage=90, handles=4, frame_offset=1001,
    )  # fmt: skip
    assert plain(request.listed) == {"screen": [7, 9, 10]}
    job = key_submission(cli.parser().parse_args(plain(room.words(request))))
    assert {role: str(files) for role, files in job.files.items()} == {
        "plate": "plate.%04d.exr", "screen": "screen.%04d.exr",
    }  # fmt: skip
    assert (str(job.frames), job.handles) == ("1001-1100", 4)
    assert job.settings == KeySettings(
        color_space="ACEScg", screen_color="0.1 0.5 0.2", despill=0.25, core=3, garbage=90
    )
    green, _ = resolved(host, "key", screen_color="green", screen_red=0.3)
    other, _ = resolved(host, "key", screen_color="green")
    assert plain(room.differences(room.described(green), room.described(other))) == {}


def test_what_makes_the_result_is_described_and_compared(host: Any) -> None:
    one, room = resolved(host)
    other, _ = resolved(host, grow=9, seed=4, daemon="tcp://127.0.0.1:1", priority=5)
    described = [room.described(request) for request in (one, other)]
    assert plain(room.differences(*described)) == ["grow", "seed"]
    again = plain(described[0])
    assert again["frames"] == "0-99"
    assert plain(room.differences(described[0], table(host.lua, again))) == {}


# -- status -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seen", "phase", "words"), [({}, "waiting", "not started yet"), *JOBS])
def test_how_a_job_stands(host: Any, seen: dict[str, Any], phase: str, words: str) -> None:
    found, line, _ = host.module("voidbridge.status").judged(table(host.lua, {"now": 1000, **seen}))
    assert found == phase
    assert words in line


# -- the child's script -----------------------------------------------------------------------------


HOST = "/opt/resolve with a blank"
GIVEN = {
    "PATH": "/bin:/usr/bin", "PYTHONHOME": HOST, "LD_PRELOAD": "", "SSL_CERT_FILE": f"{HOST}/c.pem",
    "LD_LIBRARY_PATH": f"{HOST}/libs:/usr/lib/nvidia:{HOST}", "QT_PLUGIN_PATH": f"{HOST}/qt", "OCIO": "/c.ocio",
    "DYLD_LIBRARY_PATH": HOST,
}  # fmt: skip


@pytest.mark.parametrize("keep", ["", "PYTHONHOME,LD_LIBRARY_PATH"])
def test_a_child_of_fusion_has_the_environment_that_a_child_of_nuke_has(
    host: Any, tmp_path: Path, keep: str
) -> None:
    """The same rules, in a shell."""
    host.environment["HOST_VOIDBRIDGE_KEEP"] = keep
    host.lua.globals().FOLDER = HOST
    host.lua.execute("require('voidbridge.system').host_folder = function() return FOLDER end")
    words = table(host.lua, ["/usr/bin/env", "-0"])
    tool = tmp_path / "environment"
    tool.write_text("#!/bin/sh\nenv -0\n")
    tool.chmod(0o755)
    launch = host.module("voidbridge.launch")
    assert launch.prepare(str(tmp_path), table(host.lua, [str(tool)]), words)
    given = {**GIVEN, KEEP: keep}
    subprocess.run(launch.by_hand(str(tmp_path)), shell=True, check=True, env=given)
    found = dict(
        part.split("=", 1) for part in (tmp_path / "said.txt").read_text().split("\0")[:-1]
    )
    wanted = child_environment(given, HOST, rules())
    assert {n: v for n, v in found.items() if n not in ("PWD", "SHLVL", "_", "OLDPWD")} == wanted


def test_a_command_reaches_the_shell_as_it_is(host: Any, tmp_path: Path) -> None:
    launch = host.module("voidbridge.launch")
    folder = tmp_path / 'it\'s ä $HOME "folder"'
    folder.mkdir()
    tool = folder / "print me"
    tool.write_text('#!/bin/sh\nprintf "%s|" "$@" "$PYTHONHOME" "$PYTHONIOENCODING"\nexit 7\n')
    tool.chmod(0o755)
    words = table(host.lua, ["one", "two words"])
    assert launch.prepare(str(folder), table(host.lua, [str(tool), "-m", "x'y"]), words)
    assert (folder / "arguments.txt").read_text() == "one\ntwo words\n"
    by_hand = launch.by_hand(str(folder))
    assert shlex.split(by_hand) == ["sh", str(folder / "start.sh")]
    for _ in range(2):
        subprocess.run(
            by_hand, shell=True, check=True, env={"PYTHONHOME": "/host", "PATH": "/bin:/usr/bin"}
        )
    assert (folder / "said.txt").read_text() == "-m|x'y|@arguments.txt||utf-8|"
    assert launch.exit_code(str(folder)) == 7
    launch.clean(str(folder))
    assert [path.name for path in folder.iterdir()] == ["print me"]


def test_the_script_for_windows_quotes_and_doubles_what_it_must(host: Any) -> None:
    text = host.module("voidbridge.launch").script(
        table(host.lua, ["C:/Prügramme/100% void/voidbridge.exe", "-m"]), True
    )
    lines = text.split("\r\n")
    assert lines[0] == "@echo off"
    assert (
        '"C:\\Prügramme\\100%% void\\voidbridge.exe" "-m" @arguments.txt > said.txt 2>&1 < nul'
        in lines
    )
    assert 'cd /d "%~dp0" || exit /b 2' in lines
    assert "> ended.txt echo %errorlevel%" in lines
    assert 'for /f "delims==" %%n in (\'set PYTHON 2^> nul\') do set "%%n="' in lines
    assert 'set "SSL_CERT_FILE="' in lines
    host.environment["HOST_VOIDBRIDGE_KEEP"] = "PYTHONPATH,QT_X"
    kept = host.module("voidbridge.launch").script(table(host.lua, ["x"]), True)
    assert 'set PYTHON 2^> nul ^| findstr /v /b "PYTHONPATH= QT_X="\'' in kept
    assert "\n" not in text.replace("\r\n", "")


# -- folders --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cache", "comp", "wanted"),
    [
        ("D:\\cache\\", "", "D:/cache/id"),
        ("//server/share/c", "", "//server/share/c/id"),
        ("", "/shots/010/shot_010.comp", "/shots/010/voidbridge/id"),
        ("", "C:\\Projekte\\a.comp", "C:/Projekte/voidbridge/id"),
        ("vb\\x", "C:\\Projekte\\a.comp", "C:/Projekte/vb/x/id"),
    ],
)
def test_where_results_go(host: Any, cache: str, comp: str, wanted: str) -> None:
    assert host.module("voidbridge.cache").home(cache, comp, "id") == wanted


def test_a_comp_that_is_no_file_has_its_results_in_the_home_folder(host: Any) -> None:
    found = host.module("voidbridge.cache").home("", "", "id")
    assert found == f"{host.folder}/Voidbridge/id"


def test_folders_files_and_what_they_hold(host: Any, tmp_path: Path) -> None:
    system = host.module("voidbridge.system")
    folder = f"{tmp_path}/ä b/c"
    system.make_folders(folder)
    assert system.make_folder(folder) is False
    assert system.write(f"{folder}/x", "one\x00two")
    assert system.rename(f"{folder}/x", f"{folder}/y")
    assert system.read(f"{folder}/y") == "one\x00two"
    assert not system.exists(f"{folder}/x")
    assert system.read(f"{folder}/x") is None
    assert not system.remove_folder(folder)
    assert system.remove(f"{folder}/y")
    assert system.remove_folder(folder)
    assert system.write(f"{folder}/z", "") is False
