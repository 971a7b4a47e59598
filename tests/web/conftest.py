"""The page as a process; the daemon and the shots are those of the tests from end to end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from voidbridge_page import start_page, stop_page


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
