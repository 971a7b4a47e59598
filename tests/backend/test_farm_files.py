"""`voidbridge farm --for`: files for Deadline, OpenCue and Tractor, read back by parsers of their formats."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import voidbridge_shots
import voidbridge_stage as stage

from voidbridge_backend import cli
from voidbridge_backend.cli import options as cli_options
from voidbridge_backend.client.farms.commands import FarmJob, farm_job
from voidbridge_backend.client.farms.deadline import deadline_files
from voidbridge_backend.client.farms.opencue import opencue_files
from voidbridge_backend.client.farms.tractor import tractor_files
from voidbridge_backend.client.openjd.bundle import HostRequirements, ShotTask, template
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.remove import RemoveSettings

SHOTS = (
    ShotTask("/s/a plate.####.exr", "/s/m.####.exr", "/s/a.####.exr", "1001-1010"),
    ShotTask("/s/b.####.exr", "/s/m.####.exr", "/s/rb.####.exr", "1-5", affected="/s/x.####.exr"),
)
THEN = ("nuke", "-x", "/s/my comp.nk", "1001,1010")
NEEDS = HostRequirements(gpus=1, vcpus=4, memory_gb=16)


def job(then: tuple[str, ...] = THEN, **changes: str) -> FarmJob:
    options = [f"--{name}={text}" for name, text in changes.items()]
    return farm_job("Show A: two shots", SHOTS, options, then, NEEDS)


RANGES = tuple(
    ShotTask("/s/a.####.exr", "/s/m.####.exr", f"/s/r{shot}.####.exr", frames, survey=survey)
    for shot, frames, survey in (
        ("a", "1-5", "/s/ra.survey.npz"),
        ("a", "6-10", "/s/ra.survey.npz"),
        ("b", "1-4", "/s/rb.survey.npz"),
    )
)
"""A shot of two ranges, and one of one."""
AFTER = {"shot 1": "survey 1", "shot 2": "survey 1", "shot 3": "survey 2"}


def surveyed(then: tuple[str, ...] = THEN) -> FarmJob:
    return farm_job("Show A", RANGES, ["--grow=3", "--seed=2"], then, NEEDS, ["--grow=3"])


def check_surveyed(surveys: list[list[str]], shots: list[list[str]]) -> None:
    """The commands of `surveyed`: both surveys as `voidbridge` takes them, and each range with its file."""
    wanted = ["/s/ra.survey.npz", "/s/rb.survey.npz"]
    parsed = [cli.parser().parse_args(words[1:]) for words in surveys]
    assert [(one.output, one.grow) for one in parsed] == [(file, 3) for file in wanted]
    assert [words[:2] for words in surveys] == [["voidbridge", "survey"]] * 2
    read = [cli.parser().parse_args(words[1:]) for words in shots]
    assert [one.survey for one in read] == [wanted[0], wanted[0], wanted[1]]
    assert [one.frames for one in read] == ["1-5", "6-10", "1-4"]


def test_deadline_looks_at_the_shots_in_a_job_that_the_ranges_depend_on() -> None:
    made = deadline_files(surveyed())
    assert next(iter(made.files)) == "remove.job"
    assert [word for word in made.submit if word.endswith(("y.job", "e.job"))] == [
        "survey.job",
        "remove.job",
    ]
    assert made.submit[:2] == ("deadlinecommand", "-SubmitMultipleJobs")
    assert made.submit[2] == "-Dependent"  # each job on the one before it
    assert made.submit[-4:] == ("-Job", "then.job", "then_plugin.job", "then_commands.txt")
    assert set(made.files) == {name for name in made.submit if "." in name}
    lines = {
        step: [shlex.split(line) for line in made.files[f"{step}_commands.txt"].splitlines()]
        for step in ("survey", "remove")
    }
    check_surveyed(lines["survey"], lines["remove"])
    assert "Frames=0-1" in made.files["survey.job"]
    assert "Name=Show A, survey\n" in made.files["survey.job"]


def test_a_layer_of_opencue_waits_for_the_survey_of_its_own_shot() -> None:
    made = opencue_files(surveyed(), "show", "sh010", "ana").files["job.xml"]
    spec = ElementTree.fromstring(made.partition('cjsl-1.15.dtd">\n')[2])
    words = {
        layer.get("name", ""): shlex.split(layer.findtext("cmd") or "")
        for layer in spec.iter("layer")
    }
    assert list(words) == ["survey_1", "survey_2", "remove_1", "remove_2", "remove_3", "then"]
    found = list(words.values())
    check_surveyed(found[:2], found[2:5])
    assert {d.get("type") for d in spec.iter("depend")} == {"LAYER_ON_LAYER"}
    waits = [(d.findtext("deplayer"), d.findtext("onlayer")) for d in spec.iter("depend")]
    told = [(a.replace("shot ", "remove_"), b.replace(" ", "_")) for a, b in AFTER.items()]
    assert waits == [*told, *(("then", f"remove_{number}") for number in (1, 2, 3))]


def test_a_range_of_tractor_runs_behind_the_survey_of_its_own_shot() -> None:
    tcl, whole = tcl_job(tractor_files(surveyed(()), "x").files["job.alf"])
    surveys, ranges, after = [], [], {}
    words = tcl.splitlist(whole["-subtasks"])
    assert words[::6] == ("Task", "Task")
    for serial, below in ((words[i + 3], words[i + 5]) for i in (0, 6)):
        assert serial == "1"
        first, look, _, cmds, second, _, option, parts = tcl.splitlist(below)
        assert (first, second, option) == ("Task", "Task", "-subtasks")
        surveys.append(list(tcl.splitlist(tcl.splitlist(cmds)[1])))
        shots = tcl.splitlist(parts)
        ranges += [list(tcl.splitlist(tcl.splitlist(cmds)[1])) for cmds in shots[3::4]]
        after |= dict.fromkeys(shots[1::4], look)
    check_surveyed(surveys, ranges)
    assert after == AFTER


def check_commands(found: list[list[str]]) -> None:
    """Each is a command line that `voidbridge` takes, with the shot's own files."""
    assert len(found) == len(SHOTS)
    for words, shot in zip(found, SHOTS, strict=True):
        assert words[0] == "voidbridge"
        made = cli_options.removal(cli.parser().parse_args(words[1:]))
        assert str(made.files["plate"]) == shot.plate.replace("####", "%04d")
        assert str(made.frames) == shot.frames
        assert ("affected" in made.files) is bool(shot.affected)
        assert made.settings.prompt == "a street; empty $x"


