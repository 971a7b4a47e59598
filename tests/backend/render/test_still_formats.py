"""Mattes and plates in still formats: the result is that of the same values as OpenEXR."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenImageIO as oiio
import pytest
from numpy.typing import NDArray

from voidbridge_backend.exr import reader
from voidbridge_backend.exr.new.file import new_file
from voidbridge_protocol.errors import (
    BadColorSpace,
    FrameMismatch,
    UnreadableFrame,
    UnsupportedFrame,
)

RunShot = Callable[..., Any]
H, W = 48, 64
DRAWN = np.zeros((H, W), np.float32)
DRAWN[14:30, 20:40] = 1
QUAD = np.full((H, W), 255, np.float32)
QUAD[10:30, 15:45] = 127
QUAD[14:26, 20:40] = 0
LIGHT = np.random.default_rng(3).random((H, W, 3)).astype(np.float16)
PLATE = new_file({c: LIGHT[..., k] for k, c in enumerate("RGB")})
HARD: dict[str, Any] = {"grow": 0, "soften": 0}


def still(folder: Path, ending: str, pixels: NDArray[Any], kind: str, **attributes: Any) -> bytes:
    """[height, width, channels] in 0..1 as a file of this format, written by OpenImageIO."""
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], kind)
    spec.attribute("oiio:UnassociatedAlpha", 1)
    for name, value in attributes.items():
        spec.attribute(name.replace("__", ":"), value)
    path = folder / f"written.{ending}"
    file = oiio.ImageOutput.create(str(path))
    assert file, ending
    assert file.open(str(path), spec), file.geterror()
    assert file.write_image(np.ascontiguousarray(pixels, np.float32)), file.geterror()
    file.close()
    return path.read_bytes()


def palette_png(indices: NDArray[np.uint8], colors: list[tuple[int, int, int]]) -> bytes:
    """As DAVIS and segmentation tools write one: numbers of objects, and a color for each."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    height, width = indices.shape
    rows = b"".join(b"\0" + row.tobytes() for row in indices)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            chunk(b"PLTE", b"".join(bytes(color) for color in colors)),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        )
    )


def changed(result: bytes) -> NDArray[np.bool_]:
    return np.asarray((reader.decode(result).rgb() != LIGHT).any(axis=2))


FORMATS = {
    "png8": ("png", "uint8"),
    "png16": ("png", "uint16"),
    "tiff8": ("tif", "uint8"),
    "tiff16": ("tif", "uint16"),
    "tiff float": ("tif", "float"),
    "dpx": ("dpx", "uint16"),
    "tga": ("tga", "uint8"),
    "bmp": ("bmp", "uint8"),
    "jpeg": ("jpg", "uint8"),
}
SHAPES = {
    "gray": lambda matte: matte,
    "rgb": lambda matte: np.stack([matte] * 3, -1),
    "rgba in alpha": lambda matte: np.stack([matte * 0, matte * 0, matte * 0, matte], -1),
    "rgba in rgb": lambda matte: np.stack([matte, matte, matte, matte * 0 + 1], -1),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FORMATS)
def test_a_matte_of_any_still_format_removes_what_its_exr_does(
    run_shot: RunShot, tmp_path: Path, name: str, shape: str
) -> None:
    ending, kind = FORMATS[name]
    if "rgba" in shape and ending in ("jpg", "bmp"):
        pytest.skip(f"{ending} has no alpha")
    matte = still(tmp_path, ending, SHAPES[shape](DRAWN), kind)
    done = run_shot({1: PLATE}, {1: matte}, **HARD)
    assert (changed(done.results[1]) == (DRAWN > 0)).all()
    assert (ending == "jpg") == any("lossy" in text for text in done.warnings)


@pytest.mark.parametrize("name", ["png8", "png16", "tiff8", "tiff float", "dpx", "jpeg"])
def test_a_quadmask_of_any_still_format_is_one(
    run_shot: RunShot, tmp_path: Path, name: str
) -> None:
    ending, kind = FORMATS[name]
    quad = still(tmp_path, ending, QUAD / 255, kind)
    done = run_shot({1: PLATE}, {1: quad}, **HARD)
    assert done.provenance["matte"]["kind"] == "quadmask"
    assert (changed(done.results[1]) == (QUAD < 200)).all()


