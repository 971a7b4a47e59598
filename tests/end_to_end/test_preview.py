"""A result of preview quality says so: to whoever waits, in its record and in its header."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import voidbridge_shots as shots
import voidbridge_stage as stage

pytest.importorskip("torch", reason="the engine void needs PyTorch")

FRAMES = range(1001, 1003)
OPTIONS = {"height": 32, "width": 48, "window": 21, "steps": 4, "fineness": 1}


def test_a_preview_is_labelled_and_the_same_job_in_full_is_another(tmp_path: Path) -> None:
    shot, models = shots.make_shot(tmp_path / "s", FRAMES), tmp_path / "models"
    assert stage.voidbridge("models", "make-tiny", models).code == 0
    (models / "voidbridge.json").write_text(json.dumps(OPTIONS))
    with stage.daemon("--models", models) as daemon:
        words = stage.run_words(shot, tmp_path / "r", daemon.address, "--engine", "void")
        done = stage.voidbridge(*words, "--quality", "preview")
        assert done.code == 0, done.err
        assert "note: preview quality: 2 steps instead of 4" in done.err
        assert done.err.splitlines()[-1].endswith("PREVIEW QUALITY")
        record = json.loads((tmp_path / "r/r.1001-1002.voidbridge.json").read_text())
        assert record["preview"] is True
        assert [note for note in record["notes"] if note.startswith("preview quality")]
        attributes = shots.header_of(tmp_path / "r/r.1001.exr")
        assert json.loads(attributes["voidbridge/provenance"])["settings"]["quality"] == "preview"

        again = stage.voidbridge(*words, "--quality", "preview", "--json")
        assert again.event("done")["from_store"]
        assert again.event("done")["preview"] is True
        full = stage.voidbridge(*words, "--json")
        assert full.event("done")["preview"] is False
        assert "preview" not in full.err.lower()
        assert full.event("done")["job"] != again.event("done")["job"]
