"""The node's modules answer alike in the Pythons of Nuke 13 to 17 and later, and need nothing but them."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "nuke_plugin/voidbridge_nuke"
SCRIPT = Path(__file__).with_name("everywhere.py")
PYTHONS = {
    "3.7": "Nuke 13",
    "3.9": "Nuke 14",
    "3.10": "Nuke 15",
    "3.11": "Nuke 16",
    "3.13": "later",
}


def interpreter(version: str) -> str:
    """An installed Python of this minor version, or a skip that says so."""
    found = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    path = str(found[-1]) if found else shutil.which(f"python{version}")
    if not path:
        pytest.skip(f"there is no Python {version} here")
    return path


def answers(python: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [python, "-B", "-I", "-W", "error", str(SCRIPT), str(folder), str(PACKAGE.parent)],
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@cache
def ours(folder: Path) -> dict[str, Any]:
    return answers(sys.executable, folder)


@pytest.mark.parametrize("version", PYTHONS, ids=[f"{v}, {of}" for v, of in PYTHONS.items()])
def test_every_python_of_a_nuke_gives_the_same_answers(version: str, tmp_path: Path) -> None:
    assert answers(interpreter(version), tmp_path) == ours(tmp_path.parent)


def test_the_answers_are_right(tmp_path: Path) -> None:
    found = answers(sys.executable, tmp_path)
    assert found["said"] == ["pass 1 12 of 30, about 40 s left", "failed: unglück. h"]
    assert found["end"] == ["failed", "failed: unglück. h", "clean"]
    assert "--prompt=--eine Straße" in found["command"]
    assert (found["same"], found["missing"], found["discarded"]) == (True, 101, True)


def imported(path: Path) -> set[str]:
    """Tops of all absolute imports of a module, those in functions too."""
    found = set()
    for item in ast.walk(ast.parse(path.read_text())):
        if isinstance(item, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in item.names}
        elif isinstance(item, ast.ImportFrom) and not item.level:
            found.add((item.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_a_module_imports_the_standard_library_only_and_three_modules_nuke(path: Path) -> None:
    foreign = imported(path) - set(sys.stdlib_module_names)
    assert foreign == ({"nuke"} if path.stem in ("host", "graph", "rendering") else set())


def test_nothing_slow_is_imported_when_nuke_starts() -> None:
    """As init.py does, with a host that only takes callbacks."""
    script = f"""
import os, sys, types
nuke = types.ModuleType("nuke")
nuke.taken = []
nuke.addOnScriptLoad = nuke.addBeforeRender = nuke.taken.append
nuke.pluginAddPath = lambda path: sys.path.insert(0, {str(PACKAGE.parent)!r})
sys.modules["nuke"] = nuke
before = set(sys.modules)
exec(open({str(PACKAGE / "nuke_path/init.py")!r}).read())
assert len(nuke.taken) == 2
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    new = set(done.stdout.split()) - {"__future__", "os"}
    assert new == {"voidbridge_nuke", "voidbridge_nuke.startup"}
