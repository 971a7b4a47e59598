"""Writes new OpenEXR files from arrays, for generated pictures. Plates pass through `writer` instead."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import OpenEXR

from voidbridge_backend.exr.header import TimeCode
from voidbridge_backend.exr.reader import Samples


def new_file(
    channels: Mapping[str, Samples],
    attributes: Mapping[str, str] | None = None,
    time_code: TimeCode | None = None,
) -> bytes:
    """Returns a scanline file with ZIP, data and display window at 0,0. Arrays are [height, width], half, float
    or uint.
    """
    header: dict[str, Any] = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        **(attributes or {}),
    }
    if time_code is not None:
        fields = (time_code.hours, time_code.minutes, time_code.seconds, time_code.frame)
        header["timeCode"] = OpenEXR.TimeCode(*fields, int(time_code.drop_frame), *(0,) * 13)
    file = io.BytesIO()
    planes = {name: np.ascontiguousarray(samples) for name, samples in channels.items()}
    OpenEXR.File(header, planes, num_threads=0).write(file)
    return file.getvalue()
