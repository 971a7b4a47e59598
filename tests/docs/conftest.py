"""Loads the scripts that the tests of the pages share, by name: no folder of tests is a package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).parent

for _name, _path in (
    ("voidbridge_generated", HERE / "generated.py"),
    ("voidbridge_plain_english", HERE / "plain_english.py"),
    ("voidbridge_message_patterns", HERE / "message_patterns.py"),
    ("voidbridge_render_tables", HERE.parents[1] / "benchmarks" / "render_tables.py"),
):
    if _name not in sys.modules:
        _spec = importlib.util.spec_from_file_location(_name, _path)
        assert _spec
        assert _spec.loader
        sys.modules[_name] = importlib.util.module_from_spec(_spec)
        _spec.loader.exec_module(sys.modules[_name])