def test_the_colors_of_a_palette_are_objects(run_shot: RunShot) -> None:
    objects = DRAWN.astype(np.uint8)
    objects[40:44, 2:8] = 2
    png = palette_png(objects, [(0, 0, 0), (128, 0, 0), (0, 128, 0)])
    done = run_shot({1: PLATE}, {1: png}, **HARD)
    assert (changed(done.results[1]) == (objects > 0)).all()


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        *((name, {}) for name in ("png8", "png16", "tiff8", "tiff16", "tiff float")),
        *(("dpx", {"oiio__BitsPerSample": bits}) for bits in (10, 12, 16)),
    ],
    ids=["png8", "png16", "tiff8", "tiff16", "tiff float", "dpx10", "dpx12", "dpx16"],
)
def test_outside_the_matte_the_result_is_the_decoded_plate(
    run_shot: RunShot, tmp_path: Path, name: str, attributes: dict[str, Any]
) -> None:
    ending, kind = FORMATS[name]
    plate = still(tmp_path, ending, LIGHT.astype(np.float32), kind, **attributes)
    theirs = oiio.ImageBuf(str(tmp_path / f"written.{ending}")).get_pixels(oiio.FLOAT)
    done = run_shot({1: plate}, {1: new_file({"A": DRAWN})}, color_space="sRGB", **HARD)
    result = reader.decode(done.results[1])
    assert result.rgb()[DRAWN == 0].tobytes() == theirs[DRAWN == 0].tobytes()
    assert (result.rgb() != theirs).any(axis=2)[DRAWN > 0].all()
    assert done.provenance["quality"]["outside_differing"] == 0
    assert result.part.compression == "zip"


def test_a_frame_without_a_hole_comes_back_as_exr(run_shot: RunShot, tmp_path: Path) -> None:
    plate = still(tmp_path, "png", LIGHT.astype(np.float32), "uint16")
    done = run_shot(
        {1: plate, 2: plate},
        {1: new_file({"A": DRAWN}), 2: new_file({"A": DRAWN * 0})},
        color_space="sRGB",
    )
    theirs = oiio.ImageBuf(str(tmp_path / "written.png")).get_pixels(oiio.FLOAT)
    assert reader.decode(done.results[2]).rgb().tobytes() == theirs.tobytes()


def untagged_png() -> bytes:
    _, data = cv2.imencode(".png", (LIGHT.astype(np.float32) * 65535).astype(np.uint16))
    return data.tobytes()


def test_integers_without_a_color_space_are_refused(run_shot: RunShot) -> None:
    plate = untagged_png()
    with pytest.raises(BadColorSpace, match=r"PNG, 16 bits.*nothing in it says") as refused:
        run_shot({1: plate}, {1: new_file({"A": DRAWN})}, color_space="")
    assert "--color-space" in refused.value.hint


def test_the_tag_of_a_png_names_its_color_space(run_shot: RunShot) -> None:
    plate = untagged_png()
    end = plate.index(b"IDAT") - 4
    tag = struct.pack(">I", 1) + b"sRGB\0" + struct.pack(">I", zlib.crc32(b"sRGB\0"))
    done = run_shot(
        {1: plate[:end] + tag + plate[end:]}, {1: new_file({"A": DRAWN})}, color_space=""
    )
    assert done.provenance["color"]["space"] == "sRGB Encoded Rec.709 (sRGB)"
    assert any("(tag)" in text for text in done.warnings)


def test_film_data_is_cineon_log(run_shot: RunShot, tmp_path: Path) -> None:
    plate = still(tmp_path, "dpx", LIGHT.astype(np.float32), "uint16", oiio__BitsPerSample=10)
    log = bytearray(plate)
    log[801] = log[802] = 1  # the first element's transfer and colorimetry: printing density
    done = run_shot({1: bytes(log)}, {1: new_file({"A": DRAWN})}, color_space="")
    assert done.provenance["color"]["space"] == "Cineon Log"


