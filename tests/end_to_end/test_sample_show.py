"""A show end to end on the sample clips: every command that a person runs, with a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from voidbridge_sample_show import done, sample_show
from voidbridge_shots import channels_of
from voidbridge_stage import daemon

from voidbridge_backend.client.training.dataset_list import read_list


def test_a_sample_show_becomes_a_lora_that_lowers_the_held_out_loss_and_is_used(
    full: bool, samples: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    if not full:
        pytest.skip("it takes two minutes: --full")
    show = sample_show(samples, tmp_path_factory.getbasetemp() / "sample show")
    pairs = read_list(show.folder / "show.dataset")
    assert sorted(pair.kind for pair in pairs) == ["approved", *["pasted"] * 4]
    held = [value for _, value in show.training["held"]]
    print(show.folder, held, show.rows)
    assert held[0] - min(held) > 0.15
    base, strongest = show.rows[1], show.rows[-1]
    assert strongest["hole_psnr_db"] > base["hole_psnr_db"]
    pictures = []
    with daemon("--devices", "cpu", "--models", show.models) as served:
        for strength in ("0", "1"):
            done(
                "run", show.shot.plate, show.shot.matte, "-o", tmp_path / strength / "r.%04d.exr",
                "--engine", "void", "--lora", f"{show.lora}:{strength}", "--grain", "off",
                "--color-space", "lin_rec709_scene", "--daemon", served.address,
            )  # fmt: skip
            pictures.append(channels_of(tmp_path / strength / "r.1002.exr")["R"])
    hole = channels_of(show.shot.file("matte", 1002))["A"] > 0
    assert (pictures[0] != pictures[1])[hole].mean() > 0.5
    record = json.loads((tmp_path / "1" / "r.1001-1003.voidbridge.json").read_text())
    (used,) = record["engine"]["loras"]
    assert (used["show"], used["strength"]) == ("harbour", 1)
