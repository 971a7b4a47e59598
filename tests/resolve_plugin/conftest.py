"""A stand-in for Fusion, with the tool installed as a user has it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from voidbridge_backend.tools.install import install_resolve

HERE = Path(__file__).parent


MODULES = {
    "voidbridge_stage": HERE.parent / "end_to_end/stage.py",
    "voidbridge_show_lora": HERE.parent / "end_to_end/show_lora.py",
    "voidbridge_job_table": HERE.parent / "end_to_end/job_table.py",
    "voidbridge_guarded": HERE.parent / "faults/guarded.py",
    "voidbridge_traces": HERE.parent / "faults/traces.py",
    "voidbridge_fusion_tools": HERE / "stand_in_tools.py",
    "voidbridge_fusion": HERE / "stand_in.py",
    "voidbridge_fusion_shots": HERE / "fusion_shots.py",
}
"""Of the tests, which are no package, under the names that they import each other by."""
for name, path in MODULES.items():
    if name not in sys.modules and (spec := importlib.util.spec_from_file_location(name, path)):
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])  # type: ignore[union-attr]
stage, fusion = sys.modules["voidbridge_stage"], sys.modules["voidbridge_fusion"]


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fusion's folder after `voidbridge install resolve`, with a space, an umlaut and an apostrophe in its name."""
    folder = tmp_path_factory.mktemp("host") / "Sam's Füsion"
    install_resolve(folder)
    return folder


@pytest.fixture(scope="session")
def daemon() -> Iterator[Any]:
    with stage.daemon() as made:
        made.wait_for_worker()
        yield made


@pytest.fixture
def host(plugin: Path, tmp_path: Path) -> Iterator[Any]:
    """A Fusion that has just started."""
    made = fusion.Stage(plugin, tmp_path)
    yield made
    assert made.mistakes == []
    assert made.locked_writes == []
    assert made.loose_writes == []
