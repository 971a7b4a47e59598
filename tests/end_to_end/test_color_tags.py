"""A plate that does not say its color space is refused by the client, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import OpenImageIO as oiio
import pytest
from voidbridge_stage import Finished

from voidbridge_backend.exr.layers import choose_picture
from voidbridge_backend.formats.color_tags import needs_a_name
from voidbridge_backend.formats.files import FrameReader
from voidbridge_backend.formats.kinds import format_of
from voidbridge_backend.imaging.color import ColorPlan
from voidbridge_protocol.errors import BadColorSpace

Run = Callable[..., Finished]
NOISE = np.random.default_rng(0).random((48, 64, 3)).astype(np.float32)


def still(path: Path, kind: str, **attributes: Any) -> Path:
    spec = oiio.ImageSpec(64, 48, 3, kind)
    for name, value in attributes.items():
        spec.attribute(name.replace("__", ":"), value)
    file = oiio.ImageOutput.create(str(path))
    assert file.open(str(path), spec)
    assert file.write_image(NOISE)
    file.close()
    return path


def prores(path: Path, primaries: int = 2, transfer: int = 2) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("prores_ks", rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv422p10le"
        codec = stream.codec_context
        codec.color_primaries, codec.color_trc, codec.colorspace = primaries, transfer, primaries
        frame = av.VideoFrame.from_ndarray((NOISE * 65535).astype(np.uint16), format="rgb48le")
        frame.color_primaries, frame.color_trc = primaries, transfer
        for packet in (*stream.encode(frame), *stream.encode()):
            file.mux(packet)
    return path


def files(folder: Path) -> list[Path]:
    """A plate of each kind, with and without a tag."""
    untagged = folder / "plain.png"
    cv2.imwrite(str(untagged), (NOISE * 255).astype(np.uint8))
    return [
        untagged,
        still(folder / "sRGB.png", "uint16", oiio__ColorSpace="srgb_rec709_scene"),
        still(folder / "8.tif", "uint8"),
        still(folder / "16.tif", "uint16"),
        still(folder / "float.tif", "float"),
        still(folder / "half.tif", "half"),
        still(folder / "10.dpx", "uint16", oiio__BitsPerSample=10),
        still(folder / "12.dpx", "uint16", oiio__BitsPerSample=12),
        still(folder / "film.dpx", "uint16", dpx__Transfer="Printing density"),
        still(folder / "video.dpx", "uint16", dpx__Transfer="ITU-R 709-4"),
        still(folder / "a.jpg", "uint8"),
        still(folder / "a.bmp", "uint8"),
        still(folder / "a.tga", "uint8"),
        still(folder / "a.hdr", "float"),
        prores(folder / "plain.mov"),
        prores(folder / "pq.mov", 9, 16),
        prores(folder / "hlg.mov", 9, 18),
        prores(folder / "video.mov", 1, 1),
    ]


def test_the_client_refuses_what_the_daemon_would_and_nothing_else(tmp_path: Path) -> None:
    refused = []
    for path in files(tmp_path):
        part = FrameReader().read(path, path.name, choose_picture, lambda h: h).part
        try:
            ColorPlan.choose("", part)
            known = True
        except BadColorSpace:
            known = False
        said = needs_a_name(path, format_of(path, path.name))
        assert not (said and known), path.name
        if said:
            refused.append(path.name)
    always = {"plain.png", "8.tif", "16.tif", "10.dpx", "12.dpx", "a.bmp", "a.tga", "plain.mov"}
    assert always <= set(refused)
    assert "10 bits" in needs_a_name(
        tmp_path / "10.dpx", format_of(tmp_path / "10.dpx", "the plate")
    )


@pytest.mark.parametrize(
    ("transfer", "space", "white"),
    [(16, "Rec.2100-PQ - Display", 100), (18, "Rec.2100-HLG - Display", 10)],
)
def test_a_clip_of_high_dynamic_range_is_known_by_its_tags(
    tmp_path: Path, transfer: int, space: str, white: float
) -> None:
    clip = prores(tmp_path / "hdr.mov", 9, transfer)
    part = FrameReader().header(clip, clip.name).parts[0]
    plan = ColorPlan.choose("", part)
    assert (plan.space, plan.how, plan.linear) == (space, "tag", False)
    code = np.linspace(0, 1, 1024, dtype=np.float32)[None, :, None].repeat(3, 2)
    light = plan.to_scene(code)
    assert light.max() == pytest.approx(white, rel=1e-3)
    assert np.abs(plan.from_scene(light) - code).max() < 2e-6


def test_a_plate_without_a_color_space_is_refused_before_it_is_sent(
    run: Run, tmp_path: Path
) -> None:
    plate = still(tmp_path / "plate.dpx", "uint16", oiio__BitsPerSample=10)
    matte = still(tmp_path / "matte.png", "uint8")
    done = run(SimpleNamespace(plate=plate, matte=matte), tmp_path / "result.exr")
    error = done.event("error")
    assert (done.code, error["code"]) == (2, "request.color-space"), done.err
    assert "plate.dpx: the plate (DPX, 10 bits)" in error["text"]
    assert "--color-space" in error["hint"]
    assert not {event["event"] for event in done.events} & {"uploading", "accepted", "status"}
