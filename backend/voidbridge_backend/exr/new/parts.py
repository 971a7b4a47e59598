"""New OpenEXR files of several parts from arrays."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import OpenEXR

from voidbridge_backend.exr.part import Part, Window
from voidbridge_backend.exr.reader import Samples


def new_parts(
    parts: Mapping[str, Mapping[str, Samples]],
    like: Part,
    data_window: Window,
    attributes: Mapping[str, str],
) -> bytes:
    """A file with one part for each name, scan lines with ZIP.

    Arrays are [height, width] of the data window, half, float or uint. Display window and pixel aspect are
    those of `like`.
    """
    made = [
        OpenEXR.Part(
            {**_header(like, data_window), **attributes},
            {channel: np.ascontiguousarray(samples) for channel, samples in channels.items()},
            name=name,
        )
        for name, channels in parts.items()
    ]
    file = io.BytesIO()
    OpenEXR.File(made).write(file)
    return file.getvalue()


def _header(like: Part, data_window: Window) -> dict[str, Any]:
    return {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "dataWindow": _corners(data_window),
        "displayWindow": _corners(like.display_window),
        "pixelAspectRatio": like.aspect,
    }


def _corners(window: Window) -> tuple[Samples, Samples]:
    return (
        np.array([window.xmin, window.ymin], np.int32),
        np.array([window.xmax, window.ymax], np.int32),
    )
