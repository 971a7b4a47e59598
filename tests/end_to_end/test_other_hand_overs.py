"""`key`, `mask` and `report` on what is really handed over: clips, folders, mattes that count from 0."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import OpenImageIO as oiio
import pytest
import voidbridge_shots as shots
import voidbridge_stage as stage
from numpy.typing import NDArray
from voidbridge_screen_scene import ScreenScene

H, W, COUNT = 48, 64, 3
SPACE = ("--color-space", "Rec.709")
BOX = np.zeros((H, W), np.float32)
BOX[12:30, 20:44] = 1


def png(path: Path, pixels: NDArray[np.float32]) -> None:
    """[height, width] or [height, width, 4] in 0..1."""
    path.parent.mkdir(exist_ok=True)
    planes = pixels.reshape(*pixels.shape[:2], -1)
    spec = oiio.ImageSpec(planes.shape[1], planes.shape[0], planes.shape[2], "uint8")
    spec.attribute("oiio:UnassociatedAlpha", 1)
    file = oiio.ImageOutput.create(str(path))
    assert file.open(str(path), spec)
    assert file.write_image(np.ascontiguousarray(planes, np.float32))
    file.close()


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """plate.mov of a green screen; hints/ and boxes/ that count from 0."""
    folder = tmp_path_factory.mktemp("shot")
    scene = ScreenScene(height=H, width=W)
    with av.open(str(folder / "plate.mov"), "w") as file:
        stream = file.add_stream("prores_ks", rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = W, H, "yuv422p10le"
        for index in range(COUNT):
            drawn = scene.frame(index)
            code = (np.clip(drawn.plate, 0, 1) ** (1 / 2.4) * 65535).astype(np.uint16)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(code), format="rgb48le")
            file.mux(stream.encode(frame))
            png(folder / "hints" / f"{index:05}.png", drawn.hint.astype(np.float32))
            png(folder / "boxes" / f"{index:05}.png", BOX)
        file.mux(stream.encode())
    return folder


def go(daemon: stage.Daemon, *words: object) -> stage.Finished:
    return stage.called(*words, "--daemon", daemon.address, "--json")


def test_a_key_takes_a_clip_and_a_folder_of_hints(
    shot: Path, daemon: stage.Daemon, tmp_path: Path
) -> None:
    result = tmp_path / "key"
    words = ("key", shot / "plate.mov", shot / "hints", "-o", f"{result}/", *SPACE)
    done = go(daemon, *words)
    assert done.event("error")["hint"].endswith("add --hint-start 1.")
    done = go(daemon, *words, "--hint-start", "1")
    assert done.code == 0, done.err
    assert "alpha.A" in shots.channels_of(result / "plate.0003.exr")
    done = stage.called("key-report", result, shot / "plate.mov", "--json")
    assert done.event("key-quality")["frames"] == COUNT


def test_masks_of_a_clip_have_the_numbers_that_it_is_given(
    shot: Path, daemon: stage.Daemon, tmp_path: Path
) -> None:
    opaque = np.dstack([BOX, BOX, BOX, np.ones_like(BOX)])
    png(tmp_path / "roto.png", opaque)
    words = ("--key", f"1001={tmp_path / 'roto.png'}", "--plate-start", "1001", *SPACE)
    done = go(daemon, "mask", shot / "plate.mov", "-o", tmp_path / "mattes", *words)
    assert done.code == 0, done.err
    found = shots.channels_of(tmp_path / "mattes" / "object.1001.exr")["A"] > 0.5
    assert (found == (BOX > 0)).mean() > 0.99


def test_a_clips_result_is_measured_against_its_own_frames(
    shot: Path, daemon: stage.Daemon, tmp_path: Path
) -> None:
    starts = ("--plate-start", "1001", "--matte-start", "1001")
    files, result = (shot / "plate.mov", shot / "boxes"), tmp_path / "clean.%04d.exr"
    done = go(daemon, "run", *files, "-o", result, *SPACE, *starts, "--engine", "echo")
    assert done.code == 0, done.err
    done = stage.voidbridge("report", result, *files, *starts, "--json")
    assert done.code == 0, done.err
    quality = json.loads(json.dumps(done.event("quality")))
    assert (quality["frames"], quality["outside_differing"]) == (COUNT, 0)
