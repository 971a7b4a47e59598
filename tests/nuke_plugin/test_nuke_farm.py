"""Without a GUI: the farm's task, the guard before a render, and results that came while a script was closed."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from voidbridge_shots import channels_of, echoed, make_shot, same_bits

FRAMES = range(1001, 1004)
NUKE = Path(__file__).with_name("terminal_nuke.py")

READ = """Read {{
 inputs 0
 file "{folder}/{role}.%04d.exr"
 first 1001
 last 1003
 before black
 after black
 raw true
 name {role}_read
}}
set N{role} [stack 0]
"""
WRITE = """Write {{
 file "{out}/comp.%04d.exr"
 file_type exr
 channels rgb
 raw true
 create_directories true
 name Comp
}}
"""


def knobs_set(text: str, **knobs: Any) -> str:
    """The Group's text with other values."""
    from voidbridge_nuke import node_text

    lines = text.splitlines()
    for i, line in enumerate(lines):
        name = line.strip().partition(" ")[0]
        if line.startswith(" ") and name in knobs:
            lines[i] = f" {name} {node_text.quoted(knobs[name])}"
    return "\n".join(lines)


@pytest.fixture
def shot(tmp_path: Path) -> Any:
    return make_shot(tmp_path / "plates", FRAMES)


@pytest.fixture
def script(host: Any, shot: Any, daemon: Any, tmp_path: Path) -> Path:
    """A saved script: a node that asks for `echo`, and a Write behind it."""
    from voidbridge_nuke import group

    text = group.text().replace('M {"cleanplate" "void"}', 'M {"cleanplate" "void" "echo"}')
    text = knobs_set(text, engine="echo", grow=0, soften=0, daemon=daemon.address, node_id="n1")
    reads = "".join(READ.format(folder=shot.folder.as_posix(), role=r) for r in ("matte", "plate"))
    path = tmp_path / "shot ü.nk"
    write = WRITE.format(out=(tmp_path / "out").as_posix())
    path.write_text(
        f"{reads}push 0\npush 0\npush $Nmatte\npush $Nplate\n{text}\n{write}", encoding="utf-8"
    )
    return path


@pytest.fixture
def headless(host: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(host, "GUI", False)
    return host


def farm(host: Any, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """As `nuke -t voidbridge_farm.py ...`; the exit code."""
    path = host.stage.plugin / "voidbridge_farm.py"
    monkeypatch.setattr(sys, "argv", [str(path), *words])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path))
    return int(end.value.code or 0)


def check_comp(shot: Any, folder: Path) -> None:
    for frame in FRAMES:
        hole = channels_of(shot.file("matte", frame))["A"] > 0
        wanted = echoed(channels_of(shot.file("plate", frame))["R"], hole)
        assert same_bits(channels_of(folder / f"comp.{frame}.exr")["R"], wanted)


