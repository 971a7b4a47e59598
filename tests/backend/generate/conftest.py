"""A tiny LTX-2 of random weights, made once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
sys.path += [
    str(ROOT / "tests/backend/void"),
    str(ROOT / "benchmarks"),
]  # Modules that tests share.


@pytest.fixture(scope="session")
def tiny_ltx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("diffusers")
    from voidbridge_backend.engines.ltx.tiny import make_tiny

    return make_tiny(tmp_path_factory.mktemp("ltx"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
