"""`voidbridge install nuke` writes a folder that is all there is to installing and uninstalling."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import OpenImageIO
import pytest

from voidbridge_backend import cli
from voidbridge_backend.tools import install
from voidbridge_nuke import group
from voidbridge_nuke.operations import OPERATIONS

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "nuke_plugin/voidbridge_nuke"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "Plug-ins für Nuke"
    assert cli.main(["install", "nuke", "--to", str(made)]) == 0
    return made


def test_the_folder_holds_everything_and_nothing_else(folder: Path) -> None:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    modules = {f"python/voidbridge_nuke/{path.name}" for path in PACKAGE.glob("*.py")}
    startup = {"init.py", "menu.py", "voidbridge_farm.py"}
    startup |= {f"{operation.node}.nk" for operation in OPERATIONS.values()}
    made = {"voidbridge.json", "icons/voidbridge.png"}
    tables = {f"python/voidbridge_nuke/{name}.json" for name in ("controls", "child_environment")}
    assert found == modules | startup | made | tables


def test_the_command_that_it_names_can_be_started(folder: Path) -> None:
    words = json.loads((folder / "voidbridge.json").read_text())["command"]
    done = subprocess.run([*words, "--version"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_stored_group_is_what_the_package_makes(name: str) -> None:
    operation = OPERATIONS[name]
    stored = (PACKAGE / f"nuke_path/{operation.node}.nk").read_text(encoding="utf-8")
    assert stored == group.pasted(operation)


def test_the_icon_is_a_ring(folder: Path) -> None:
    image = OpenImageIO.ImageBuf(str(folder / "icons/voidbridge.png"))
    alpha = image.get_pixels(OpenImageIO.UINT8)[..., 3]
    assert alpha.shape == (24, 24)
    assert (alpha[12, 12], alpha[0, 0], alpha[12, 3]) == (0, 0, 255)


def test_the_installed_package_finds_its_folder_and_its_command(folder: Path) -> None:
    script = "import voidbridge_nuke.installation as s; print(s.folder()); print(s.executable()[0])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={"PYTHONPATH": str(folder / "python"), "PYTHONIOENCODING": "utf-8"},
        cwd=os.sep,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout.split("\n")[:2] == [str(folder), install.command()[0]]


def test_installing_again_replaces_what_was_there(folder: Path) -> None:
    (folder / "python/voidbridge_nuke/gone.py").write_text("")
    (folder / "init.py").write_text("broken")
    assert cli.main(["install", "nuke", "--to", str(folder)]) == 0
    assert not (folder / "python/voidbridge_nuke/gone.py").exists()
    assert (folder / "init.py").read_bytes() == (PACKAGE / "nuke_path/init.py").read_bytes()


@pytest.mark.parametrize("file", [True, False], ids=["a file", "a folder of somebody else"])
def test_what_is_not_ours_is_not_touched(
    tmp_path: Path, file: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "place"
    if not file:
        place.mkdir()
    precious = place if file else place / "menu.py"
    precious.write_text("mine")
    assert cli.main(["install", "nuke", "--to", str(place)]) == 2
    assert precious.read_text() == "mine"
    assert str(place) in capsys.readouterr().err


def test_a_host_that_there_is_none_for_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["install", "flame"]) == 2
    assert "'flame'" in capsys.readouterr().err


def test_the_line_for_nuke_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["install", "nuke", "--to", str(tmp_path / "n")]) == 0
    said = capsys.readouterr().out
    assert f"NUKE_PATH={tmp_path / 'n'}" in said
