"""Whole jobs on files with several layers and channels: what is taken, what is told, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import OpenImageIO as oiio
import pytest
from numpy.typing import NDArray

from voidbridge_backend.exr import reader
from voidbridge_backend.exr.layers import choose_picture
from voidbridge_backend.exr.new.file import new_file
from voidbridge_protocol.errors import FrameMismatch, FullMatte, UnclearLayer, UnsupportedFrame

RunShot = Callable[..., Any]
H, W = 48, 64
HOLE = slice(14, 30), slice(20, 40)
EMPTY = np.zeros((H, W), np.float16)
DRAWN = EMPTY.copy()
DRAWN[HOLE] = 1
LIGHT = np.random.default_rng(3).random((3, H, W)).astype(np.float16)


def rgb(prefix: str = "", names: str = "RGB") -> dict[str, NDArray[Any]]:
    return {prefix + name: LIGHT[k % 3] for k, name in enumerate(names)}


def changed(before: bytes, after: bytes, layer: str = "") -> NDArray[np.bool_]:
    """[height, width]: where any channel of the chosen picture differs."""
    one, two = (
        reader.decode(data, choose=lambda header: choose_picture(header, layer))
        for data in (before, after)
    )
    return np.logical_or.reduce([one.channels[n] != two.channels[n] for n in one.rgb_names])


HARD: dict[str, Any] = {"grow": 0, "soften": 0}


def test_the_layer_that_is_named_is_worked_on_and_told(run_shot: RunShot) -> None:
    plate = new_file({**rgb("albedo."), **rgb("beauty.")})
    done = run_shot({1: plate}, {1: new_file({"A": DRAWN})}, layer="albedo", **HARD)
    expected = DRAWN > 0
    assert (changed(plate, done.results[1], "albedo") == expected).all()
    assert not changed(plate, done.results[1], "beauty").any()
    assert done.provenance["plate"] == {
        "layer": "albedo",
        "channels": ["albedo.R", "albedo.G", "albedo.B"],
    }
    assert any("the plate's layer albedo is worked on" in text for text in done.warnings)


def test_of_several_layers_none_is_guessed(run_shot: RunShot) -> None:
    plate = new_file({**rgb("albedo."), **rgb("diffuse.")})
    with pytest.raises(UnclearLayer, match=r"plate frame 1: .*albedo, diffuse"):
        run_shot({1: plate}, {1: new_file({"A": DRAWN})})


def test_a_gray_plate_comes_back_gray(run_shot: RunShot) -> None:
    plate = new_file({"Y": LIGHT[0]})
    done = run_shot({1: plate}, {1: new_file({"A": DRAWN})}, engine="cleanplate", **HARD)
    assert list(reader.decode(done.results[1]).channels) == ["Y"]
    assert not changed(plate, done.results[1])[DRAWN == 0].any()
    assert changed(plate, done.results[1])[HOLE].any()
    assert any("gray" in text for text in done.warnings)


def test_a_matte_beside_a_picture_is_found_and_told(run_shot: RunShot) -> None:
    plate = new_file(rgb())
    layers = new_file({**rgb(), "Object_0.Y": EMPTY, "Object_1.Y": DRAWN})
    done = run_shot({1: plate}, {1: layers}, **HARD)
    assert (changed(plate, done.results[1]) == (DRAWN > 0)).all()
    assert done.provenance["matte"]["channel"] == "Object_1.Y"


def test_two_mattes_are_listed_and_one_can_be_named(run_shot: RunShot) -> None:
    plate, other = new_file(rgb()), np.roll(DRAWN, 10, axis=0)
    layers = new_file({**rgb(), "Object_0.Y": other, "Object_1.Y": DRAWN})
    with pytest.raises(UnclearLayer, match=r"Object_0\.Y 10\.4%, Object_1\.Y 10\.4%"):
        run_shot({1: plate}, {1: layers})
    done = run_shot({1: plate}, {1: layers}, matte_channel="Object_0.Y", **HARD)
    assert (changed(plate, done.results[1]) == (other > 0)).all()


def test_the_affected_matte_has_a_channel_of_its_own(run_shot: RunShot) -> None:
    plate, other = new_file(rgb()), np.roll(DRAWN, 15, axis=0)
    affected = new_file({"shadow": other, "car": DRAWN})
    done = run_shot(
        *({1: plate}, {1: new_file({"A": DRAWN})}),
        affected={1: affected},
        affected_channel="shadow",
        **HARD,
    )
    assert (changed(plate, done.results[1]) == (DRAWN + other > 0)).all()
    assert done.provenance["matte"]["affected_channel"] == "shadow"


def test_a_plate_given_as_its_own_matte_is_refused(run_shot: RunShot) -> None:
    plate = new_file({**rgb(), "A": np.ones((H, W), np.float16)})
    with pytest.raises(UnclearLayer, match="holds a picture, its alpha is opaque"):
        run_shot({1: plate}, {1: plate})


def box_matte(channels: dict[str, float]) -> bytes:
    """As Nuke writes a roto whose data window is cut to what is set."""
    import io

    rows, columns = HOLE
    low, high = (columns.start, rows.start), (columns.stop - 1, rows.stop - 1)
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "dataWindow": (np.array(low, np.int32), np.array(high, np.int32)),
        "displayWindow": (np.array((0, 0), np.int32), np.array((W - 1, H - 1), np.int32)),
    }
    size = rows.stop - rows.start, columns.stop - columns.start
    planes = {name: np.full(size, value, np.float16) for name, value in channels.items()}
    file = io.BytesIO()
    OpenEXR.File(header, planes).write(file)
    return file.getvalue()


@pytest.mark.parametrize(
    "channels",
    [{"A": 1.0}, {"R": 0.0, "G": 0.0, "B": 0.0, "A": 1.0}, dict.fromkeys("RGBA", 1.0)],
    ids=["alpha", "roto", "white roto"],
)
def test_a_matte_cut_to_its_box_removes_the_box(
    run_shot: RunShot, channels: dict[str, float]
) -> None:
    plate = new_file(rgb())
    done = run_shot({1: plate}, {1: box_matte(channels)}, **HARD)
    assert (changed(plate, done.results[1]) == (DRAWN > 0)).all()
    assert any("10.4% of the picture" in text for text in done.warnings)
    assert not any("invert it" in text for text in done.warnings)


def test_a_matte_that_covers_every_frame_whole_stops_before_work(run_shot: RunShot) -> None:
    plate, full = new_file(rgb()), new_file({"A": np.ones((H, W), np.float16)})
    with pytest.raises(FullMatte, match=r"covers 100\.0% of the picture") as refused:
        run_shot({1: plate, 2: plate}, {1: full, 2: full})
    assert "--allow-full-matte" in refused.value.hint
    done = run_shot({1: plate, 2: plate}, {1: full, 2: full}, allow_full_matte=True, **HARD)
    assert changed(plate, done.results[1]).any()
    run_shot({1: plate, 2: plate}, {1: full, 2: new_file({"A": DRAWN})}, **HARD)


def test_an_empty_matte_names_the_channels_that_hold_something(run_shot: RunShot) -> None:
    plate = new_file(rgb())
    roto = new_file({**dict.fromkeys("RGBA", EMPTY), "roto.alpha": DRAWN})
    with pytest.raises(UnclearLayer, match=r"A is empty in every frame.*roto\.alpha 10\.4%"):
        run_shot({1: plate}, {1: roto})
    done = run_shot({1: plate}, {1: roto}, matte_channel="A")
    assert any("roto.alpha 10.4%" in text for text in done.warnings)


def test_other_pixel_aspects_are_refused(run_shot: RunShot) -> None:
    plate, matte = new_file(rgb()), new_file({"A": DRAWN})
    mark = b"pixelAspectRatio\0float\0\x04\0\0\0"
    wide = plate.replace(mark + b"\0\0\x80\x3f", mark + b"\0\0\0\x40")
    assert wide != plate
    with pytest.raises(FrameMismatch, match="aspect of 1 and the plate 2"):
        run_shot({1: wide}, {1: matte})
    none = plate.replace(mark + b"\0\0\x80\x3f", mark + bytes(4))
    done = run_shot({1: none}, {1: matte})
    assert any("pixel aspect is 0" in text for text in done.warnings)


def test_an_unclear_affected_matte_is_called_that_with_its_own_option(run_shot: RunShot) -> None:
    matte = new_file({"A": DRAWN})
    two = new_file({"one.Y": DRAWN, "two.Y": DRAWN[::-1].copy()})
    with pytest.raises(UnclearLayer, match="the affected matte's file has 2 mattes") as refused:
        run_shot({1: new_file(rgb())}, {1: matte}, affected={1: two})
    assert "--affected-channel" in refused.value.hint


def test_the_part_that_is_named_is_told(run_shot: RunShot, tmp_path: Path) -> None:
    path = tmp_path / "parts.exr"
    parts = [
        OpenEXR.Part({"name": name, "type": OpenEXR.scanlineimage}, rgb(), name)
        for name in ("normals", "rgba")
    ]
    OpenEXR.File(parts).write(str(path))
    done = run_shot({1: path.read_bytes()}, {1: new_file({"A": DRAWN})}, layer="normals")
    assert any("the plate's layer normals is worked on" in text for text in done.warnings)


def test_a_matte_that_cannot_be_read_says_so_before_its_size(
    run_shot: RunShot, tmp_path: Path
) -> None:
    path = tmp_path / "mip.exr"
    picture = oiio.ImageBuf(oiio.ImageSpec(8, 8, 3, "half"))
    assert oiio.ImageBufAlgo.make_texture(oiio.MakeTxTexture, picture, str(path))
    with pytest.raises(
        UnsupportedFrame, match="matte frame 1: the matte cannot be read: it is mip"
    ):
        run_shot({1: new_file(rgb())}, {1: path.read_bytes()})
