"""The engine void through the node: a tiny model of the real layout."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voidbridge_sample_show import sample_show
from voidbridge_scripts import FRAMES, given, node_of, plate, remove
from voidbridge_shots import channels_of
from voidbridge_show_lora import write_show_lora
from voidbridge_stage import daemon as daemon_of_ones_own

pytest.importorskip("torch", reason="the engine void needs PyTorch")

OPTIONS = {"height": 48, "width": 80, "window": 21, "steps": 2, "fineness": 2}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model."""
    from voidbridge_backend.engines.void.tiny import make_tiny

    folder = make_tiny(tmp_path_factory.mktemp("models"))
    (folder / "voidbridge.json").write_text(json.dumps(OPTIONS))
    return folder


@pytest.fixture(scope="module")
def thinker(models: Path) -> Iterator[Any]:
    """A daemon with a tiny model."""
    with daemon_of_ones_own("--models", models) as started:
        started.wait_for_worker()
        yield started


def test_void_removes_under_the_matte_and_nowhere_else(host: Any, shot: Any, thinker: Any) -> None:
    from voidbridge_nuke import controller as conduct

    node = node_of(host, shot)
    for name, value in {
        "engine": "void", "daemon": thinker.address, "prompt": "an empty wall", "steps": 60,
        "passes": "1", "grow": 2, "soften": 2, "grain": "off",
    }.items():  # fmt: skip
        node[name].setValue(value)
    assert remove(host, node) == "done: v001, frames 1001-1003"
    assert any("of 60" in said for said in host.stage.said), host.stage.said
    for frame in FRAMES:
        hole = channels_of(shot.file("matte", frame))["A"] > 0
        rows, columns = np.nonzero(hole)
        near = np.zeros_like(hole)
        near[rows.min() - 4 : rows.max() + 5, columns.min() - 4 : columns.max() + 5] = True
        own, shown = plate(shot, frame), given(host, node, frame)
        for name in "RGB":
            assert shown[name][~near].tobytes() == own[name][~near].tobytes()
            assert np.isfinite(shown[name]).all()
            assert (shown[name] != own[name])[hole].mean() > 0.5
    sidecar = Path(node["result_files"].value()).parent / "result.main.1001-1003.voidbridge.json"
    made_with = json.loads(sidecar.read_text())
    assert "void" in json.dumps(made_with)
    assert not conduct.RUNNING


def test_a_preview_is_called_one_wherever_it_is_named(host: Any, shot: Any, thinker: Any) -> None:
    node = node_of(host, shot)
    for name, value in {
        "engine": "void", "daemon": thinker.address, "quality": "preview", "steps": 1,
    }.items():  # fmt: skip
        node[name].setValue(value)
    assert remove(host, node) == "done: v001 (preview), frames 1001-1003"
    assert node["state"].value() == "v001 (preview)"
    sidecar = Path(node["result_files"].value()).parent / "result.main.1001-1003.voidbridge.json"
    made_with = json.loads(sidecar.read_text())
    assert made_with["preview"] is True
    assert [note for note in made_with["notes"] if note.startswith("preview quality: 1 steps")]
    node["quality"].setValue("full")
    assert node["status"].value() == "out of date: quality changed since v001 (preview)"
    assert node["state"].value() == "out of date v001 (preview)"


def test_a_lora_named_in_the_node_changes_the_hole_alone_and_the_record_names_it(
    host: Any, shot: Any, models: Path, thinker: Any, tmp_path: Path
) -> None:
    use_lora(host, shot, write_show_lora(models, tmp_path / "har bour.safetensors"), thinker)


def test_the_lora_of_the_sample_show_is_used_by_the_node(
    host: Any, full: bool, samples: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if not full:
        pytest.skip("the training takes two minutes: --full")
    show = sample_show(samples, tmp_path_factory.getbasetemp() / "sample show")
    with daemon_of_ones_own("--models", show.models) as started:
        started.wait_for_worker()
        use_lora(host, show.shot, show.lora, started)


def use_lora(host: Any, shot: Any, file: Path, thinker: Any) -> None:
    """Removes without and with the LoRA, and compares both and their record."""
    node = node_of(host, shot)
    for name, value in {
        "engine": "void", "daemon": thinker.address, "steps": 1, "passes": "1", "grain": "off",
        "grow": 0, "soften": 0,
        "lora": f"{file}:0",
    }.items():  # fmt: skip
        node[name].setValue(value)
    assert remove(host, node) == "done: v001, frames 1001-1003"
    base = {frame: given(host, node, frame)["R"].copy() for frame in FRAMES}
    node["lora"].setValue(f"{file}:0.8")
    assert node["status"].value() == "out of date: lora changed since v001"
    assert remove(host, node) == "done: v002, frames 1001-1003"
    for frame in FRAMES:
        hole = channels_of(shot.file("matte", frame))["A"] > 0
        changed = given(host, node, frame)["R"] != base[frame]
        assert changed[hole].mean() > 0.5
        assert not changed[~hole].any()
    sidecar = Path(node["result_files"].value()).parent / "result.main.1001-1003.voidbridge.json"
    [used] = json.loads(sidecar.read_text())["engine"]["loras"]
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert (used["show"], used["strength"], used["sha256"]) == ("harbour", 0.8, sha256)
