"""`voidbridge farm`: bundles that Open Job Description's own tool checks and runs; tables that are refused."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import voidbridge_shots as shots
import voidbridge_stage as stage

from voidbridge_backend.cli.commands.farm import _survey_of
from voidbridge_backend.cli.options import ALL_FRAMES, handles_of
from voidbridge_backend.client.file_names import with_name
from voidbridge_backend.client.openjd.bundle import HostRequirements, ShotTask, template, typed
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.sequences.patterns import ListedFiles
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.remove import RemoveSettings

COMMAND = Path(sys.executable).with_name("voidbridge")


def openjd(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "openjd", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def show(tmp_path: Path) -> Path:
    """A folder with two shots of two frames, and a table that names them from there."""
    folder = tmp_path / "show"
    folder.mkdir()
    light = np.random.default_rng(5).random((24, 32)).astype(np.float16)
    matte = np.zeros((24, 32), np.float16)
    matte[8:14, 10:16] = 1
    for frame in (1001, 1002):
        for shot in ("a", "b"):
            (folder / f"{shot}.{frame}.exr").write_bytes(new_file(dict.fromkeys("RGB", light)))
        (folder / f"matte.{frame}.exr").write_bytes(new_file({"A": matte}))
    (folder / "shots.csv").write_text(
        "plate,matte,result,affected,frames\n"
        "a.####.exr,matte.####.exr,out/a.####.exr,,1001-1002\n"
        "b.####.exr,matte.####.exr,out/b.####.exr,matte.####.exr,\n"
    )
    return folder


def bundle_of(show: Path, *words: object) -> Path:
    done = stage.called("farm", "--shots", show / "shots.csv", "--bundle", show / "bundle", *words)
    assert done.code == 0, done.err
    return show / "bundle" / "template.json"


def test_a_table_of_shots_becomes_a_bundle_that_is_checked_and_run(show: Path) -> None:
    path = bundle_of(show, "--engine", "echo", "--name", "two shots")
    made = json.loads(path.read_text())
    assert [step["name"] for step in made["steps"]] == ["remove", "remove-affected"]
    checked = openjd("check", path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for step in made["steps"]:
        done = openjd("run", path, "--step", step["name"], "-p", f"Voidbridge={COMMAND}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "openjd_progress: 100.0" in done.stdout
        assert "openjd_status: reading files" in done.stdout  # later stages may be too short
    results = sorted(file.name for file in (show / "out").glob("*.exr"))
    assert results == ["a.1001.exr", "a.1002.exr", "b.1001.exr", "b.1002.exr"]


def ranges(step: dict[str, Any]) -> dict[str, list[str]]:
    """The values of a step's tasks, by the name of the parameter."""
    return {v["name"]: v["range"] for v in step["parameterSpace"]["taskParameterDefinitions"]}


def test_a_shot_in_chunks_is_looked_at_once(show: Path) -> None:
    path = bundle_of(show, "--engine", "cleanplate", "--chunk", 1)
    steps = json.loads(path.read_text())["steps"]
    names = ["survey", "remove", "survey-affected", "remove-affected"]
    assert [step["name"] for step in steps] == names
    assert [step.get("dependencies") for step in steps[:2]] == [None, [{"dependsOn": "survey"}]]
    file = str(show / "out" / "a.survey.npz")
    assert ranges(steps[0])["Result"] == [file]
    assert ranges(steps[1])["Survey"] == [file, file]
    assert ranges(steps[1])["Frames"] == ["1001", "1002"]
    for step in steps:
        assert "--handles=1000000" in step["script"]["actions"]["onRun"]["args"]
    checked = openjd("check", path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    made = template(
        "n",
        [ShotTask("p", "m", "r", "1", survey="s")],
        RemoveSettings(seed=3, grow=5),
        HostRequirements(),
    )
    args = [step["script"]["actions"]["onRun"]["args"] for step in made["steps"]]
    assert [("--seed=3" in words, "--grow=5" in words) for words in args] == [
        (False, True),
        (True, True),
    ]
    refused = stage.called(
        "farm", "--shots", show / "shots.csv", "--bundle", show, "--chunk", 1, "--engine", "void"
    )
    assert "void makes other pixels in a range" in refused.err


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (("--steps", "5"), "--steps does not change a survey"),
        (("--half-rate",), "--half-rate does not change a survey"),
        (("--priority=3",), "--priority does not change a survey"),
        (("--engine", "void"), "the engine void has no survey"),
    ],
)
def test_an_option_without_effect_on_a_survey_is_refused(word: tuple[str, ...], said: str) -> None:
    done = stage.called("survey", "p.%04d.exr", "m.%04d.exr", "-o", "s.npz", *word)
    assert done.code == 2
    assert said in done.err


