"""A stand-in for Fusion, with the tool installed as a user has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import voidbridge_fusion as fusion
import voidbridge_stage as stage

from voidbridge_backend.tools.install import install_resolve

HERE = Path(__file__).parent


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
