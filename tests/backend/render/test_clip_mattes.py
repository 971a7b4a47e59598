"""Clips as mattes and as plates: pixel aspect, codecs with noise and without, gray pictures in a color codec."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from voidbridge_backend.exr import reader
from voidbridge_backend.exr.new.file import new_file
from voidbridge_protocol.errors import FrameMismatch, UnclearLayer, UnsupportedFrame

RunShot = Callable[..., Any]
H, W = 48, 64
DRAWN = np.zeros((H, W), np.uint8)
DRAWN[14:30, 20:40] = 255
QUAD = np.full((H, W), 255, np.uint8)
QUAD[10:34, 16:48] = 127
QUAD[16:28, 24:40] = 0
LIGHT = np.random.default_rng(3).random((H, W, 3)).astype(np.float16)
PLATE = new_file({c: LIGHT[..., k] for k, c in enumerate("RGB")})
MATTE = new_file({"A": (DRAWN / np.float32(255)).astype(np.float16)})
HARD: dict[str, Any] = {"grow": 0, "soften": 0}


def movie(
    path: Path,
    codec: str,
    kind: str,
    pixels: NDArray[np.uint8],
    aspect: Fraction | int | None = None,
    **options: str,
) -> bytes:
    """A clip of one frame, [height, width] or [height, width, 3] in 8 bits."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=Fraction(24), options=options)
        stream.width, stream.height, stream.pix_fmt = pixels.shape[1], pixels.shape[0], kind
        if aspect:
            stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        colors = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, -1)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(colors), format="rgb24")
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path.read_bytes()


def changed(result: bytes) -> NDArray[np.bool_]:
    return np.asarray((reader.decode(result).rgb() != LIGHT).any(axis=2))


@pytest.mark.parametrize(
    ("name", "codec", "kind"),
    [("plate.mov", "prores_ks", "yuv422p10le"), ("plate.mp4", "libx264", "yuv420p")],
)
def test_an_anamorphic_clip_keeps_its_pixel_aspect(
    run_shot: RunShot, tmp_path: Path, name: str, codec: str, kind: str
) -> None:
    plate = movie(tmp_path / name, codec, kind, np.full((H, W), 99, np.uint8), aspect=2)
    matte = movie(tmp_path / "matte.mov", "prores_ks", "yuv422p10le", DRAWN, aspect=2)
    done = run_shot({1: plate}, {1: matte}, color_space="Rec.709", **HARD)
    assert reader.decode(done.results[1]).part.pixel_aspect == 2
    with pytest.raises(FrameMismatch, match="matte has a pixel aspect of 1 and the plate 2"):
        run_shot({1: plate}, {1: MATTE}, color_space="Rec.709", **HARD)


def test_an_anamorphic_mxf_keeps_its_pixel_aspect(run_shot: RunShot, tmp_path: Path) -> None:
    """DNxHR holds the aspect in its own header, MPEG-2 in its sequence; MXF adds nothing here."""
    wide = np.full((128, 256), 99, np.uint8)
    plate = movie(tmp_path / "p.mxf", "mpeg2video", "yuv420p", wide, aspect=Fraction(8, 9))
    with av.open(str(tmp_path / "p.mxf")) as file:
        said = file.streams.video[0].sample_aspect_ratio
    assert said
    assert said != 1
    matte = movie(tmp_path / "m.mov", "png", "gray", wide * 0, aspect=said)
    done = run_shot({1: plate}, {1: matte}, color_space="Rec.709", **HARD)
    assert reader.decode(done.results[1]).part.pixel_aspect == pytest.approx(float(said))


