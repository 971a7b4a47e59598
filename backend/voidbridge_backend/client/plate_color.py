"""Looks for a plate's color space before anything is sent, so that a plate without one is refused at once.

OpenEXR needs no look: without a word it is ACEScg. A client without the daemon's packages finds those that
certainly have none; the daemon refuses the others.
"""

from __future__ import annotations

from pathlib import Path

from voidbridge_backend.formats.color_tags import needs_a_name, unnamed
from voidbridge_backend.formats.kinds import format_of
from voidbridge_protocol.errors import VoidbridgeError


def check_color(path: Path, index: int, declared: str) -> None:
    """Checks one frame of a plate, at its place in a clip. `declared` is the artist's word.

    Raises `BadColorSpace`, `UnreadableFrame` or `UnsupportedFrame`.
    """
    found = format_of(path, path.name)
    if declared.strip() or found.kind == "exr":
        return
    source = needs_a_name(path, found)
    if source:
        error = unnamed(source)
        raise type(error)(f"{path.name}: {error.text}", error.hint)
    try:
        from voidbridge_backend.formats.files import FrameReader
        from voidbridge_backend.imaging.color import ColorPlan
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("voidbridge"):
            raise
        return
    try:
        ColorPlan.choose("", FrameReader().header(path, path.name, index).parts[0])
    except VoidbridgeError as refused:
        text = refused.text if path.name in refused.text else f"{path.name}: {refused.text}"
        raise type(refused)(text, refused.hint) from refused