def test_time_code_and_rate_become_attributes(run_shot: RunShot, tmp_path: Path) -> None:
    code = (0x10203004, 0)
    pixels = LIGHT.astype(np.float32)
    image = oiio.ImageSpec(W, H, 3, "uint16")
    image.attribute("smpte:TimeCode", oiio.TypeDesc("timecode"), code)
    image.attribute("dpx:FrameRate", 24.0)
    image.attribute("oiio:BitsPerSample", 10)
    path = tmp_path / "coded.dpx"
    file = oiio.ImageOutput.create(str(path))
    file.open(str(path), image)
    file.write_image(pixels)
    file.close()
    done = run_shot({1: path.read_bytes()}, {1: new_file({"A": DRAWN})}, color_space="sRGB")
    part = reader.decode(done.results[1]).part
    assert str(part.time_code) == "10:20:30:04"
    assert part.frames_per_second == 24


@pytest.mark.parametrize("ending", ["png", "tif", "dpx", "jpg", "tga", "bmp", "hdr"])
def test_a_file_that_was_cut_off_is_an_error(
    run_shot: RunShot, tmp_path: Path, ending: str
) -> None:
    noise = np.random.default_rng(0).random((H, W, 3)).astype(np.float32)
    kind = "float" if ending == "hdr" else "uint8"
    whole = still(tmp_path, ending, noise, kind)
    with pytest.raises((UnreadableFrame, UnsupportedFrame), match="plate frame 1: the file"):
        run_shot({1: whole[: len(whole) // 2]}, {1: new_file({"A": DRAWN})}, color_space="sRGB")


def test_a_matte_of_another_size_is_refused_as_such(run_shot: RunShot, tmp_path: Path) -> None:
    small = still(tmp_path, "png", DRAWN[::2, ::2], "uint8")
    with pytest.raises(FrameMismatch, match="the matte is 32x24 and the plate 64x48"):
        run_shot({1: PLATE}, {1: small})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"GIF89a" + bytes(90), "GIF"),
        (b"\0" * 90, "not a picture"),
        (b"8BPS" + bytes(90), "Photoshop"),
    ],
)
def test_another_file_is_refused_by_its_name(run_shot: RunShot, data: bytes, said: str) -> None:
    with pytest.raises((UnreadableFrame, UnsupportedFrame), match=f"matte frame 1: .*{said}"):
        run_shot({1: PLATE}, {1: data})


def test_an_edge_of_jpeg_noise_leaves_no_specks(run_shot: RunShot) -> None:
    circle = np.zeros((H, W), np.uint8)
    cv2.circle(circle, (32, 24), 12, 255, -1)
    _, data = cv2.imencode(".jpg", circle, [cv2.IMWRITE_JPEG_QUALITY, 60])
    done = run_shot({1: PLATE}, {1: data.tobytes()}, **HARD)
    wrong = changed(done.results[1]) != (circle > 0)
    assert wrong.mean() < 0.02
    near = cv2.dilate(circle, np.ones((7, 7), np.uint8))
    assert not (changed(done.results[1]) & (near == 0)).any()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_worked_on_as_it_is_shown(
    run_shot: RunShot, tmp_path: Path, orientation: int
) -> None:
    """The tag of TIFF and Exif, against OpenImageIO's own turning."""
    plate = still(tmp_path, "tif", LIGHT.astype(np.float32), "float", Orientation=orientation)
    (tmp_path / "turned.tif").write_bytes(plate)
    shown = oiio.ImageBufAlgo.reorient(oiio.ImageBuf(str(tmp_path / "turned.tif"))).get_pixels()
    matte = still(tmp_path, "tif", shown[..., :1] * 0, "uint8")
    done = run_shot({1: plate}, {1: matte}, **HARD)
    assert np.array_equal(reader.decode(done.results[1]).rgb(), shown)
    assert (orientation > 1) == any("shown turned" in text for text in done.warnings)