def test_the_task_makes_the_result_and_the_render_behind_it_takes_it(
    headless: Any, script: Path, shot: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert farm(headless, monkeypatch, str(script), "--node=Voidbridge1") == 0
    err = capsys.readouterr().err
    assert err.startswith("voidbridge: done: ")
    assert err.count("\n") == 1
    headless.scriptOpen(str(script))  # another machine, with the script as it was saved
    headless.execute(headless.toNode("Comp"), 1001, 1003)
    check_comp(shot, script.parent / "out")


def test_render_nodes_that_map_paths_do_the_task_and_the_render_also_without_records(
    host: Any, script: Path, shot: Any, tmp_path: Path
) -> None:
    """Each process knows the show under its own root, and the script under that of the artist."""
    init = tmp_path / "init.py"
    init.write_text(
        "import nuke\n"
        f"nuke.addFilenameFilter(lambda path: path.replace('/Z/show', {tmp_path.as_posix()!r}))\n"
    )
    text = script.read_text(encoding="utf-8").replace(tmp_path.as_posix(), "/Z/show")
    text = knobs_set(text, cache="/Z/show/cache")
    script.write_text(text, encoding="utf-8")
    task = host.stage.plugin / "voidbridge_farm.py"
    done = terminal(host, init, "-t", task, script, "--node=Voidbridge1")
    assert done.returncode == 0, done.stderr
    rendered(host, init, script, shot)

    runpy.run_path(str(init))
    host.scriptOpen(str(script))  # the artist opens the script, and saves it with the result
    node = host.toNode("Voidbridge1")
    assert node["status"].value() == "done: v001, frames 1001-1003"
    names = ("result_files", "plate_files", "result_first", "result_last", "homes")
    kept = {name: node[name].value() for name in names}
    assert kept["result_files"].startswith("/Z/show/cache/")
    script.write_text(knobs_set(text, **kept), encoding="utf-8")
    for record in (tmp_path / "cache").rglob("*.json"):
        record.unlink()
    assert "not their record version.json" in rendered(host, init, script, shot)
    next((tmp_path / "cache").rglob("result.main.1002.exr")).unlink()
    done = terminal(host, init, "-x", script, "1001,1003")
    assert done.returncode == 1
    assert "no longer at its place" in done.stderr
    assert not list((tmp_path / "out").glob("*"))


def terminal(host: Any, init: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """A Nuke without a GUI, in a process of its own."""
    command = [sys.executable, NUKE, host.stage.plugin, host.stage.folder, init, *words]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True)


def rendered(host: Any, init: Path, script: Path, shot: Any) -> str:
    """Renders the script, looks at the pictures and deletes them. What the render said."""
    done = terminal(host, init, "-x", script, "1001,1003")
    assert done.returncode == 0, done.stderr
    check_comp(shot, script.parent / "out")
    for path in (script.parent / "out").glob("*.exr"):
        path.unlink()
    return done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--node=Nothing"], 2, "no Voidbridge node Nothing"),
        (["--node=plate_read"], 2, "There are: Voidbridge1"),
    ],
)
def test_a_task_that_cannot_be_done_ends_with_a_code_and_one_line(
    headless: Any, script: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any,
    words: list[str], code: int, said: str,
) -> None:  # fmt: skip
    assert farm(headless, monkeypatch, str(script), *words) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_script_that_is_not_there_is_a_bad_request(
    headless: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    assert farm(headless, monkeypatch, "/no/such.nk") == 2
    assert "/no/such.nk" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("knobs", "code", "said"),
    [
        ({"daemon": "tcp://127.0.0.1:9"}, 3, "voidbridge serve"),
        ({"color_space": "no such space"}, 2, "no such space"),
        ({"handles": -1}, 2, "Handles are -1"),
    ],
    ids=["no daemon", "refused by the command", "refused by the node"],
)
def test_the_exit_codes_are_those_of_the_command(
    headless: Any, script: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any,
    knobs: dict[str, Any], code: int, said: str,
) -> None:  # fmt: skip
    script.write_text(knobs_set(script.read_text(encoding="utf-8"), **knobs), encoding="utf-8")
    assert farm(headless, monkeypatch, str(script)) == code
    assert said in capsys.readouterr().err


def test_a_render_without_a_result_stops_before_its_first_frame(
    headless: Any, script: Path
) -> None:
    headless.scriptOpen(str(script))
    with pytest.raises(RuntimeError, match="not rendered") as stopped:
        headless.execute(headless.toNode("Comp"), 1001, 1003)
    assert f'"{script}" --node=Voidbridge1' in str(stopped.value)
    assert not (script.parent / "out").exists()


