"""What a TD asks for: one test frame, many nodes at once, a plain Read, old versions, and what a site adds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from voidbridge_scripts import FRAMES, given, node_of, plate, remove, script, with_echo
from voidbridge_shots import same_bits


def test_a_test_frame_is_a_version_of_the_frame_in_the_viewer(
    host: Any, shot: Any, daemon: Any
) -> None:
    from voidbridge_nuke import controller

    node = with_echo(node_of(host, shot), daemon)
    host.stage.frame = 1002
    host.stage.press("test_frame", node)
    host.stage.until(lambda: not controller.RUNNING, "the job to end")
    assert node["status"].value() == "out of date: frames changed since v001"
    assert (node["result_first"].value(), node["result_last"].value()) == (1002, 1002)
    assert node["frame_range"].value() == "the plate's"
    assert not same_bits(given(host, node, 1002)["R"], plate(shot, 1002)["R"])
    assert same_bits(given(host, node, 1003)["R"], plate(shot, 1003)["R"])
    assert remove(host, node) == "done: v002, frames 1001-1003"


def test_all_selected_nodes_start_and_their_problems_are_one_message(
    host: Any, shot: Any, daemon: Any
) -> None:
    from voidbridge_nuke import controller

    good = with_echo(node_of(host, shot), daemon)
    lost = host.stage.load(script(shot, matte=False))[-1]
    host.stage.selection = [lost, good.input(0), good]
    exec(host.stage.commands["Start selected nodes"], {})
    (message,) = host.stage.messages
    assert message.startswith(f"{lost.name()}: Nothing is connected to the input matte")
    assert list(controller.RUNNING) == [good["node_id"].value()]
    host.stage.until(lambda: not controller.RUNNING, "the job to end")
    assert good["status"].value() == "done: v001, frames 1001-1003"
    host.stage.selection = []
    exec(host.stage.commands["Start selected nodes"], {})
    assert host.stage.messages[-1] == "No Voidbridge node is selected."


def test_a_plain_read_of_the_result_is_made_beside_the_node(
    host: Any, shot: Any, daemon: Any
) -> None:
    node = with_echo(node_of(host, shot), daemon)
    host.stage.press("make_read", node)
    assert "There is no result yet" in host.stage.messages[-1]
    remove(host, node)
    host.stage.press("make_read", node)
    read = host.stage.root.nodes()[-1]
    assert (read.Class(), read.name()) == ("Read", "Voidbridge1_result")
    assert (read["first"].value(), read["last"].value()) == (FRAMES[0], FRAMES[-1])
    assert same_bits(host.picture(read, 1002)["R"], given(host, node, 1002)["R"])


def test_old_versions_are_deleted_after_a_question_with_their_sizes(
    host: Any, shot: Any, daemon: Any
) -> None:
    node = with_echo(node_of(host, shot), daemon)
    for grow in (0, 1, 2):
        node["grow"].setValue(grow)
        remove(host, node)
    home = Path(node["result_files"].value()).parents[1]
    (home / "v002/notes.txt").write_text("mine")
    (home / "v001/job.json").write_text('[["voidb')  # at work, as far as anybody knows
    host.stage.press("purge", node)
    assert host.stage.messages[-1].startswith("Delete v002 (1 MB): 1 MB in all?")
    (home / "v001/job.json").unlink()
    host.stage.press("purge", node)
    assert host.stage.messages[-1].startswith("Delete v001 (1 MB), v002 (1 MB): 1 MB in all?")
    assert sorted(path.name for path in home.iterdir()) == ["v001", "v002", "v003"]
    host.stage.says_yes = True
    host.stage.press("purge", node)
    assert "v002 could be deleted" in host.stage.messages[-1]
    assert sorted(path.name for path in home.iterdir()) == ["v002", "v003"]
    assert (home / "v002/notes.txt").read_text() == "mine"
    assert node["version_shown"].values() == ["none", "v003"]
    assert node["status"].value() == "done: v003, frames 1001-1003"


def test_old_versions_are_moved_to_an_archive_and_one_comes_back_by_copying(
    host: Any, shot: Any, daemon: Any, tmp_path: Path
) -> None:
    node = with_echo(node_of(host, shot), daemon)
    for grow in (0, 1):
        node["grow"].setValue(grow)
        remove(host, node)
    host.stage.press("archive", node)
    assert host.stage.messages[-1].startswith("No archive folder is named.")
    node["archive_to"].setValue(f"{tmp_path.as_posix()}/Archiv für Läufe")
    home = Path(node["result_files"].value()).parents[1]
    host.stage.press("archive", node)
    assert host.stage.messages[-1].startswith(f"Move to {tmp_path.as_posix()}/Archiv")
    assert (home / "v001").is_dir(), "nothing happens without a yes"
    host.stage.says_yes = True
    shutil.copytree(home / "v001", home / "v000")
    other = tmp_path / "Archiv für Läufe" / home.name / "v001"
    other.mkdir(parents=True)
    (other / "manifest.json").write_text('{"files": {}}')
    count = len(host.stage.messages)
    host.stage.press("archive", node)
    host.stage.until(lambda: len(host.stage.messages) == count + 2, "the failure of the second")
    assert "1 of 2 versions are in the archive, 1 of them moved: v000" in host.stage.messages[-1]
    assert node["version_shown"].values() == ["none", "v001", "v002"]
    shutil.rmtree(other)
    count = len(host.stage.messages)
    host.stage.press("archive", node)
    host.stage.until(lambda: len(host.stage.messages) == count + 2, "the end of the archive")
    assert "1 versions lie in" in host.stage.messages[-1]
    assert sorted(path.name for path in home.iterdir()) == ["v002"]
    assert node["version_shown"].values() == ["none", "v002"]
    node["version_shown"].setValue("none")
    host.stage.press("archive", node)
    host.stage.until(lambda: not any(home.iterdir()), "the archive of the last one")
    remove(host, node)
    assert node["version_shown"].values() == ["none", "v003"], "v001 and v002 are in the archive"
    kept = tmp_path / "Archiv für Läufe" / home.name / "v001"
    assert (kept / "manifest.json").is_file()
    shutil.copytree(kept, home / "v001")
    node["grow"].setValue(0)
    for call in host.stage.on_load:
        call()
    assert node["status"].value() == "done: v001, frames 1001-1003"


def test_an_estimate_comes_from_the_daemons_own_record_and_says_so(
    host: Any, shot: Any, daemon: Any
) -> None:
    node = with_echo(node_of(host, shot), daemon, steps=7)  # no other test has these settings

    def asked() -> str:
        count = len(host.stage.messages)
        host.stage.press("estimate", node)
        host.stage.until(lambda: len(host.stage.messages) > count, "the estimate")
        return str(host.stage.messages[-1])

    assert "not known: no job of remove by echo with these settings was measured" in asked()
    assert remove(host, node).startswith("done")
    told = asked()
    assert told.startswith("About ")
    assert "Measured: 1 job of remove by echo with these settings, 3 frames of " in told
    assert " on cpu." in told
    host.stage.views = ["left", "right"]
    assert asked().startswith("For each of 2 views: About ")


def test_a_farm_gets_the_task_and_the_render_behind_it_and_the_site_sends_them(
    host: Any, shot: Any, daemon: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import voidbridge_nuke

    def pressed() -> str:
        count = len(host.stage.messages)
        host.stage.press("submit", node)
        host.stage.until(lambda: len(host.stage.messages) > count, "the farm's files")
        return str(host.stage.messages[-1])

    records: list[dict[str, Any]] = []
    voidbridge_nuke.add_submitted(records.append)
    node = with_echo(node_of(host, shot), daemon, farm="tractor")
    assert pressed().startswith("The script was never saved.")
    host.root()["name"].setValue(f"{tmp_path.as_posix()}/shot 10.nk")
    host.stage.modified = True
    assert pressed().startswith("The script has changes that are not saved.")
    host.stage.modified = False
    for name, frame in (("first_frame", 1001), ("last_frame", 1100)):
        host.root()[name].setValue(frame)
    told = pressed()
    assert told.endswith("Send them there: tractor-spool job.alf")
    script = (Path(records[0]["folder"]) / "job.alf").read_text()
    task = script.index(
        "voidbridge_farm.py} {" + f"{tmp_path.as_posix()}/shot 10.nk" + "} {--node=Voidbridge1}"
    )
    then = script.index(
        "RemoteCmd {{nuke} {-x} {" + f"{tmp_path.as_posix()}/shot 10.nk" + "} {1001,1100}}"
    )
    assert script.index("-subtasks {\n  Task {shot 1}") < task < then, (
        "the render waits for the task"
    )
    node["farm"].setValue("deadline")
    node["farm_then"].setValue("hbatch later.hip")
    monkeypatch.setenv("HOST_VOIDBRIDGE_SUBMIT", "cat then_commands.txt")
    assert pressed() == "The farm has the job: hbatch later.hip"
    assert [record["sent"] for record in records] == [False, True]
    monkeypatch.setenv("HOST_VOIDBRIDGE_SUBMIT", "false")
    assert "false ended with 1" in pressed()


def test_a_new_node_has_the_sites_values_and_a_loaded_one_keeps_its_own(
    host: Any, shot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "site.json"
    path.write_text(json.dumps({"remove": {"daemon": "tcp://box:5577", "grow": 4}}))
    monkeypatch.setenv("NUKE_VOIDBRIDGE_DEFAULTS", str(path))
    node = node_of(host, shot)
    assert (node["daemon"].value(), node["grow"].value()) == ("tcp://box:5577", 4)
    node["grow"].setValue(9)
    loaded = script(shot).replace(' node_id ""', ' node_id "abc"').replace("\n grow 8", "\n grow 9")
    assert host.stage.load(loaded)[-1]["grow"].value() == 9


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ('{"remove": {"speed": 1}}', "the unknown knob speed"),
        ('{"remove": {"engine": "magic"}}', "give engine the value 'magic'"),
        ('{"remove": {"grow": "4"}}', "give grow the value '4'"),
    ],
)
def test_defaults_that_do_not_fit_are_said_by_the_new_node(
    host: Any, shot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    (tmp_path / "site.json").write_text(text)
    monkeypatch.setenv("NUKE_VOIDBRIDGE_DEFAULTS", str(tmp_path / "site.json"))
    node = node_of(host, shot)
    assert said in node["status"].value()
    assert node["node_id"].value()


def test_a_site_is_called_with_each_finished_result_and_its_errors_stop_nothing(
    host: Any, shot: Any, daemon: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    import voidbridge_nuke

    records: list[dict[str, Any]] = []

    def fail(record: dict[str, Any]) -> None:
        raise ValueError("the tracker is down")

    voidbridge_nuke.add_published(fail)
    voidbridge_nuke.add_published(records.append)
    node = with_echo(node_of(host, shot), daemon)
    assert remove(host, node) == "done: v001, frames 1001-1003"
    (record,) = records
    assert (record["node"], record["version"], record["frames"]) == (
        "Voidbridge1",
        "v001",
        (1001, 1003),
    )
    assert Path(record["files"].replace("%V", "main") % 1002).is_file()
    assert record["settings"]["engine"] == "echo"
    assert "the tracker is down" in capsys.readouterr().err
