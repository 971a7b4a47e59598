"""The pictures of a question: frames of the plate as a display shows them, small, with the grid and its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.exr import reader
from voidbridge_backend.exr.header import Part
from voidbridge_backend.exr.layers import choose_picture
from voidbridge_backend.formats.files import FrameReader
from voidbridge_backend.imaging.color import ColorPlan, sanitize
from voidbridge_backend.imaging.display import shown
from voidbridge_backend.imaging.grid import cells
from voidbridge_backend.render.masking.combine import matte_values
from voidbridge_backend.sequences.patterns import Sequence as Pattern

LONG_SIDE = 896
"""Pixels of a picture's longer side: enough to see a shadow, little enough to send."""
QUALITY = 85
RED = (255, 40, 40)
LINE = (255, 255, 255)


@dataclass(frozen=True)
class Drawer:
    """Draws the pictures of one plate."""

    plate: Pattern
    matte: Pattern
    color_space: str = ""
    _reader: FrameReader = field(default_factory=FrameReader)

    def part(self, frame: int) -> Part:
        """The header of the plate's picture."""
        path, index = self.plate.path(frame), self.plate.index(frame)
        header = self._reader.header(path, path.name, index)
        return header.parts[choose_picture(header).part]

    def jpeg(self, frame: int, *, marks_object: bool) -> bytes:
        """The frame with the grid, and the object in red if wanted. Raises what a file raises."""
        read = self._plate(frame)
        picture = _small(read, self.color_space)
        if marks_object:
            values = matte_values(self._reader, self.matte, frame, read.window)
            size = picture.shape[1], picture.shape[0]
            inside = cv2.resize(values, size, interpolation=cv2.INTER_AREA) > 0.5
            picture[inside] = (0.5 * picture[inside] + 0.5 * np.array(RED)).astype(np.uint8)
        _grid(picture, *cells(read.window.height, read.window.width))
        return _jpeg(picture)

    def _plate(self, frame: int) -> reader.Frame:
        return _read(self._reader, self.plate, frame)


def scene_jpegs(plate: Pattern, frames: Sequence[int], color_space: str) -> list[bytes]:
    """The frames as a display shows them, small, with nothing drawn into them. Raises what a file raises."""
    files = FrameReader()
    return [_jpeg(_small(_read(files, plate, frame), color_space)) for frame in frames]


def _read(files: FrameReader, plate: Pattern, frame: int) -> reader.Frame:
    path, index = plate.path(frame), plate.index(frame)
    return files.read(path, path.name, choose_picture, lambda h: h, index)


def _small(read: reader.Frame, color_space: str) -> NDArray[np.uint8]:
    plan = ColorPlan.choose(color_space, read.part)
    light = sanitize(plan.to_scene(read.rgb()))
    factor = min(1.0, LONG_SIDE / max(light.shape[:2]))
    size = max(1, round(light.shape[1] * factor)), max(1, round(light.shape[0] * factor))
    small = cv2.resize(light, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.ascontiguousarray(shown(small, plan, "", ""))


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    wanted = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), wanted)
    return data.tobytes()


def sampled(frames: Sequence[int], most: int) -> list[int]:
    """At most `most` frames spread evenly over the shot, its first and last among them."""
    places = np.linspace(0, len(frames) - 1, min(most, len(frames)))
    return [frames[round(float(place))] for place in places]


def _grid(picture: NDArray[np.uint8], rows: int, columns: int) -> None:
    height, width = picture.shape[:2]
    scale = max(height, width) / 1800
    for row in range(rows):
        top = row * height // rows
        cv2.line(picture, (0, top), (width, top), LINE, 1)
        cv2.putText(picture, str(row), (2, top + 14), cv2.FONT_HERSHEY_SIMPLEX, scale, LINE, 1)
    for column in range(columns):
        left = column * width // columns
        cv2.line(picture, (left, 0), (left, height), LINE, 1)
        place = (left + 16, 12)
        cv2.putText(picture, str(column), place, cv2.FONT_HERSHEY_SIMPLEX, scale, LINE, 1)