def test_deadline_gets_a_task_for_each_shot_and_a_job_that_depends_on_them() -> None:
    made = deadline_files(job(prompt="a street; empty $x"))
    info = dict(line.split("=", 1) for line in made.files["remove.job"].splitlines())
    assert (info["Plugin"], info["Frames"], info["ChunkSize"]) == ("CommandScript", "0-1", "1")
    check_commands([shlex.split(line) for line in made.files["remove_commands.txt"].splitlines()])
    assert made.files["then_commands.txt"] == 'nuke -x "/s/my comp.nk" 1001,1010\n'
    assert made.submit == (
        "deadlinecommand", "-SubmitMultipleJobs", "-Dependent",
        "-Job", "remove.job", "remove_plugin.job", "remove_commands.txt",
        "-Job", "then.job", "then_plugin.job", "then_commands.txt",
    )  # fmt: skip
    assert set(made.files) == {name for name in made.submit if "." in name}


def test_opencue_gets_a_layer_for_each_shot_and_one_that_depends_on_each() -> None:
    made = opencue_files(job(prompt="a street; empty $x"), "show", "sh010", "ana")
    spec = ElementTree.fromstring(made.files["job.xml"].partition('cjsl-1.15.dtd">\n')[2])
    assert [spec.findtext(name) for name in ("show", "shot", "user")] == ["show", "sh010", "ana"]
    layers = {layer.get("name"): layer for layer in spec.iter("layer")}
    assert list(layers) == ["remove_1", "remove_2", "then"]
    words = {name: shlex.split(layer.findtext("cmd") or "") for name, layer in layers.items()}
    check_commands([words["remove_1"], words["remove_2"]])
    assert tuple(words["then"]) == THEN
    found = [(d.findtext("deplayer"), d.findtext("onlayer")) for d in spec.iter("depend")]
    assert found == [("then", "remove_1"), ("then", "remove_2")]
    assert {d.findtext("depjob") for d in spec.iter("depend")} == {spec.find("job").get("name")}  # type: ignore[union-attr]
    assert [layer.findtext("gpus") for layer in layers.values()] == ["1", "1", None]
    assert {layer.findtext("memory") for layer in layers.values()} == {"16g"}


