"""One daemon for all that only needs some daemon; each test is a user of its own, so none sees another's jobs."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NAME = "voidbridge_stage"
if NAME not in sys.modules:  # the tests import it by this name; no folder of tests is a package
    _spec = importlib.util.spec_from_file_location(NAME, Path(__file__).with_name("stage.py"))
    assert _spec
    assert _spec.loader
    sys.modules[NAME] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[NAME])
stage = sys.modules[NAME]


@pytest.fixture(scope="session")
def daemon() -> Iterator[Any]:
    with stage.daemon() as made:
        made.wait_for_worker()
        yield made


@pytest.fixture
def run(daemon: Any, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`voidbridge run` on that daemon with the engine `echo`, a hard edge, and JSON."""

    def go(shot: Any, result: object, *words: object, **files: object) -> Any:
        plate, matte = files.get("plate", shot.plate), files.get("matte", shot.matte)
        return stage.voidbridge(
            "run", plate, matte, "-o", result, "--engine", "echo", "--grow", 0, "--soften", 0,
            "--daemon", daemon.address, "--user", request.node.name, "--json", *words,
        )  # fmt: skip

    return go
