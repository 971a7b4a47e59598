"""Every string and f-string of the source as a regular expression: the texts that the code can say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

FEWEST_LETTERS = 10
"""A string with fewer fixed letters, such as `{path}: {reason}`, would match anything."""


def _pattern(node: ast.expr) -> str | None:
    """Of a string, an f-string or a sum of them; None for anything else. Values match any text."""
    if isinstance(node, ast.Constant):
        return re.escape(node.value) if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        parts = (v for v in node.values if isinstance(v, (ast.Constant, ast.FormattedValue)))
        return "".join(_pattern(v) or ".*" if isinstance(v, ast.Constant) else ".*" for v in parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _pattern(node.left), _pattern(node.right)
        return None if left is None and right is None else (left or ".*") + (right or ".*")
    return None


def patterns(files: Iterable[Path]) -> Iterator[re.Pattern[str]]:
    """Matches a text that ends as the string does: a place (`plate frame 1001: `) may stand before it."""
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.expr) and (found := _pattern(node)):
                fixed = re.sub(r"\.\*|\\.", "", found)
                if sum(letter.isalpha() for letter in fixed) >= FEWEST_LETTERS:
                    yield re.compile(rf"(?:.*: )?{found}", re.S)
