"""Loads the small shots that the tests of `cleanplate` share."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

NAME = "cleanplate_shots"
if NAME not in sys.modules:  # the tests import it by this name; no folder of tests is a package
    _spec = importlib.util.spec_from_file_location(NAME, Path(__file__).with_name(f"{NAME}.py"))
    assert _spec
    assert _spec.loader
    sys.modules[NAME] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[NAME])
