"""Modules and functions are small enough to be read at once."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("protocol", "backend", "nuke_plugin", "resolve_plugin", "benchmarks")
FOLDER_MODULES = 14
MODULE_LINES = 400
FUNCTION_LINES = 60


def modules(room: str) -> list[Path]:
    found = [path for suffix in ("py", "lua", "js") for path in (ROOT / room).rglob(f"*.{suffix}")]
    assert found
    return found


def functions(path: Path, text: str) -> Iterator[tuple[str, int]]:
    """Yields (name, lines) of each function; of Lua and JavaScript those that begin in the first column."""
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, (node.end_lineno or 0) - node.lineno + 1
        return
    for found in re.finditer(
        r"^(?:local |export |async )*function ([\w.:]+).*?^(?:end|})", text, re.M | re.S
    ):
        yield found[1], found[0].count("\n") + 1


@pytest.mark.parametrize("room", ROOMS)
def test_no_module_and_no_function_is_too_long_to_be_read_at_once(room: str) -> None:
    too_long = []
    for path in modules(room):
        name, text = path.relative_to(ROOT).as_posix(), path.read_text()
        if (lines := text.count("\n")) > MODULE_LINES:
            too_long.append(f"{name} has {lines} lines")
        too_long += [
            f"{name}: {function} has {lines} lines"
            for function, lines in functions(path, text)
            if lines > FUNCTION_LINES
        ]
    assert too_long == []


@pytest.mark.parametrize("room", ["protocol", "backend"])
def test_no_folder_holds_more_modules_than_are_seen_at_once(room: str) -> None:
    for package in (ROOT / room).rglob("__init__.py"):
        names = {path.stem for path in package.parent.glob("*.py")} - {"__init__", "__main__"}
        assert len(names) <= FOLDER_MODULES, package.parent
