"""The protocol and its client load where there is nothing but the standard library and pyzmq."""

import subprocess
import sys
from pathlib import Path

import pytest

PROTOCOL = Path(__file__).parents[2] / "protocol"
PACKAGE = PROTOCOL / "voidbridge_protocol"
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.stem != "__init__"
)
PURE = (
    *("errors", "lifecycle", "wire.messages", "wire.codec"),
    *("transfer.atomic_files", "transfer.upload", "transfer.download"),
)

LOAD = """
import sys
sys.path.insert(0, {path!r})

class Nothing:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in {allowed!r}:
            raise ImportError(f"{{name}} does not exist here")

sys.meta_path.insert(0, Nothing())
import importlib
for module in {modules!r}:
    importlib.import_module("voidbridge_protocol." + module)
assert not {absent!r} & set(sys.modules), sys.modules.keys()
"""


def load(modules: list[str], allowed: set[str], absent: set[str]) -> str:
    script = LOAD.format(path=str(PROTOCOL), modules=modules, allowed=allowed, absent=absent)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
    )
    return done.stderr


def test_the_whole_package_needs_nothing_but_pyzmq() -> None:
    assert load(MODULES, {"zmq", "voidbridge_protocol"}, {"numpy"}) == ""


@pytest.mark.parametrize("module", PURE)
def test_what_decides_needs_no_pyzmq_either(module: str) -> None:
    assert load([module], {"voidbridge_protocol"}, {"zmq", "socket"}) == ""


def test_the_check_would_notice() -> None:
    assert "zmq does not exist here" in load(["client"], {"voidbridge_protocol"}, set())
