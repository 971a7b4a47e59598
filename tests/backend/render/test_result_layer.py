"""The result beside the plate: nothing of the plate changes, and over it the layer is the ordinary result."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import OpenEXR
import pytest
from numpy.typing import NDArray

from voidbridge_backend.exr import reader
from voidbridge_backend.exr.header import parse_header

RunShot = Callable[..., Any]
SIZE = (40, 52)
MATTE = np.zeros(SIZE, np.float16)
MATTE[10:24, 12:30] = 1
LAYER = {"voidbridge.A", "voidbridge.B", "voidbridge.G", "voidbridge.R"}


def file(channels: dict[str, NDArray[Any]], compression: str = "ZIP", tiles: bool = False) -> bytes:
    header: dict[str, Any] = {
        "compression": getattr(OpenEXR, f"{compression}_COMPRESSION"),
        "type": OpenEXR.tiledimage if tiles else OpenEXR.scanlineimage,
        "owner": "a studio",
    }
    if tiles:
        header["tiles"] = OpenEXR.TileDescription()
        header["tiles"].xSize = header["tiles"].ySize = 16
        header["tiles"].mode = OpenEXR.ONE_LEVEL
    out = io.BytesIO()
    planes = {name: OpenEXR.Channel(name, pixels, 1, 1) for name, pixels in channels.items()}
    OpenEXR.File(header, planes, num_threads=0).write(out)
    return out.getvalue()


def plate(dtype: type = np.float16) -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(2)
    picture = {name: random.normal(0.4, 0.1, SIZE).astype(dtype) for name in "RGB"}
    more = {"A": np.ones(SIZE, np.float16), "z.Z": random.normal(9, 1, SIZE).astype(np.float32)}
    return {**picture, **more, "zz.id": random.integers(0, 2**32, SIZE, np.uint32)}


@pytest.mark.parametrize("tiles", [False, True], ids=["lines", "tiles"])
@pytest.mark.parametrize("compression", ["NO", "ZIPS", "ZIP", "PIZ", "DWAA"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32], ids=["half", "float"])
def test_the_plate_stays_and_the_layer_over_it_is_the_result(
    run_shot: RunShot, compression: str, tiles: bool, dtype: type
) -> None:
    data = file(plate(dtype), compression, tiles)
    mattes = {1: file({"A": MATTE})}
    merged = reader.decode(run_shot({1: data}, mattes, grow=2, soften=4).results[1])

    done = run_shot({1: data}, mattes, grow=2, soften=4, result_layer=True)

    before, after = reader.decode(data), reader.decode(done.results[1])
    assert set(after.channels) == set(before.channels) | LAYER
    for name, samples in before.channels.items():
        assert after.channels[name].dtype == samples.dtype
        assert after.channels[name].tobytes() == samples.tobytes(), name
    alpha = after.channels["voidbridge.A"].astype(np.float64)
    assert (alpha[MATTE > 0] == 1).all()
    assert 0 < ((alpha > 0) & (alpha < 1)).sum()
    for name in "RGB":
        own, alone = before.channels[name].astype(np.float64), after.channels[f"voidbridge.{name}"]
        assert alone.dtype == dtype
        assert not alone[alpha == 0].any()
        over = alpha * alone + (1 - alpha) * own
        assert np.allclose(over, merged.channels[name].astype(np.float64), atol=2e-3)
    said = {a.name: a for a in after.part.attributes}
    for attribute in before.part.attributes:
        if attribute.name not in ("channels", "compression"):
            assert said[attribute.name] == attribute
    theirs = OpenEXR.File(io.BytesIO(done.results[1]), separate_channels=True).channels()
    assert set(theirs) == set(after.channels)


def test_a_frame_without_a_hole_has_an_empty_layer(run_shot: RunShot) -> None:
    data, empty = file(plate()), file({"A": np.zeros(SIZE, np.float16)})
    done = run_shot({1: data, 2: data}, {1: file({"A": MATTE}), 2: empty}, result_layer=True)
    second = reader.decode(done.results[2])
    assert LAYER < set(second.channels)
    assert not any(second.channels[name].any() for name in LAYER)
    assert parse_header(done.results[1]).parts[0].channels == second.part.channels


def test_a_layer_of_an_earlier_run_is_replaced(run_shot: RunShot) -> None:
    mattes = {1: file({"A": MATTE})}
    first = run_shot({1: file(plate())}, mattes, result_layer=True, seed=1)
    again = run_shot({1: first.results[1]}, mattes, result_layer=True, seed=2)
    direct = run_shot({1: file(plate())}, mattes, result_layer=True, seed=2)
    ours, wanted = (reader.decode(done.results[1]).channels for done in (again, direct))
    assert set(ours) == set(wanted)
    for name, samples in wanted.items():
        assert ours[name].tobytes() == samples.tobytes(), name


def test_the_layer_of_an_earlier_run_is_never_taken_for_the_picture(run_shot: RunShot) -> None:
    """The picture lies in a layer that comes after ours in the alphabet."""
    picture = {f"z.{name}": pixels for name, pixels in plate().items() if name in "RGB"}
    mattes = {1: file({"A": MATTE})}
    first = run_shot({1: file(picture)}, mattes, result_layer=True)
    assert reader.decode(first.results[1]).rgb_names == ("z.R", "z.G", "z.B")
