"""The self-test for real Nukes runs in the stand-in, and notices each rule that the stand-in breaks."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from voidbridge_backend import cli
from voidbridge_backend.tools.selftest import FRAMES

POINTS = (
    "names_in_groups", "classes_of_groups", "filename_filters", "callbacks_stop_renders", "callbacks_of_pieces",
    "exit_code", "reach_of_filter_erode", "working_space", "pasted_behind_the_selection", "looks_while_pasted",
    "removal", "size_of_results", "keying", "staleness", "guarded",
)  # fmt: skip


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script that `voidbridge selftest nuke` writes, twice, because an earlier one is replaced."""
    made = tmp_path_factory.mktemp("site") / "selftest für Nuke.py"
    for _ in range(2):
        assert cli.main(["selftest", "nuke", "--to", str(made)]) == 0
    return made


@pytest.fixture
def script(path: Path, host: Any) -> dict[str, Any]:
    """The script, loaded as `nuke -t` does."""
    host.GUI = False
    scope: dict[str, Any] = {"__name__": "voidbridge_selftest"}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), scope)
    return scope


def test_the_script_runs_in_the_python_of_nuke_13(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 7))


def verdicts(report: dict[str, Any]) -> dict[str, str]:
    return {point["point"]: point["verdict"] for point in report["points"]}


def test_every_point_is_answered_and_the_report_is_one_file(
    script: dict[str, Any], tmp_path: Path, daemon: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    code = script["main"]([f"--report={path}", f"--daemon={daemon.address}"])
    report = json.loads(path.read_text())
    assert verdicts(report) == dict.fromkeys(POINTS, "ok"), report
    assert code == 0
    assert report["version"] == "13.2v8 (stand-in)"
    assert str(path) in capsys.readouterr().out
    seen = {point["point"]: point["seen"] for point in report["points"]}
    assert seen["removal"].startswith(f"done: v001, frames {FRAMES[0]}-{FRAMES[-1]}")


@pytest.mark.parametrize(
    ("wrong", "points"),
    [
        ("names in groups", {"names_in_groups"}),
        ("classes", {"classes_of_groups"}),
        ("filename filters", {"filename_filters"}),
        ("callbacks", {"callbacks_stop_renders", "callbacks_of_pieces"}),
        ("exit codes", {"exit_code"}),
        ("reach", {"reach_of_filter_erode"}),
        ("working space", {"working_space"}),
        ("cut paste input", {"pasted_behind_the_selection"}),
        ("looks", {"looks_while_pasted"}),
    ],
)
def test_a_nuke_that_breaks_a_rule_is_noticed(
    script: dict[str, Any], host: Any, tmp_path: Path, wrong: str, points: set[str]
) -> None:
    host.stage.wrong = wrong
    if wrong == "exit codes":
        host.EXE_PATH = shutil.which("true")
    if wrong == "working space":
        del host.root()._knobs["workingSpaceLUT"]
    report = script["report"](str(tmp_path), only=POINTS[:10])
    assert {name for name, verdict in verdicts(report).items() if verdict != "ok"} == points


@pytest.mark.parametrize(
    ("wrong", "points"),
    [
        ("raw files", {"removal", "keying"}),
        ("layers", {"keying"}),
        ("written knobs", {"staleness", "guarded"}),
        ("reload", {"size_of_results"}),
    ],
)
def test_a_nuke_that_breaks_a_rule_of_results_is_noticed(
    script: dict[str, Any], host: Any, tmp_path: Path, daemon: Any, wrong: str, points: set[str]
) -> None:
    host.stage.wrong = wrong
    report = script["report"](str(tmp_path), daemon.address, POINTS[10:])
    assert {name for name, verdict in verdicts(report).items() if verdict != "ok"} == points


def test_a_node_of_ours_that_looks_while_it_is_pasted_is_noticed(
    script: dict[str, Any], host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voidbridge_nuke import controller

    monkeypatch.setattr(controller, "changed", lambda node, knob: node.firstFrame())
    report = script["report"](str(tmp_path), only=["looks_while_pasted"])
    assert report["points"][0]["seen"].endswith("input of ours: False")
    assert verdicts(report) == {"looks_while_pasted": "failed"}


def test_a_file_of_somebody_else_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("the work of a week")
    assert cli.main(["selftest", "nuke", "--to", str(mine)]) == 2
    assert "is not a self-test" in capsys.readouterr().err
    assert mine.read_text() == "the work of a week"


def test_there_is_no_self_test_for_another_host(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["selftest", "flame"]) == 2
    assert "no self-test for 'flame'" in capsys.readouterr().err
