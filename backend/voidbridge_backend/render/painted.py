"""The painted clean frames of a job: files of the role `clean`, as paint on the canvas."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.engines.base import Paint, Pixels
from voidbridge_backend.exr import reader
from voidbridge_backend.exr.header import Header
from voidbridge_backend.exr.layers import Selection, choose_picture, pictures
from voidbridge_backend.imaging.color import ColorPlan, sanitize
from voidbridge_backend.imaging.mattes.quadmask import on_window
from voidbridge_protocol.errors import BadColorSpace, UnsupportedFrame, VoidbridgeError
from voidbridge_protocol.operations.remove import RemoveSettings

from .inputs import FRAMES_BYTES, InputFiles, LruCache, Plates

ROLE = "clean"


@dataclass(frozen=True)
class PaintedFrames:
    """Paint by frame, decoded on demand with a bounded cache."""

    source: InputFiles
    plates: Plates
    layer: str = ""
    whole: frozenset[int] = frozenset()
    """Frames that are painted as a whole: their files have no alpha, or it is 1 everywhere."""
    _held: LruCache[Paint] = field(
        default_factory=lambda: LruCache(FRAMES_BYTES, lambda p: p.light.nbytes + p.weight.nbytes)
    )

    @classmethod
    def checked(
        cls, source: InputFiles, plates: Plates, settings: RemoveSettings, ocio: Path | str | None
    ) -> PaintedFrames:
        """Looks at every painted frame. Raises `BadColorSpace`, `UnsupportedFrame` or as `InputFiles.read`."""
        found = cls(source, plates, settings.layer)
        for frame in found.frames:
            _check_color(source.header(ROLE, frame), frame, settings, plates.color, ocio)
        whole = frozenset(frame for frame in found.frames if found.paint(frame).is_whole)
        return replace(found, whole=whole)

    @property
    def frames(self) -> list[int]:
        return sorted(self.source.paths.get(ROLE, {}))

    def described(self) -> dict[str, Any]:
        """The entry of the provenance: which frames were painted, and which of them as a whole."""
        return {"frames": self.frames, "whole": sorted(self.whole)}

    def paint(self, frame: int) -> Paint:
        """[height, width] of the canvas, scene-linear. Raises `UnsupportedFrame` if nothing is painted."""
        return self._held.get(frame, self._read)

    def _read(self, frame: int) -> Paint:
        decoded = self.source.read(ROLE, frame, lambda header: _chosen(header, self.layer))
        light, alpha = decoded.rgb(), _alpha(decoded)
        weight = np.ones(light.shape[:2], np.float32)
        if alpha is not None:
            weight = np.clip(np.nan_to_num(alpha.astype(np.float32), nan=0.0), 0, 1)
            if decoded.source:  # in OpenEXR colors are premultiplied, elsewhere not
                soft = (weight > 0) & (weight < 1)
                light[soft] /= weight[soft, None]
        if not weight.any():
            raise UnsupportedFrame(
                f"{ROLE} frame {frame}: its alpha is 0 everywhere, so nothing is painted",
                "Paint with an alpha of 1, or write a whole frame without alpha.",
            )
        scene = sanitize(self.plates.color.to_scene(light))
        planes = [self._placed(scene[..., plane], decoded) for plane in range(3)]
        placed = np.stack(planes, axis=-1)
        return Paint(placed, self._placed(weight, decoded), bool((weight == 1).all()))

    def _placed(self, values: NDArray[np.float32], decoded: reader.Frame) -> Pixels:
        return np.asarray(on_window(values, decoded.window, self.plates.canvas, 0.0), np.float32)


def _chosen(header: Header, layer: str) -> Selection:
    """The plate's layer if the file has it, as a painted copy of a plate does; else its own picture."""
    names = {picture.layer for picture in pictures(header)}
    return choose_picture(header, layer if layer in names else "")


def _alpha(decoded: reader.Frame) -> NDArray[Any] | None:
    """The alpha of the picture's layer, [height, width]; None if there is none of its size."""
    first = decoded.rgb_names[0]
    prefix = first[: first.rfind(".") + 1]
    names = (prefix + spelling for spelling in ("A", "a", "alpha", "Alpha"))
    found = next((decoded.channels[name] for name in names if name in decoded.channels), None)
    return None if found is None or found.shape != decoded.channels[first].shape else found


def _check_color(
    header: Header,
    frame: int,
    settings: RemoveSettings,
    plate: ColorPlan,
    ocio: Path | str | None,
) -> None:
    """Raises `BadColorSpace` if the file says that it has another color space than the plate."""
    try:
        part = header.parts[_chosen(header, settings.layer).part]
        own = ColorPlan.choose(settings.color_space, part, ocio)
    except VoidbridgeError as error:
        text = error.text.replace("the plate", "the file")
        raise type(error)(f"{ROLE} frame {frame}: {text}", error.hint) from error
    if own.how != "assumed" and own.space != plate.space:
        raise BadColorSpace(
            f"{ROLE} frame {frame} is {own.space} ({own.how}) and the plate {plate.space} ({plate.how})",
            "Write the painted frame in the color space of the plate.",
        )
