"""The benchmarks still run and say what they promise. Their figures are no business of a test."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voidbridge_stage import environment

ROOT = Path(__file__).parents[2]


def report(name: str, *words: object) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / name, "--json", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_the_data_plane_is_held_against_limits_of_the_same_run(tmp_path: Path) -> None:
    found = report(
        "data_plane.py", "--frames", 2, "--size", "128x96", "--turns", 1, "--work", tmp_path
    )
    for way in ("upload", "download", "upload_curve", "download_curve"):
        curve = "_curve" if way.endswith("_curve") else ""
        limit = min(found["disk_mb_s"], found[f"loopback{curve}_mb_s"])
        assert found[f"{way}_vs_limit"] > 0
        bare = sum(found[f"{name}_cpu_s_gb"] for name in (f"loopback{curve}", "hash", "disk"))
        processors = (os.cpu_count() or 1) * 1024 / bare
        share = found[f"{way}_mb_s"] / processors
        assert abs(found[f"{way}_vs_processors"] - share) < 0.5 * share + 0.1
        assert abs(found[f"{way}_mb_s"] - found[f"{way}_vs_limit"] * limit) < limit * 0.5 + 1
    assert found["import_sent_bytes"] == 0
    limit = min(found["disk_mb_s"], found["hash_mb_s"])
    assert abs(found["import_mb_s"] - found["import_vs_limit"] * limit) < limit * 0.5 + 1
    assert found["import_vs_upload"] > 0
    assert found["shot_echo_vs_codec"] > 0
    assert 0 < found["shot_echo_vs_ceiling"] <= 1.2  # the clock of a process ticks every 10 ms
    assert not list(tmp_path.iterdir())


def test_the_page_is_measured_alone_and_with_players(tmp_path: Path) -> None:
    size = ("--size", "128x64", "--frames", 3, "--jobs", 3, "--questions", 10, "--seconds", 1)
    found = report("web.py", *size, "--work", tmp_path)
    assert found["cached_ms"] > 0
    assert found["first_ms"] > 0
    assert found["updates_s"] > 0
    assert found["quiet"]["status_p50_ms"] > 0
    assert found["players"]["daemon_mb"] > 0


@pytest.mark.parametrize("way", [[], ["--shared"]])
def test_control_is_asked_alone_and_beside_senders(tmp_path: Path, way: list[str]) -> None:
    found = report("control.py", "--megabytes", 64, "--alone", 5, "--work", tmp_path, *way)
    assert found["quiet"]["questions"] == 5
    assert found["busy"]["questions"] > 0
    for when in ("quiet", "busy"):
        for name in ("status", "cancel"):
            p50, p99, most = (found[when][f"{name}_{label}_ms"] for label in ("p50", "p99", "most"))
            assert 0 < p50 <= p99 <= most
    assert found["bare"]["commit_p50_ms"] > 0


def test_blocks_without_a_changed_row_are_the_plates_own() -> None:
    found = report("encode.py", "--size", "256x512", "--turns", 1)
    assert (found["blocks"], found["blocks_kept"]) == (32, 24)  # 512 rows, 16 a block, 128 changed
    assert found["speedup"] > 0


def test_reading_a_clip_is_held_against_its_decoding(tmp_path: Path) -> None:
    found = report(
        *("clips.py", "--lengths", 4, 12, "--size", "64x48", "--turns", 1, "--work", tmp_path)
    )
    assert abs(found["read_vs_rgb"] - found["read_fps"] / found["rgb_fps"]) < 0.01
    assert found["decode_fps"] > 0
    assert len(found["peak_mb"]) == 2
    assert not list(tmp_path.iterdir())


def test_the_keyer_is_measured_on_frames_that_differ(tmp_path: Path) -> None:
    path = ROOT / "benchmarks" / "keying.py"
    spec = importlib.util.spec_from_file_location("benchmark_of_keying", path)
    assert spec is not None
    assert spec.loader is not None
    keying = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(keying)
    keying.draw(tmp_path, 160, 90, 3)
    clip = keying.Clip(tmp_path, 3)
    assert not np.array_equal(clip.plate(0), clip.plate(1))
    found = keying.chroma(tmp_path, 3)
    assert 0 < found["seconds"] <= found["most"]
    assert 0.05 < found["solid"] < 0.8