def tcl_job(text: str) -> Any:
    """The job as nested lists: of a Job its words, of a Task its words, as Tcl reads them."""
    tkinter = pytest.importorskip("tkinter", reason="this Python has no Tcl")
    tcl = tkinter.Tcl()
    words = tcl.splitlist(text.partition("\n")[2])
    assert words[0] == "Job"
    return tcl, dict(zip(words[1::2], words[2::2], strict=True))


def test_tractor_gets_shots_below_the_task_that_waits_for_them() -> None:
    made = tractor_files(job(prompt="a street; empty $x"), "void box")
    tcl, whole = tcl_job(made.files["job.alf"])
    assert whole["-title"] == "Show A: two shots"
    task, title, *pairs = tcl.splitlist(whole["-subtasks"])
    assert (task, title) == ("Task", "then")
    last = dict(zip(pairs[::2], pairs[1::2], strict=True))
    kind, words, option, service = tcl.splitlist(last["-cmds"])
    assert (kind, option, service) == ("RemoteCmd", "-service", "void box")
    assert tcl.splitlist(words) == THEN
    shots = tcl.splitlist(last["-subtasks"])
    assert list(shots[::4]) == ["Task", "Task"]
    check_commands([list(tcl.splitlist(tcl.splitlist(cmds)[1])) for cmds in shots[3::4]])
    _, alone = tcl_job(tractor_files(job(()), "x").files["job.alf"])
    assert tcl.splitlist(alone["-subtasks"])[1] == "shot 1"


def test_a_job_description_has_a_step_that_depends_on_all_others() -> None:
    made = template("n", SHOTS, RemoveSettings(), NEEDS, (), THEN)
    assert [step["name"] for step in made["steps"]] == ["remove", "remove-affected", "then"]
    last = made["steps"][-1]
    assert last["dependencies"] == [{"dependsOn": "remove"}, {"dependsOn": "remove-affected"}]
    assert last["script"]["actions"]["onRun"] == {"command": "nuke", "args": list(THEN[1:])}


@pytest.mark.parametrize("farm", ["openjd", "deadline", "opencue", "tractor"])
def test_the_task_of_a_nuke_node_and_the_render_behind_it_are_a_job(
    tmp_path: Path, farm: str
) -> None:
    words = ["--for", farm, "--bundle", tmp_path, "--task", "nuke -t task.py 'my shot.nk' --node=A"]
    done = stage.voidbridge("farm", *words, "--then", "nuke -x shot.nk 1,9", "--name", "shot")
    assert done.code == 0, done.err
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "my shot.nk" in text
    assert "1,9" in text
    if farm == "openjd":
        steps = json.loads(text)["steps"]
        assert steps[0]["script"]["actions"]["onRun"]["args"][2] == "my shot.nk"
        assert steps[1]["dependencies"] == [{"dependsOn": "task-1"}]
    both = stage.voidbridge("farm", *words, "--shots", "shots.csv")
    assert both.code == 2
    assert "commands and shots are given" in both.err


