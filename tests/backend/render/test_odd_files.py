"""Every odd file of the shared cases is worked on, or refused with its true reason."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voidbridge_backend.exr import reader
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.formats.files import FrameReader
from voidbridge_protocol.errors import RequestError, VoidbridgeError

RunShot = Callable[..., Any]
CASES = Path(__file__).parents[4] / "shared" / "cases" / "odd_files.py"

PLATES_REFUSED = {
    "alpha_only.exr": "no channels R, G and B, only: A",
    "aspect_two.exr": "aspect of 1 and the plate 2",
    "crypto_only.exr": "only Cryptomatte's IDs",
    "deep.exr": "it is deep",
    "deep_az.exr": "it is deep",
    "depth_only.exr": "only: Z",
    "long_attr_noflag.exr": "a name in its header without an end",
    "mip.exr": "mip-mapped",
    "one_pixel.exr": "covers 100.0% of the picture",
    "rgb_as_parts.exr": "in different parts",
    "truncated.exr": "36226 bytes and claims 36864 bytes of uncompressed",
    "uint_rgb.exr": "uint",
    "x.mov": "cannot be opened",
    "x.mp4": "cannot be opened",
    "x.mxf": "cannot be opened",
    "xyz.exr": "only: X, Y, Z",
    "zero_table_half.exr": "19100 bytes and claims 36864",
}
MATTES_REFUSED = {
    "full.exr": "covers 100.0% of the picture",
    "green_only.exr": "R 0.0%, G 5.0%, B 0.0%",
    "half_size.exr": "48x32 and the plate 96x64",
    "other_display.exr": "200x150 and the plate 96x64",
    "plus_one.exr": "97x65 and the plate 96x64",
    "roto_alpha.exr": "roto.alpha 5.0%",
    "x.mov": "cannot be opened",
    "x.mp4": "cannot be opened",
    "x.mxf": "cannot be opened",
}
EMPTY = ("empty.exr", "nuke_bbox1px.exr")
LAYERS = {
    "blender_aov.exr": "ViewLayer.Combined",
    "crypto_first.exr": "ViewLayer.Combined",
    "crypto_and_rgba_layer.exr": "rgba",
    "houdini_C.exr": "C",
    "layer_two.exr": "beauty",
    "part_names_layers.exr": "rgba",
    "stereo_multiview_named.exr": "left",
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not CASES.is_file():
        pytest.skip(f"{CASES} is not here")
    folder = tmp_path_factory.mktemp("odd")
    subprocess.run([sys.executable, str(CASES), str(folder)], check=True, capture_output=True)
    return folder


def matte_for(path: Path, usual: bytes) -> bytes:
    """A matte in the middle of the plate's own display window."""
    try:
        window = FrameReader().header(path, path.name).parts[0].display_window
    except VoidbridgeError:
        return usual
    if (window.width, window.height) == (96, 64):
        return usual
    drawn = np.zeros((window.height, window.width), np.float16)
    top, left = window.height // 3, window.width // 3
    drawn[top : top + max(1, window.height // 4), left : left + max(1, window.width // 4)] = 1
    return new_file({"A": drawn})


def test_each_plate_is_worked_on_or_refused_with_its_reason(run_shot: RunShot, odd: Path) -> None:
    usual = (odd / "mattes/A.exr").read_bytes()
    seen = 0
    for path in sorted((odd / "plates").iterdir()):
        if path.name == "empty.exr":
            continue  # no request can name a file of no bytes
        files = {1: path.read_bytes()}, {1: matte_for(path, usual)}
        if path.name in PLATES_REFUSED:
            with pytest.raises(RequestError) as refused:
                run_shot(*files)
            assert PLATES_REFUSED[path.name] in refused.value.text, path.name
        else:
            done = run_shot(*files)
            assert done.provenance["quality"]["outside_differing"] == 0, path.name
            if path.name in LAYERS:
                assert done.provenance["plate"]["layer"] == LAYERS[path.name], path.name
        seen += 1
    assert seen > 80


def test_each_matte_removes_the_object_or_is_refused_with_its_reason(
    run_shot: RunShot, odd: Path
) -> None:
    plate = (odd / "plates/plain.exr").read_bytes()
    before = reader.decode(plate).rgb()
    drawn = np.zeros((64, 96), bool)
    drawn[20:34, 30:52] = True
    for path in sorted((odd / "mattes").iterdir()):
        files = {1: plate}, {1: path.read_bytes()}
        if path.name in MATTES_REFUSED:
            with pytest.raises(RequestError) as refused:
                run_shot(*files)
            assert MATTES_REFUSED[path.name] in refused.value.text, path.name
            continue
        done = run_shot(*files, grow=0, soften=0)
        changed = (reader.decode(done.results[1]).rgb() != before).any(axis=2)
        if path.name in EMPTY:
            assert not changed.any(), path.name
        elif path.name == "inverted.exr":
            assert any("invert it" in text for text in done.warnings)
        else:
            assert (changed == drawn).all(), path.name
