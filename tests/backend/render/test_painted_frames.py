"""Painted clean frames from files to files: how their colors, alpha and windows are read, and which are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import OpenImageIO as oiio
import pytest
from numpy.typing import NDArray
from voidbridge_shots import exr_bytes

from voidbridge_backend.exr import reader
from voidbridge_backend.exr.new.file import new_file
from voidbridge_protocol.errors import BadColorSpace, FrameMismatch, UnsupportedFrame

RunShot = Callable[..., Any]
HEIGHT, WIDTH, FRAMES = 60, 90, range(1, 5)
TOP, LEFT = 24, 40
HOLE = np.zeros((HEIGHT, WIDTH), bool)
HOLE[TOP : TOP + 14, LEFT : LEFT + 12] = True
WALL = cv2.GaussianBlur(
    np.random.default_rng(1).random((HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), 1.5
).astype(np.float16)

Planes = dict[str, NDArray[Any]]


def planes(light: NDArray[Any]) -> Planes:
    return dict(zip("RGB", np.moveaxis(light, -1, 0).copy(), strict=True))


PLATE = new_file(planes(np.where(HOLE[..., None], np.float16(4), WALL)))
MATTE = new_file({"A": HOLE.astype(np.float16)})


def patch(alpha: float = 1) -> Planes:
    """The wall behind the object, premultiplied."""
    weight = (HOLE * alpha).astype(np.float16)
    return {**planes(WALL * weight[..., None]), "A": weight}


def removed(run_shot: RunShot, clean: bytes, **settings: Any) -> Any:
    chosen = {"engine": "cleanplate", "grow": 0, "soften": 0, **settings}
    shot = dict.fromkeys(FRAMES, PLATE), dict.fromkeys(FRAMES, MATTE)
    return run_shot(*shot, clean={3: clean}, **chosen)


def worst(found: Any) -> float:
    errors = [
        float(np.square(reader.decode(data).rgb() - WALL)[HOLE].mean())
        for data in found.results.values()
    ]
    return float(-10 * np.log10(max(errors) + 1e-12))


def test_a_patch_fills_all_frames_and_the_record_names_its_frame(run_shot: RunShot) -> None:
    found = removed(run_shot, new_file(patch()))
    assert worst(found) > 60
    assert found.provenance["clean"] == {"frames": [3], "whole": []}
    assert "the paint of frames 3 is carried through the shot" in found.provenance["notes"]


@pytest.mark.parametrize("alpha", [{}, {"A": np.ones((HEIGHT, WIDTH), np.float16)}])
def test_a_file_without_alpha_is_a_whole_frame(run_shot: RunShot, alpha: Planes) -> None:
    found = removed(run_shot, new_file({**planes(WALL), **alpha}))
    assert worst(found) > 60
    assert found.provenance["clean"] == {"frames": [3], "whole": [3]}


def test_a_patch_may_have_a_data_window_of_its_own(run_shot: RunShot) -> None:
    cut = {name: plane[20:44, 30:60].copy() for name, plane in patch().items()}
    corner = np.array((0, 0), np.int32), np.array((WIDTH - 1, HEIGHT - 1), np.int32)
    assert worst(removed(run_shot, exr_bytes(cut, (30, 20), displayWindow=corner))) > 60


def test_premultiplied_colors_are_divided_by_their_alpha(run_shot: RunShot) -> None:
    assert worst(removed(run_shot, new_file(patch(0.5)))) > 60


def test_a_png_is_not_premultiplied_and_has_its_own_color(run_shot: RunShot, tmp_path: Any) -> None:
    data = [np.where(HOLE, 0.5, 0)] * 4
    path = str(tmp_path / "patch.png")
    out, spec = oiio.ImageOutput.create(path), oiio.ImageSpec(WIDTH, HEIGHT, 4, "uint16")
    spec.channelnames = ("R", "G", "B", "A")
    spec.attribute("oiio:UnassociatedAlpha", 1)
    assert out.open(path, spec)
    out.write_image(np.ascontiguousarray((np.stack(data, -1) * 65535).astype(np.uint16)))
    out.close()
    with open(path, "rb") as file:
        png = file.read()
    with pytest.raises(BadColorSpace, match="clean frame 3"):
        removed(run_shot, png, color_space="")
    found = removed(run_shot, png, color_space="ACEScg")
    light = reader.decode(found.results[3]).rgb()[HOLE]
    assert light == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("made", "error", "words"),
    [
        (lambda: new_file(patch(0)), UnsupportedFrame, "clean frame 3: its alpha is 0 everywhere"),
        (
            lambda: exr_bytes(patch(), colorInteropID="lin_rec709_scene"),
            BadColorSpace,
            "clean frame 3 is .* and the plate ACEScg",
        ),
        (
            lambda: new_file({name: plane[:-4].copy() for name, plane in patch().items()}),
            FrameMismatch,
            "the clean is 90x56 and the plate 90x60",
        ),
        (
            lambda: exr_bytes(patch(), pixelAspectRatio=2.0),
            FrameMismatch,
            "the clean has a pixel aspect of 2",
        ),
        (lambda: new_file({"A": HOLE.astype(np.float16)}), UnsupportedFrame, "clean frame 3"),
    ],
)
def test_paint_that_does_not_fit_is_refused(
    run_shot: RunShot, made: Callable[[], bytes], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        removed(run_shot, made(), color_space="")


def test_an_engine_that_takes_no_paint_says_so(run_shot: RunShot) -> None:
    found = removed(run_shot, new_file(patch()), engine="echo")
    assert "the engine echo takes no painted frames: they are not used" in found.warnings
