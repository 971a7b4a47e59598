"""OpenImageIO, which has its own decoder and its own check of headers, reads our files."""

from pathlib import Path

import numpy as np
import OpenEXR
import OpenImageIO as oiio
import pytest

from voidbridge_backend.exr import reader, writer


def source(path: Path, compression: object) -> None:
    rng = np.random.default_rng(4)
    half = {name: rng.random((37, 53)).astype(np.float16) * 40 for name in "RGB"}
    corner = np.array([-5, 3], np.int32)
    header = {
        "compression": compression,
        "type": OpenEXR.scanlineimage,
        "dataWindow": (corner, corner + np.array([52, 36], np.int32)),
        "displayWindow": (np.zeros(2, np.int32), np.array([47, 44], np.int32)),
        "comments": "the artist",
    }
    depth = rng.random((37, 53), np.float32) * 1e4
    OpenEXR.File(header, {**half, "depth.Z": depth}).write(str(path))


@pytest.mark.parametrize(
    "compression",
    [
        OpenEXR.NO_COMPRESSION,
        OpenEXR.RLE_COMPRESSION,
        OpenEXR.ZIPS_COMPRESSION,
        OpenEXR.ZIP_COMPRESSION,
        OpenEXR.PIZ_COMPRESSION,
    ],
    ids=["none", "rle", "zips", "zip", "piz"],
)
def test_another_library_reads_the_same_pixels_windows_and_attributes(
    tmp_path: Path, compression: object
) -> None:
    source(tmp_path / "plate.exr", compression)
    plate = reader.read(tmp_path / "plate.exr")
    red = plate.channels["R"].copy()
    red[10:20] *= np.float16(0.5)
    writer.write(tmp_path / "result.exr", plate, {"R": red}, {"voidbridge/job": "j1"})

    result = oiio.ImageBuf(str(tmp_path / "result.exr"))
    spec = result.spec()
    pixels = result.get_pixels(oiio.FLOAT)

    assert (spec.x, spec.y, spec.width, spec.height) == (-5, 3, 53, 37)
    assert (spec.full_width, spec.full_height) == (48, 45)
    assert spec.getattribute("ImageDescription") == "the artist"
    assert spec.getattribute("voidbridge/job") == "j1"
    for index, name in enumerate(spec.channelnames):
        expected = red if name == "R" else plate.channels[name]
        assert np.array_equal(pixels[..., index], expected.astype(np.float32)), name
