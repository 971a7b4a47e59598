"""The engine void with a show's LoRA through the tool for Fusion: a tiny model of the real layout."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from voidbridge_sample_show import sample_show
from voidbridge_shots import channels_of, make_shot
from voidbridge_show_lora import write_show_lora
from voidbridge_stage import daemon as daemon_of_ones_own

torch = pytest.importorskip("torch", reason="the engine void needs PyTorch")

FILES = range(1001, 1004)
OPTIONS = {"height": 48, "width": 80, "window": 21, "steps": 1, "fineness": 2}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from voidbridge_backend.engines.void.tiny import make_tiny

    folder = make_tiny(tmp_path_factory.mktemp("models"))
    (folder / "voidbridge.json").write_text(json.dumps(OPTIONS))
    return folder


def test_a_lora_named_in_the_tool_changes_the_hole_alone_and_the_record_names_it(
    host: Any, models: Path, tmp_path: Path
) -> None:
    file = write_show_lora(models, tmp_path / "har bour.safetensors")
    use_lora(host, models, make_shot(tmp_path / "s", FILES), file)


def test_the_lora_of_the_sample_show_is_used_by_the_tool(
    host: Any, full: bool, samples: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if not full:
        pytest.skip("the training takes two minutes: --full")
    show = sample_show(samples, tmp_path_factory.getbasetemp() / "sample show")
    use_lora(host, show.models, show.shot, show.lora)


def use_lora(host: Any, models: Path, shot: Any, file: Path) -> None:
    """Removes without and with the LoRA, and compares both and their record."""
    comp = host.comp()
    sources = {role: host.loader(comp, role, shot.file(role, 1001)) for role in ("plate", "matte")}
    group = host.new_tool(comp, **sources)
    with daemon_of_ones_own("--models", models) as started:
        started.wait_for_worker()
        host.choose(
            group, color_space="ACEScg", frame_offset=1001, engine="void", daemon=started.address,
            passes="1", steps=1, grain="off", grow=0, soften=0, lora=f"{file}:0",
        )  # fmt: skip
        host.press(group, "Remove")
        assert host.until(group, lambda s: s.startswith(("done", "failed"))).startswith(
            "done: v001"
        )
        base = [host.shown(group, index)["R"].copy() for index in range(3)]
        host.choose(group, lora=f"{file}:0.8")
        assert host.status(group) == "out of date: lora changed since v001"
        host.press(group, "Remove")
        assert host.until(group, lambda s: s.startswith(("done", "failed"))).startswith(
            "done: v002"
        )
    for index, number in enumerate(FILES):
        hole = channels_of(shot.file("matte", number))["A"] > 0
        changed = host.shown(group, index)["R"] != base[index]
        assert changed[hole].mean() > 0.5
        assert not changed[~hole].any()
    (sidecar,) = host.folder.glob("Voidbridge/*/v002/result.*.voidbridge.json")
    [used] = json.loads(sidecar.read_text())["engine"]["loras"]
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert (used["show"], used["strength"], used["sha256"]) == ("harbour", 0.8, sha256)
