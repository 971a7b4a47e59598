"""Looks for a plate's color space before anything is sent, so that a plate without one is refused at once.

OpenEXR needs no look: without a word it is ACEScg. A client without the daemon's packages cannot look; then the
daemon refuses.
"""

from __future__ import annotations

from pathlib import Path

from voidbridge_backend.formats.kinds import format_of
from voidbridge_protocol.errors import VoidbridgeError


def check_color(path: Path, index: int, declared: str) -> None:
    """Checks one frame of a plate, at its place in a clip. `declared` is the artist's word.

    Raises `BadColorSpace`, `UnreadableFrame` or `UnsupportedFrame`.
    """
    if declared.strip() or format_of(path, path.name).kind == "exr":
        return
    try:
        from voidbridge_backend.formats.files import FrameReader
        from voidbridge_backend.imaging.color import ColorPlan
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("voidbridge"):
            raise
        return
    try:
        ColorPlan.choose("", FrameReader().header(path, path.name, index).parts[0])
    except VoidbridgeError as error:
        raise type(error)(f"{path.name}: {error.text}", error.hint) from error
