"""Engines are found in their folders, and finding them loads none of them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from voidbridge_stage import environment

from voidbridge_backend.engines import registry
from voidbridge_backend.worker.process import renderer
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations import operations


def test_every_operation_has_its_default_engine() -> None:
    for name, operation in operations().items():
        assert (name, operation.settings().engine) in registry.available()


def test_every_engine_belongs_to_an_operation_that_can_be_rendered() -> None:
    for operation, _ in registry.available():
        assert operation in operations()
        assert callable(renderer(operation))


def said_by(script: str) -> str:
    words = [sys.executable, "-c", script]
    found = subprocess.run(words, capture_output=True, check=True, env=environment())
    return found.stdout.decode().strip()


def test_finding_the_engines_loads_nothing_of_theirs() -> None:
    """The daemon does it too, and a workstation without any of their packages."""
    script = """
import sys
from voidbridge_backend.engines import registry
registry.available()
print([name for name in ("numpy", "cv2", "torch", "OpenEXR") if name in sys.modules])
"""
    assert said_by(script) == "[]"


def test_a_worker_starts_without_messages_and_without_what_stills_and_clips_need() -> None:
    script = """
import sys
import voidbridge_backend.worker.process, voidbridge_backend.render.remove
late = ("voidbridge_protocol.wire.messages", "OpenImageIO", "av", "torch")
print([name for name in late if name in sys.modules], "numpy" in sys.modules)
"""
    assert said_by(script) == "[] True"


def test_missing_weights_and_consent_are_told_before_pytorch_is_loaded() -> None:
    script = """
import sys
from pathlib import Path
from voidbridge_backend.engines import registry
from voidbridge_protocol.errors import VoidbridgeError
for operation, engine in (("mask", "sam2"), ("mask", "sam3"), ("key", "corridorkey"), ("generate", "ltx")):
    try:
        registry.make(operation, engine, "cpu", Path("nowhere"))
    except VoidbridgeError as error:
        print(error.code, end=" ")
print("torch" in sys.modules)
"""
    missing, consent = "job.model-missing", "job.terms-not-accepted"
    assert said_by(script) == f"{missing} {missing} {consent} {missing} False"


def test_an_engine_of_another_operation_is_not_found() -> None:
    with pytest.raises(BadSetting, match=r"remove has no engine 'magic'; there are: .*cleanplate"):
        registry.make("remove", "magic")
    with pytest.raises(BadSetting, match="bake has no engine 'echo'; there are: none"):
        registry.make("bake", "echo")


def test_what_is_missing_is_named_with_the_extra_that_installs_it() -> None:
    script = """
import sys
sys.modules["cv2"] = None  # as where it is not installed
from voidbridge_backend.engines import registry
from voidbridge_protocol.errors import EngineFailed
try:
    registry.make("remove", "cleanplate")
except EngineFailed as error:
    print(error.text, error.hint)
"""
    said = said_by(script)
    assert "the engine cleanplate cannot be loaded" in said
    assert "pip install 'voidbridge[backend]'" in said
