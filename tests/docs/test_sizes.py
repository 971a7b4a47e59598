"""Modules and functions are small enough to be read at once, and rooms small enough to be known."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("protocol", "backend", "nuke_plugin", "resolve_plugin", "benchmarks")
MODULE_LINES = 400
FUNCTION_LINES = 60


def modules(room: str) -> list[Path]:
    found = [path for suffix in ("py", "lua") for path in (ROOT / room).rglob(f"*.{suffix}")]
    assert found
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_no_module_and_no_function_is_too_long_to_be_read_at_once(room: str) -> None:
    too_long = []
    for path in modules(room):
        name, text = path.relative_to(ROOT).as_posix(), path.read_text()
        if (lines := text.count("\n")) > MODULE_LINES:
            too_long.append(f"{name} has {lines} lines")
        for node in ast.walk(ast.parse(text)) if path.suffix == ".py" else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    too_long.append(f"{name}: {node.name} has {lines} lines")
    assert too_long == []