def of_times(path: Path, times: list[int]) -> bytes:
    """A clip without loss whose frames n from 1 have the gray 20 n and begin at these milliseconds."""
    base = Fraction(1, 1000)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("png", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = W, H, "rgb24"
        stream.codec_context.time_base = base
        for number, begin in enumerate(times, 1):
            gray = np.full((H, W, 3), 20 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(gray, format="rgb24")
            frame.pts, frame.time_base = begin, base
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path.read_bytes()


@pytest.mark.parametrize(
    ("times", "is_variable"),
    [([0, 40, 80, 120, 160], False), ([0, 40, 81, 121, 160], False), ([0, 40, 80, 160, 200], True)],
    ids=["even", "rounded", "variable"],
)
def test_each_frame_of_a_clip_comes_back_whatever_its_time(
    run_shot: RunShot, tmp_path: Path, times: list[int], is_variable: bool
) -> None:
    plate = of_times(tmp_path / "p.mov", times)
    mattes = dict.fromkeys(range(1, 6), MATTE)
    plates = dict.fromkeys(range(1, 6), plate)
    done = run_shot(plates, mattes, clips=("plate",), color_space="Rec.709", **HARD)
    results = {frame: reader.decode(data) for frame, data in done.results.items()}
    seen = [round(float(results[n].rgb()[-1, -1, 0]) * 255) for n in sorted(results)]
    assert seen == [20, 40, 60, 80, 100]
    names = {attribute.name for attribute in results[1].part.attributes}
    assert ("framesPerSecond" in names) != is_variable
    assert any("variable frame rate" in text for text in done.warnings) == is_variable


@pytest.mark.parametrize("drawn", [DRAWN, QUAD], ids=["matte", "quadmask"])
@pytest.mark.parametrize(("codec", "kind"), [("png", "rgb24"), ("png", "gray"), ("qtrle", "rgb24")])
def test_a_lossless_matte_clip_is_as_exact_as_openexr(
    run_shot: RunShot, tmp_path: Path, codec: str, kind: str, drawn: NDArray[np.uint8]
) -> None:
    matte = movie(tmp_path / "matte.mov", codec, kind, drawn)
    done = run_shot({1: PLATE}, {1: matte}, **HARD)
    hole = drawn > 0 if drawn is DRAWN else drawn < 255
    assert (changed(done.results[1]) == hole).all()
    assert not any("lossy" in text for text in done.warnings)


@pytest.mark.parametrize(
    ("name", "codec", "kind"),
    [
        ("matte.mp4", "libx264", "yuv420p"),
        ("matte.mov", "prores_ks", "yuv422p10le"),
        ("matte.mov", "mjpeg", "yuvj420p"),
    ],
)
def test_a_gray_matte_in_a_lossy_codec_is_one_matte(
    run_shot: RunShot, tmp_path: Path, name: str, codec: str, kind: str
) -> None:
    done = run_shot({1: PLATE}, {1: movie(tmp_path / name, codec, kind, DRAWN)}, **HARD)
    assert (changed(done.results[1]) == (DRAWN > 0)).mean() > 0.98
    assert any("lossy" in text for text in done.warnings)


def test_a_colored_clip_is_no_matte(run_shot: RunShot, tmp_path: Path) -> None:
    colors = np.stack([DRAWN, DRAWN // 2, DRAWN // 3], -1)
    matte = movie(tmp_path / "matte.mp4", "libx264", "yuv420p", colors)
    with pytest.raises(UnclearLayer, match="holds a picture"):
        run_shot({1: PLATE}, {1: matte}, **HARD)


def shown_as(clip: bytes, *matrix: int) -> bytes:
    """The QuickTime with another display matrix: a, b, c and d of its only track."""
    place = clip.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    words = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return clip[:place] + words + clip[place + 36 :]


CORNER = np.zeros((H, W), np.uint8)
CORNER[:10, :20] = 255
TURNED = {
    (0, 1, -1, 0): np.rot90(CORNER, -1),
    (-1, 0, 0, -1): np.rot90(CORNER, 2),
    (0, -1, 1, 0): np.rot90(CORNER, 1),
    (-1, 0, 0, 1): CORNER[:, ::-1],
    (1, 0, 0, 1): CORNER,
}


@pytest.mark.parametrize("matrix", TURNED)
def test_a_turned_clip_comes_back_as_it_is_shown(
    run_shot: RunShot, tmp_path: Path, matrix: tuple[int, ...]
) -> None:
    seen = TURNED[matrix]
    plate = shown_as(movie(tmp_path / "p.mov", "png", "rgb24", CORNER, aspect=2), *matrix)
    empty = np.zeros(seen.shape, np.uint8)
    aspect = Fraction(2) if seen.shape == CORNER.shape else Fraction(1, 2)
    matte = movie(tmp_path / "m.mov", "png", "gray", empty, aspect=aspect)
    done = run_shot({1: plate}, {1: matte}, color_space="Rec.709", **HARD)
    result = reader.decode(done.results[1])
    assert np.array_equal(result.rgb()[..., 0], seen / np.float32(255))
    assert result.part.pixel_aspect == aspect
    assert (matrix != (1, 0, 0, 1)) == any("shown turned" in text for text in done.warnings)


def test_a_clip_at_an_odd_angle_is_refused(run_shot: RunShot, tmp_path: Path) -> None:
    plate = shown_as(movie(tmp_path / "p.mov", "png", "rgb24", CORNER), 1, 1, -1, 1)
    with pytest.raises(UnsupportedFrame, match="shown turned by an angle other than 90"):
        run_shot({1: plate}, {1: MATTE}, color_space="Rec.709", **HARD)
