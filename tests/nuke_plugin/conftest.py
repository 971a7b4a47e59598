"""A stand-in for Nuke under the name `nuke`, with the plug-in installed as a user has it."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import voidbridge_scripts as scripts
import voidbridge_shots as shots
import voidbridge_stage as stage

from voidbridge_backend.tools.install import install_nuke

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `voidbridge install nuke` writes, with a space and an umlaut in its name."""
    folder = tmp_path_factory.mktemp("host") / "Plug-ins für Nuke"
    install_nuke(folder)
    return folder


@pytest.fixture(scope="session")
def daemon() -> Iterator[Any]:
    with stage.daemon() as made:
        made.wait_for_worker()
        yield made


@pytest.fixture
def host(plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Nuke with a GUI that has just started and read the plug-in's init.py and menu.py."""
    for name in [
        name for name in sys.modules if name.partition(".")[0] in ("nuke", "voidbridge_nuke")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sys.path.insert(0, str(HERE / "stand_in"))
    nuke = importlib.import_module("nuke")
    nuke.stage.start(plugin, tmp_path)
    yield nuke
    assert nuke.stage.undo_level == 0
    for name in [
        name for name in sys.modules if name.partition(".")[0] in ("nuke", "voidbridge_nuke")
    ]:
        del sys.modules[name]


@pytest.fixture
def shot(tmp_path: Path) -> Any:
    return shots.make_shot(tmp_path / "plates of März", scripts.FRAMES)