@pytest.mark.parametrize(
    ("write", "prompt", "said"),
    [
        (deadline_files, 'a "street"', "holds a quote"),
        (lambda made: tractor_files(made, "x"), "100 %", "Tractor would expand"),
    ],
)
def test_a_word_that_a_farm_would_change_is_refused(write: Any, prompt: str, said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        write(job(prompt=prompt))


def test_names_that_a_cuebot_would_refuse_are_changed() -> None:
    made = opencue_files(job(), "show", "plate.%04d.exr: 2", "ana").files["job.xml"]
    spec = ElementTree.fromstring(made.partition('cjsl-1.15.dtd">\n')[2])
    found = [spec.findtext("shot"), spec.find("job").get("name")]  # type: ignore[union-attr]
    assert found == ["plate._04d.exr_2", "Show_A_two_shots"]
    short = opencue_files(job(), "show", "1", "ana").files["job.xml"]
    assert "<shot>1__</shot>" in short


def test_words_that_a_shell_would_change_are_quoted_for_deadline() -> None:
    made = deadline_files(job(prompt="it's;$x")).files["remove_commands.txt"]
    assert '"--prompt=it\'s;$x"' in made


def test_a_name_that_is_no_utf_8_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    words = [
        "--for",
        "tractor",
        "--bundle",
        tmp_path / "job",
        "--task",
        os.fsdecode(b"nuke -t \xff.py"),
    ]
    done = stage.voidbridge("farm", *words)
    assert done.code == 2
    assert "is not UTF-8" in done.err
    assert not (tmp_path / "job").exists()


def test_a_line_break_fits_into_no_farms_file() -> None:
    with pytest.raises(BadSetting, match="control character"):
        job(prompt="two\nlines")


@pytest.mark.parametrize(
    ("farm", "file", "sender"),
    [
        ("deadline", "remove.job", "deadlinecommand"),
        ("opencue", "job.xml", "python"),
        ("tractor", "job.alf", "tractor-spool"),
    ],
)
def test_the_command_writes_the_files_and_says_what_sends_them(
    tmp_path: Path, farm: str, file: str, sender: str
) -> None:
    shot = voidbridge_shots.make_shot(tmp_path / "s", range(1, 3))
    words = [
        shot.folder / "plate.####.exr",
        shot.folder / "matte.####.exr",
        "-o",
        tmp_path / "out/r.####.exr",
    ]
    words += ["--bundle", tmp_path / "job", "--for", farm, "--then", "nuke -x 'a b.nk' 1,2"]
    words += ["--chunk", 1, "--seed", 3]
    done = stage.voidbridge("farm", *words, "--json")
    assert done.code == 0, done.err
    event = json.loads(done.out.splitlines()[-1])
    assert event["path"] == str(tmp_path / "job" / file)
    assert event["submit"][0] == sender
    text = "".join(path.read_text() for path in (tmp_path / "job").iterdir())
    assert "a b.nk" in text
    assert [text.count(word) for word in ("r.survey.npz", "--seed=3")] == [3, 2]
    again = stage.voidbridge("farm", *words)
    assert again.code == 2
    assert "exists" in again.err


def test_the_command_of_a_site_sends_the_files_and_its_failure_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "farm",
        "--bundle",
        str(tmp_path / "b"),
        "--for",
        "tractor",
        "--task",
        "true",
        "--json",
    ]
    site = tmp_path / "send it.sh"
    site.write_text("#!/bin/sh\necho job 7 from $(ls)\n")
    site.chmod(0o755)
    assert cli.main([*words, "--send", shlex.quote(str(site))]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["sent"], told["said"]) == (True, "job 7 from job.alf")
    site.write_text("#!/bin/sh\necho no engine answers >&2\nexit 3\n")
    assert cli.main([*words, "--overwrite", "--send", shlex.quote(str(site))]) == 2
    assert "ended with 3" in (err := capsys.readouterr().err)
    assert "no engine answers" in err
    assert cli.main([*words, "--overwrite", "--send", "own"]) == 2
    assert "tractor-spool did not send the job" in capsys.readouterr().err
    assert (tmp_path / "b/job.alf").is_file()