def test_a_table_that_is_not_there_is_said_in_plain_words(tmp_path: Path) -> None:
    done = stage.called("farm", "--shots", tmp_path / "no.csv", "--bundle", tmp_path / "job")
    assert done.code == 2
    assert "no.csv cannot be read: No such file or directory\n" in done.err
    assert "--shots" in done.err


def test_an_error_about_a_survey_names_its_file(tmp_path: Path) -> None:
    files = {"survey": ListedFiles.of({1: tmp_path / "shot.npz"})}
    assert with_name("the survey is damaged", files) == "the survey shot.npz is damaged"
    assert with_name("the survey's shot has", files) == "the survey shot.npz's shot has"


def test_no_two_shots_share_the_file_of_a_survey() -> None:
    taken = set[str]()
    results = ("a.####.exr", "a_%04d.exr", "A.####.left.exr", "####.exr", ".%d.exr")
    files = [_survey_of(f"/out/{name}", taken) for name in results]
    assert files == [f"/out/{name}.survey.npz" for name in ("a", "a.2", "A.3", "shot", "shot.2")]


def test_a_range_with_a_survey_sees_the_whole_shot_unless_handles_are_named() -> None:
    typed_words = argparse.Namespace(handles="auto", survey="s.npz", frames_from_stdin=False)
    assert handles_of(typed_words) == ALL_FRAMES
    typed_words.handles = "3"
    assert handles_of(typed_words) == 3
    typed_words.handles, typed_words.survey = "auto", None
    assert handles_of(typed_words) is None


def test_a_shot_in_chunks_has_the_bits_of_one_task(tmp_path: Path, full: bool) -> None:
    if not full:
        pytest.skip("runs five jobs; --full runs it")
    shot, other = (shots.make_shot(tmp_path / f"{n}", range(1001, 1015), seed=n) for n in (31, 32))
    whole, parts, engine = tmp_path / "whole", tmp_path / "parts", ("--engine", "cleanplate")
    done = stage.called("run", shot.plate, shot.matte, *engine, "-o", whole / "r.%04d.exr")
    assert done.code == 0, done.err
    job = (*engine, "--chunk", 5, "--bundle", tmp_path / "job", "-o", parts / "r.%04d.exr")
    assert stage.called("farm", shot.plate, shot.matte, *job).code == 0
    for step in ("survey", "remove"):
        command = ("--step", step, "-p", f"Voidbridge={COMMAND}")
        run = openjd("run", tmp_path / "job" / "template.json", *command)
        assert run.returncode == 0, run.stdout + run.stderr
    stage.check_same(parts, whole)
    survey = ("--survey", parts / "r.survey.npz", "-o", tmp_path / "no" / "r.%04d.exr")
    for words, differs in (
        ((other.plate, other.matte), "plate files"),
        ((shot.plate, shot.matte, "--grow", 9), "--grow"),
    ):
        done = stage.called("run", *words, *engine, *survey)
        assert done.code == 2, done.err
        assert f"the survey r.survey.npz differs from this job in: {differs}" in done.err


def test_shots_with_painted_frames_are_a_step_of_their_own(show: Path) -> None:
    paint = dict.fromkeys("RGBA", np.ones((24, 32), np.float16))
    (show / "paint.1001.exr").write_bytes(new_file(paint))
    (show / "shots.csv").write_text(
        "plate,matte,result,affected,clean,frames\n"
        "a.####.exr,matte.####.exr,out/a.####.exr,,paint.####.exr,1001-1002\n"
        "b.####.exr,matte.####.exr,out/b.####.exr,,,\n"
    )
    step = json.loads(bundle_of(show, "--engine", "echo").read_text())["steps"][1]
    assert step["name"] == "remove-clean"
    values = step["parameterSpace"]["taskParameterDefinitions"]
    files = {value["name"]: value["range"][0] for value in values}
    assert files["Clean"] == str(show / "paint.####.exr")
    words = step["script"]["actions"]["onRun"]["args"]
    typed_words = [re.sub(r"{{Task\.Param\.(\w+)}}", lambda m: files[m[1]], w) for w in words]
    done = stage.called(*typed_words)
    assert done.code == 0, done.err
    assert "takes no painted frames" in done.out


