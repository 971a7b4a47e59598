"""`voidbridge install resolve`: what goes into Fusion's folder, and out again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from voidbridge_backend import cli
from voidbridge_backend.tools import install

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "resolve_plugin/voidbridge_resolve"
MADE = {
    "Modules/Lua/voidbridge/voidbridge.json",
    "Modules/Lua/voidbridge/installed.txt",
    "Scripts/Edit/Voidbridge generate (Studio).py",
    "Scripts/Edit/Voidbridge timeline (Studio).py",
}


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def parts() -> set[str]:
    return {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*")
        if path.suffix in (".lua", ".setting", ".json")
    }


def test_the_folder_holds_everything_and_keeps_what_others_have(tmp_path: Path) -> None:
    other = tmp_path / "Macros/Other/Other.setting"
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    assert cli.main(["install", "resolve", "--to", str(tmp_path)]) == 0
    assert files(tmp_path) == parts() | MADE | {"Macros/Other/Other.setting"}
    command = json.loads((tmp_path / "Modules/Lua/voidbridge/voidbridge.json").read_text())[
        "command"
    ]
    assert command == install.command()
    (tmp_path / "Modules/Lua/voidbridge/controller.lua").write_text("broken")
    assert cli.main(["install", "resolve", "--to", str(tmp_path)]) == 0
    assert (tmp_path / "Modules/Lua/voidbridge/controller.lua").read_bytes() == (
        PACKAGE / "Modules/Lua/voidbridge/controller.lua"
    ).read_bytes()


def test_it_is_taken_away_again_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "Scripts/Tool/Other.lua"
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    assert cli.main(["install", "resolve", "--to", str(tmp_path)]) == 0
    assert cli.main(["install", "resolve", "--to", str(tmp_path), "--remove"]) == 0
    assert f"removed {len(parts() | MADE)} files" in capsys.readouterr().out
    assert files(tmp_path) == {"Scripts/Tool/Other.lua"}
    assert not (tmp_path / "Modules").exists()
    assert cli.main(["install", "resolve", "--to", str(tmp_path), "--remove"]) == 0


def test_a_file_of_somebody_else_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    precious = tmp_path / "Scripts/Tool/Voidbridge.lua"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")
    assert cli.main(["install", "resolve", "--to", str(tmp_path)]) == 2
    assert files(tmp_path) == {"Scripts/Tool/Voidbridge.lua"}
    assert precious.read_text() == "mine"
    assert str(precious) in capsys.readouterr().err


def test_what_a_list_names_outside_is_not_deleted(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    folder = tmp_path / "Fusion"
    install.install_resolve(folder)
    with (folder / install.LIST).open("a") as listed:
        listed.write(f"../outside.txt\n{outside}\n")
    install.uninstall_resolve(folder)
    assert outside.read_text() == "mine"


def test_the_node_for_nuke_is_taken_away_too(tmp_path: Path) -> None:
    folder = tmp_path / "n"
    assert cli.main(["install", "nuke", "--to", str(folder)]) == 0
    assert cli.main(["install", "nuke", "--to", str(folder), "--remove"]) == 0
    assert not folder.exists()
    folder.mkdir()
    (folder / "menu.py").write_text("mine")
    assert cli.main(["install", "nuke", "--to", str(folder), "--remove"]) == 2
    assert (folder / "menu.py").exists()


@pytest.mark.parametrize(
    ("platform", "appdata", "wanted"),
    [
        ("linux", "", "/home/ana/.local/share/DaVinciResolve/Fusion"),
        (
            "darwin",
            "",
            "/home/ana/Library/Application Support/Blackmagic Design/DaVinci Resolve/Fusion",
        ),
        ("win32", "/r", "/r/Blackmagic Design/DaVinci Resolve/Support/Fusion"),
        ("win32", "", "/home/ana/AppData/Roaming/Blackmagic Design/DaVinci Resolve/Support/Fusion"),
    ],
)
def test_each_system_has_its_folder(platform: str, appdata: str, wanted: str) -> None:
    assert install.fusion_folder(platform, Path("/home/ana"), appdata) == Path(wanted)


def test_the_atom_names_every_file_of_the_package() -> None:
    (atom,) = PACKAGE.glob("*.atom")
    text = atom.read_text(encoding="utf-8")
    deployed = re.search(r"Deploy = \{(.*?)\}", text, re.S)
    assert deployed
    assert set(re.findall(r'"(.+?)"', deployed[1])) == parts()
