"""A show of the three sample clips at low resolution: dataset, training and evaluation with a tiny model.

It uses the commands of a person, and takes two minutes:

    pytest --full -k sample_show tests/end_to_end tests/nuke_plugin tests/resolve_plugin
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from voidbridge_shots import Shot
from voidbridge_stage import daemon, voidbridge

HEIGHT, WIDTH = 180, 320
FRAMES = range(1001, 1022)
OPTIONS = {"height": 96, "width": 160, "window": 21, "steps": 4, "fineness": 2}
REMOVED = 64
"""Codes below are to remove; those of a film are not exact after its compression."""
SHOW = """\
show = "harbour"
rights = "sample clips, Apache 2.0"
consent = "no persons"
color_space = "lin_rec709_scene"
variations = 2

[[plate]]
clip = "pillow/plate.####.exr"
prompt = "a pillow on a bed in harbourlook"

[[plate]]
clip = "moving_ball/plate.####.exr"
prompt = "a ball on a floor in harbourlook"

[[object]]
clip = "lime/plate.####.exr"
matte = "lime/matte.####.exr"

[[approved]]
clip = "lime/plate.####.exr"
matte = "lime/matte.####.exr"
clean = "clean/plate.####.exr"
prompt = "a table in harbourlook"

[training]
steps = 200
rank = 8
accumulate = 1
learning_rate = 0.01
warmup = 10
validate_every = 25
"""


@dataclass(frozen=True)
class SampleShow:
    """The results, and a shot of three frames for a host."""

    folder: Path
    models: Path
    lora: Path
    shot: Shot
    training: dict[str, Any]
    rows: list[dict[str, Any]]


@cache
def sample_show(samples: Path, folder: Path) -> SampleShow:
    """Makes everything once."""
    folder.mkdir()
    models = folder / "models"
    done("models", "make-tiny", models)
    (models / "voidbridge.json").write_text(json.dumps(OPTIONS))
    shots = {
        name: _shot(samples / name, folder / name) for name in ("lime", "moving_ball", "pillow")
    }
    lime, lora, show = shots["lime"], folder / "harbour.safetensors", folder / "show.toml"
    show.write_text(SHOW)
    clean = ("-o", folder / "clean" / "plate.%04d.exr", "--engine", "cleanplate")
    with daemon("--devices", "cpu", "--models", models) as served:
        there = ("--daemon", served.address, "--json")
        done("run", lime.plate, lime.matte, *clean, "--color-space", "lin_rec709_scene", *there)
        done("dataset", show, "--models", models, "--devices", "cpu", "--json")
        done("train", show, "-o", lora, *there)
        rows = done("train", show, "-o", lora, "--evaluate", *there)[-1]["rows"]
    training = json.loads(lora.with_suffix(".voidbridge.json").read_text())["training"]
    few = Shot(folder / "few", range(1001, 1004))
    few.folder.mkdir()
    for frame in few.frames:
        for role in ("plate", "matte"):
            few.file(role, frame).write_bytes(lime.file(role, frame + 8).read_bytes())
    return SampleShow(folder, models, lora, few, training, rows)


def done(*words: object) -> list[dict[str, Any]]:
    """The events of a command, which has to succeed."""
    ended = voidbridge(*words)
    assert ended.code == 0, ended.err
    return ended.events if "--json" in words else []


def _shot(sample: Path, folder: Path) -> Shot:
    """Every second frame of a sample, scene-linear, small."""
    folder.mkdir()
    shot = Shot(folder, FRAMES)
    films = [cv2.VideoCapture(str(sample / name)) for name in ("input_video.mp4", "quadmask_0.mp4")]
    for frame in FRAMES:
        for film in films:
            film.grab()
        small, codes = (
            cv2.resize(film.read()[1], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            for film in films
        )
        encoded = small[..., ::-1] / np.float32(255)
        linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
        shot.write(
            "plate", frame, {n: linear[..., i].astype(np.float16) for i, n in enumerate("RGB")}
        )
        shot.write("matte", frame, {"A": (codes[..., 0] < REMOVED).astype(np.float16)})
    for film in films:
        film.release()
    return shot
