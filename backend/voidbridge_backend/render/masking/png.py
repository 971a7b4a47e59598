"""8-bit PNG pictures of mattes and quadmasks, for programs that read no OpenEXR."""

from __future__ import annotations

import cv2
import numpy as np

from voidbridge_backend.exr import reader
from voidbridge_backend.exr.header import Header
from voidbridge_backend.exr.layers import Selection
from voidbridge_backend.imaging.mattes.quadmask import on_window
from voidbridge_backend.quality.png_mark import marked

QUADMASK_CHANNEL = "Y"
KEPT = 1.0


def picture(data: bytes, name: str) -> bytes:
    """The only channel of an OpenEXR file as an 8-bit gray PNG of its display window.

    A PNG has no windows. Outside the data window a matte is 0 and a quadmask 255. Codes of a quadmask are exact.
    Raises `UnreadableFrame`.
    """
    frame = reader.decode(data, name, _only)
    channel = frame.selected[0]
    outside = KEPT if channel == QUADMASK_CHANNEL else 0.0
    values = frame.channels[channel].astype(np.float32)
    placed = on_window(values, frame.window, frame.part.display_window, outside)
    codes = np.rint(np.clip(placed, 0, 1) * 255).astype(np.uint8)
    _, encoded = cv2.imencode(".png", codes)
    return marked(encoded.tobytes())


def _only(header: Header) -> Selection:
    return Selection(0, (header.parts[0].channels[0].name,))
