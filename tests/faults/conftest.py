"""Loads what is shared by the tests with real processes; most tests here break a daemon of their own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

for _name, _path in (
    ("voidbridge_stage", HERE.parent / "end_to_end" / "stage.py"),
    ("voidbridge_relay", HERE / "relay.py"),
    ("voidbridge_guarded", HERE / "guarded.py"),
    ("voidbridge_traces", HERE / "traces.py"),
    ("voidbridge_figures", HERE / "figures.py"),
    ("voidbridge_mutations", HERE / "mutations.py"),
    ("voidbridge_line", HERE / "line.py"),
    ("voidbridge_ray_cluster", HERE / "ray_cluster.py"),
    ("voidbridge_raw_client", HERE / "raw_client.py"),
):
    if _name not in sys.modules:  # the tests import them by name; no folder of tests is a package
        _spec = importlib.util.spec_from_file_location(_name, _path)
        assert _spec
        assert _spec.loader
        sys.modules[_name] = importlib.util.module_from_spec(_spec)
        _spec.loader.exec_module(sys.modules[_name])

from voidbridge_figures import LINES, Note  # noqa: E402 - it has a name only now


@pytest.fixture
def note() -> Note:
    """Takes down what was measured."""
    return Note()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if LINES:
        terminalreporter.section("measured, by the number in docs/reliability.md")
        for line in sorted(LINES):
            terminalreporter.write_line(line)
