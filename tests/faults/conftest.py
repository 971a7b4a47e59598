"""Tests with real processes; most break a daemon of their own."""

from __future__ import annotations

import pytest
from voidbridge_figures import LINES, Note


@pytest.fixture
def note() -> Note:
    """Takes down what was measured."""
    return Note()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if LINES:
        terminalreporter.section("measured, by the number in docs/reliability.md")
        for line in sorted(LINES):
            terminalreporter.write_line(line)
