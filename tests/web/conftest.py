"""The page as a process; the daemon and the shots are those of the tests from end to end."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent

for _name, _path in (
    ("voidbridge_stage", HERE.parent / "end_to_end" / "stage.py"),
    ("voidbridge_page", HERE / "page_process.py"),
):
    if _name not in sys.modules:  # the tests import them by name; no folder of tests is a package
        _spec = importlib.util.spec_from_file_location(_name, _path)
        assert _spec
        assert _spec.loader
        sys.modules[_name] = importlib.util.module_from_spec(_spec)
        _spec.loader.exec_module(sys.modules[_name])

from voidbridge_page import start_page, stop_page  # noqa: E402 - it has a name only now


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One that a browser has entered, in a folder of its own; no daemon answers it."""
    folder = tmp_path_factory.mktemp("show")
    made = start_page(f"ipc://{folder}/nobody", folder)
    try:
        made.enter()
        yield made
    finally:
        stop_page(made)
