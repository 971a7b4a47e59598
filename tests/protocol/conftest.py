"""Loads what the tests of this folder share."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

SHARED = {"voidbridge_artist": "artist.py", "voidbridge_examples": "examples.py"}
for _name, _file in SHARED.items():
    if _name in sys.modules:  # the tests import it by this name; no folder of tests is a package
        continue
    _spec = importlib.util.spec_from_file_location(_name, Path(__file__).with_name(_file))
    assert _spec
    assert _spec.loader
    sys.modules[_name] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[_name])
