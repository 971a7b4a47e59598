"""One daemon for all that only needs some daemon; each test is a user of its own, so none sees another's jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import voidbridge_stage as stage


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
        return stage.called(
            "run", plate, matte, "-o", result, "--engine", "echo", "--grow", 0, "--soften", 0,
            "--daemon", daemon.address, "--user", request.node.name, "--json", *words,
        )  # fmt: skip

    return go