@pytest.mark.parametrize("what", ["a setting", "a file"])
def test_a_render_with_a_stale_or_broken_result_stops(
    headless: Any, script: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    assert farm(headless, monkeypatch, str(script)) == 0
    node = headless.toNode("Voidbridge1")
    if what == "a setting":
        node["grow"].setValue(2)
    else:
        Path(node["result_files"].value().replace("%V", "main") % 1003).unlink()
    with pytest.raises(
        RuntimeError, match="out of date" if what == "a setting" else "lacks 1 files"
    ):
        headless.execute(headless.toNode("Comp"), 1001, 1003)
    assert not (script.parent / "out").exists()


@pytest.mark.parametrize(("knob", "value"), [("disable", True), ("output", "plate")])
def test_a_node_that_gives_its_plate_stops_nothing(
    headless: Any, script: Path, knob: str, value: Any
) -> None:
    headless.scriptOpen(str(script))
    headless.toNode("Voidbridge1")[knob].setValue(value)
    headless.execute(headless.toNode("Comp"), 1001, 1001)
    assert (script.parent / "out/comp.1001.exr").exists()


def test_the_writes_inside_do_not_fire_by_themselves(headless: Any, script: Path) -> None:
    headless.scriptOpen(str(script))
    node = headless.toNode("Voidbridge1")
    enabled = [
        found.name()
        for found in headless.allNodes("Write", recurseGroups=True)
        if not found["disable"].value()
    ]
    assert enabled == ["Comp"]
    with pytest.raises(RuntimeError, match="disabled"):
        headless.execute(node.node("WritePlate"), 1001, 1001)


def test_a_result_that_came_while_the_script_was_closed_is_shown_when_it_is_opened(
    host: Any, script: Path, shot: Any
) -> None:
    from voidbridge_nuke import controller as conduct

    host.scriptOpen(str(script))
    host.stage.press("remove", host.toNode("Voidbridge1"))
    host.stage.clear()  # closed, not saved
    host.stage.until(lambda: not conduct.RUNNING, "the job to end")
    host.scriptOpen(str(script))
    node = host.toNode("Voidbridge1")
    assert node["status"].value() == "done: v001, frames 1001-1003"
    hole = channels_of(shot.file("matte", 1002))["A"] > 0
    assert not same_bits(
        host.picture(node, 1002)["R"][hole], channels_of(shot.file("plate", 1002))["R"][hole]
    )


def test_another_setting_adopts_nothing_when_it_is_opened(
    headless: Any, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert farm(headless, monkeypatch, str(script)) == 0
    script.write_text(knobs_set(script.read_text(encoding="utf-8"), seed=9), encoding="utf-8")
    headless.scriptOpen(str(script))
    assert headless.toNode("Voidbridge1")["status"].value() == "not rendered"


def test_buttons_without_a_gui_raise_and_ask_nobody(headless: Any, script: Path) -> None:
    headless.scriptOpen(str(script))
    node = headless.toNode("Voidbridge1")
    node.setInput(1, None)
    with pytest.raises(Exception, match="input matte"):
        headless.stage.press("remove", node)
    with pytest.raises(RuntimeError, match="not working"):
        headless.stage.press("cancel", node)


def test_a_node_in_a_group_is_guarded_too(headless: Any, script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    head, _, tail = text.partition("push 0\npush $Nmatte")
    inner = (
        "push 0\npush $Nmatte"
        + tail.partition('Write {\n file "' + (script.parent / "out").as_posix())[0]
    )
    write = WRITE.format(out=(script.parent / "out").as_posix())
    wrapped = f"Group {{\n inputs 0\n name Outer\n}}\n{head}{inner}\nOutput {{\n name Output1\n}}\nend_group\n"
    script.write_text(wrapped + write, encoding="utf-8")
    headless.scriptOpen(str(script))
    with pytest.raises(RuntimeError, match=r"Outer\.Voidbridge1 is not rendered"):
        headless.execute(headless.toNode("Comp"), 1001, 1001)


def test_a_real_nuke_does_the_same(plugin: Path, script: Path, shot: Any) -> None:
    nuke = os.environ.get("NUKE_EXE")
    if not nuke:
        pytest.skip("no Nuke here: set NUKE_EXE to the path of one")
    environment = {**os.environ, "NUKE_PATH": str(plugin)}
    task = [nuke, "-t", str(plugin / "voidbridge_farm.py"), str(script), "--node=Voidbridge1"]
    for words in (task, [nuke, "-x", str(script), "1001,1003"]):
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    check_comp(shot, script.parent / "out")
