"""Small OpenEXR files, made by the library itself."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import OpenEXR
import pytest
from numpy.typing import NDArray

MakeExr = Callable[..., bytes]


def _make(
    channels: dict[str, NDArray[Any]],
    compression: str = "ZIP",
    origin: tuple[int, int] = (0, 0),
    tiles: tuple[int, int] | None = None,
    **attributes: Any,
) -> bytes:
    """A single-part file whose data window begins at `origin`; `attributes` as OpenEXR.File takes them."""
    height, width = next(iter(channels.values())).shape
    corners = origin, (origin[0] + width - 1, origin[1] + height - 1)
    header = {
        "compression": getattr(OpenEXR, f"{compression}_COMPRESSION"),
        "type": OpenEXR.tiledimage if tiles else OpenEXR.scanlineimage,
        "dataWindow": tuple(np.array(corner, np.int32) for corner in corners),
        **attributes,
    }
    if tiles:
        header["tiles"] = OpenEXR.TileDescription()
        header["tiles"].xSize, header["tiles"].ySize = tiles
        header["tiles"].mode = OpenEXR.ONE_LEVEL
    planes = {name: OpenEXR.Channel(name, pixels, 1, 1) for name, pixels in channels.items()}
    file = io.BytesIO()
    OpenEXR.File(header, planes, num_threads=0).write(file)
    return file.getvalue()


@pytest.fixture(scope="session")
def make_exr() -> MakeExr:
    return _make


@pytest.fixture
def rgb_words() -> dict[str, NDArray[np.float16]]:
    """40x24 pixels in R, G and B, every one of them different, noise like a film scan's."""
    random = np.random.default_rng(7)
    return {name: random.normal(0.4, 0.2, (24, 40)).astype(np.float16) for name in "RGB"}
