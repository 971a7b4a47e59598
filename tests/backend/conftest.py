"""Loads what is shared by tests: small shots, a job service on a real spool, and a language model's server."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).parent
SHARED = {
    "voidbridge_stage": HERE.parent / "end_to_end" / "stage.py",
    "voidbridge_language_model": HERE / "language_model.py",
    "voidbridge_job_box": HERE / "daemon" / "job_box.py",
}
for _name, _file in SHARED.items():
    if _name in sys.modules:  # the tests import it by this name; no folder of tests is a package
        continue
    _spec = importlib.util.spec_from_file_location(_name, _file)
    assert _spec
    assert _spec.loader
    sys.modules[_name] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[_name])
