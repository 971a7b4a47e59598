"""Loads what is shared by the tests with real processes; here only for its small shots."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

NAME = "voidbridge_stage"
if NAME not in sys.modules:  # the tests import it by this name; no folder of tests is a package
    _spec = importlib.util.spec_from_file_location(
        NAME, Path(__file__).parents[1] / "end_to_end" / "stage.py"
    )
    assert _spec
    assert _spec.loader
    sys.modules[NAME] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[NAME])
