"""The operation `generate`: new frames between two clips, beyond the end of one, or in place of some of its own.

The results are the new frames alone; every other frame stays the artist's own file.
"""

from __future__ import annotations

from dataclasses import dataclass

from voidbridge_protocol.settings import OperationSettings, setting

from .operation import Operation, Role

MODES = ("bridge", "extend", "retake")
REACH = 8
"""Photographed frames on each side of the new ones that are looked at."""
MOST_FRAMES = 1000
"""New frames in one job."""


@dataclass(frozen=True)
class GenerateSettings(OperationSettings):
    """The artist's choices."""

    engine: str = setting("morph", "`morph` needs no weights", group="the engine", metavar="NAME")
    mode: str = setting(
        "bridge",
        "`bridge` joins two clips, `extend` carries one on, `retake` makes some of its frames again",
        group="the frames",
        choices=MODES,
        is_option=False,
    )
    motion: str = setting(
        "continue",
        "beyond the end of a clip, `continue` the camera's motion, or `hold` the last frame",
        group="the frames",
        choices=("continue", "hold"),
    )
    grain: str = setting(
        "auto",
        "add matching plate grain to new frames",
        group="the picture",
        choices=("auto", "off"),
    )
    color_space: str = setting(
        "",
        "color space of the plate as OpenColorIO names it; else the file's own word, else ACEScg",
        group="the picture",
        metavar="NAME",
    )
    layer: str = setting(
        "",
        "layer of the plate to work on, as `ViewLayer.Combined`; else R, G and B, else the only layer",
        group="the picture",
        metavar="NAME",
    )


OPERATION = Operation(
    "generate",
    GenerateSettings,
    (
        Role("plate", covers_all=False),
        Role("tail", is_required=False, covers_all=False),
    ),
)