def test_paths_of_another_system_are_mapped_by_the_farm(show: Path) -> None:
    path = bundle_of(show, "--engine", "echo")
    moved = show.with_name("mapped")
    show.rename(moved)
    rules = {
        "version": "pathmapping-1.0",
        "path_mapping_rules": [
            {
                "source_path_format": "POSIX",
                "source_path": str(show),
                "destination_path": str(moved),
            }
        ],
    }
    path = moved / "bundle" / "template.json"
    words = ("--step", "remove", "-p", f"Voidbridge={COMMAND}")
    done = openjd("run", path, *words, "--path-mapping-rules", json.dumps(rules))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (moved / "out" / "a.1001.exr").is_file()
    assert not show.exists()


def test_a_task_that_fails_says_why_to_the_farm(show: Path) -> None:
    path = bundle_of(show, "--engine", "echo")
    (show / "matte.1002.exr").write_bytes(b"no picture")
    done = openjd("run", path, "--step", "remove", "-p", f"Voidbridge={COMMAND}")
    assert done.returncode != 0
    assert "openjd_fail: matte frame 1002" in done.stdout


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("plate,matte\na.####.exr,matte.####.exr\n", "has no column result"),
        ("plate,matte,result,notes\n", "has an unknown column notes"),
        ("plate,matte,result\n", "lists no shot"),
        ("plate,matte,result\na.####.exr,,out/\n", "line 2 of"),
        ("plate,matte,result\na.####.exr,nothing.####.exr,out/a.####.exr\n", "line 2 of"),
    ],
)
def test_a_table_with_a_mistake_is_refused_with_its_line(show: Path, table: str, said: str) -> None:
    (show / "shots.csv").write_text(table)
    done = stage.called("farm", "--shots", show / "shots.csv", "--bundle", show / "bundle")
    assert done.code == 2
    assert said in done.err
    assert not (show / "bundle").exists()


def test_a_bundle_is_not_written_over_another_unasked(show: Path) -> None:
    path = bundle_of(show, "--engine", "echo")
    before = path.read_bytes()
    words = ("farm", "--shots", show / "shots.csv", "--bundle", show / "bundle")
    done = stage.called(*words)
    assert done.code == 2
    assert path.read_bytes() == before
    assert stage.called(*words, "--overwrite").code == 0
    assert path.read_bytes() != before


def test_void_asks_for_a_card_and_only_chosen_settings_are_typed() -> None:
    shot = ShotTask("/p.%04d.exr", "/m.%04d.exr", "/r.%04d.exr", "1001-1002")
    settings = RemoveSettings(engine="void", passes=2)
    made = template("a", [shot], settings, HostRequirements(gpus=1))
    amounts = made["steps"][0]["hostRequirements"]["amounts"]
    assert {"name": "amount.worker.gpu", "min": 1} in amounts
    assert typed(settings) == [f"--engine={settings.engine}", "--passes=2"]
    assert typed(RemoveSettings()) == []


@pytest.mark.parametrize("path", ["/shows/{{Param.X}}/p.exr", "/" + "x" * 1100])
def test_a_path_that_a_template_cannot_hold_is_refused(path: str) -> None:
    with pytest.raises(BadSetting, match="the plate of shot 1 cannot be in a job template"):
        template("a", [ShotTask(path, "/m", "/r", "1")], RemoveSettings(), HostRequirements())


def test_no_text_is_expanded_by_the_farm_but_those_of_the_template() -> None:
    shot = ShotTask("/p.%04d.exr", "/m.%04d.exr", "/r.%04d.exr", "1001-1002")
    expanded = "{{Task.Param.Plate}}"
    with pytest.raises(BadSetting, match="the job's name"):
        template(expanded, [shot], RemoveSettings(), HostRequirements())
    with pytest.raises(BadSetting, match="would expand"):
        template("a", [shot], RemoveSettings(prompt=expanded), HostRequirements())
    with pytest.raises(BadSetting, match="would expand"):
        template("a", [shot], RemoveSettings(), HostRequirements(), [f"--clean=1001=/{expanded}"])
    with pytest.raises(BadSetting, match="the result of shot 1"):
        template("a", [replace(shot, result="/r\n.exr")], RemoveSettings(), HostRequirements())
