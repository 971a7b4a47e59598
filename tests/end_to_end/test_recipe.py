"""The recipe of docs/architecture.md, followed to the letter: its engine in a copy of the backend, and a job."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
from voidbridge_shots import make_shot
from voidbridge_stage import ROOT, command, environment

from voidbridge_backend.exr import reader

PAGE = ROOT / "docs/architecture.md"


def test_an_engine_is_one_folder(tmp_path: Path) -> None:
    shot = make_shot(tmp_path, range(1001, 1004))
    found = re.search(r"^```python (engines/\S+)\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    assert found
    place, code = found[1], found[2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 40
    ast.parse(code)
    backend = tmp_path / "backend/voidbridge_backend"
    shutil.copytree(
        ROOT / "backend/voidbridge_backend", backend, ignore=shutil.ignore_patterns("__pycache__")
    )
    (backend / place).parent.mkdir()
    (backend / place).write_text(code, "utf-8")
    path = os.pathsep.join(map(str, (tmp_path / "backend", ROOT / "protocol")))

    words = ["run", shot.plate, shot.matte, "-o", tmp_path / "r.%04d.exr", "--engine", "average"]
    done = subprocess.run(
        command(*words, "--grow", 0, "--soften", 0, "--grain", "off", "--color-space", "ACEScg"),
        env={**environment(), "PYTHONPATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()

    (record,) = tmp_path.glob("r.*voidbridge.json")
    provenance = json.loads(record.read_text("utf-8"))
    assert provenance["engine"] == {"engine": "average", "version": 1}
    assert provenance["operation"] == "remove"
    for result in sorted(tmp_path.glob("r.*.exr")):
        frame = int(result.suffixes[0][1:])
        before = reader.read(Path(str(shot.plate) % frame)).rgb()
        after = reader.read(result).rgb()
        assert not np.array_equal(before, after)
