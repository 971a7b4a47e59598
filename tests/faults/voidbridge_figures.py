"""The figures of the tests of faults, for the table of docs/reliability.md, printed at the end.

Loaded under the name `voidbridge_figures` by `conftest.py`.
"""

from __future__ import annotations

from typing import Any

LINES: list[str] = []


class Note:
    """Call it with the number of the test and what was measured."""

    def __call__(self, number: int, **figures: Any) -> None:
        LINES.append(f"{number:2d}  " + "  ".join(f"{k}={v}" for k, v in figures.items()))
