"""Scene-linear pixels as a display shows them, through the views of an OpenColorIO config. For looking at only.

A view may be slow: ACES 2.0 takes 1.6 s for 1920x1080 pixels on one core, 2026-11-29. So it is evaluated once, at
the points of a cube, and pictures are interpolated in that. Light below 0 and above `BRIGHTEST` is clipped.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PyOpenColorIO as ocio
from numpy.typing import NDArray

from voidbridge_protocol.errors import BadColorSpace

from .color import WORKING, ColorPlan, Pixels, opened_config, processor_between

Codes = NDArray[np.uint8]
"""[height, width, 3], as sent to the display."""

SIDE = 65
"""Points of the cube along each edge, as in cubes for film."""
DARKEST, BRIGHTEST = 2.0**-10, 2.0**8
"""The cube's axes are logarithmic between these, with an offset so that 0 is the first point."""


def views(ocio_config: Path | str | None = None) -> dict[str, list[str]]:
    """The views of each display of the config, its defaults first."""
    config = opened_config(ocio_config)
    first = config.getDefaultDisplay()
    displays = sorted(config.getDisplays(), key=lambda name: name != first)
    return {
        name: sorted(config.getViews(name), key=lambda v: v != config.getDefaultView(name))
        for name in displays
    }


def shown(
    light: Pixels,
    color: ColorPlan,
    display: str,
    view: str,
    exposure: float = 0.0,
    gamma: float = 1.0,
    ocio_config: Path | str | None = None,
) -> Codes:
    """Returns the display's codes for scene-linear pixels of `color.to_scene`, [height, width, 3].

    `exposure` is in stops before the view; `gamma` is the power 1/gamma behind it. An empty display or
    view is the config's default. Raises `BadColorSpace` for a view that the config lacks.
    """
    space = color.space if color.linear else ""
    processor = _processor(space, display, view, str(ocio_config or ""), exposure)
    height, width = light.shape[:2]
    source = np.nan_to_num(np.ascontiguousarray(light, np.float32), posinf=BRIGHTEST, neginf=0)
    codes = np.empty((height, width, 3), np.uint8)
    processor.apply(
        ocio.PackedImageDesc(source, width, height, 3),
        ocio.PackedImageDesc(codes, width, height, 3, ocio.BIT_DEPTH_UINT8, 1, 3, 3 * width),
    )
    return codes if gamma == 1.0 else _bent(codes, gamma)


@lru_cache(maxsize=8)
def _processor(space: str, display: str, view: str, ocio_config: str, exposure: float) -> Any:
    """From scene-linear light to the display's codes. Each holds a cube of 3 MB."""
    low, high = np.log2(DARKEST), np.log2(BRIGHTEST)
    shaper = ocio.LogAffineTransform(
        logSideSlope=[1 / (high - low)] * 3,
        logSideOffset=[-low / (high - low)] * 3,
        linSideSlope=[2.0**exposure] * 3,
        linSideOffset=[DARKEST] * 3,
    )
    shaper.setBase(2)
    group = ocio.GroupTransform([shaper, _cube(space, display, view, ocio_config)])
    return (
        _raw()
        .getProcessor(group)
        .getOptimizedCPUProcessor(
            ocio.BIT_DEPTH_F32, ocio.BIT_DEPTH_UINT8, ocio.OPTIMIZATION_DEFAULT
        )
    )


def _bent(codes: Codes, gamma: float) -> Codes:
    curve = 255 * (np.arange(256) / 255) ** (1 / gamma)
    return np.asarray(cv2.LUT(codes, curve.round().astype(np.uint8)), np.uint8)


@lru_cache(maxsize=1)
def _raw() -> Any:
    """A config without a cache of processors: its keys take cubes with the same extremes for one."""
    config = ocio.Config.CreateRaw()
    config.setProcessorCacheFlags(ocio.PROCESSOR_CACHE_OFF)
    return config


@lru_cache(maxsize=16)
def _cube(space: str, display: str, view: str, ocio_config: str) -> Any:
    """The view at the points of a cube. An empty `space` stands for linear light in the built-in config."""
    config = opened_config(ocio_config or None)
    axis = (DARKEST * (BRIGHTEST / DARKEST) ** np.linspace(0, 1, SIDE) - DARKEST).astype(np.float32)
    red, green, blue = np.meshgrid(axis, axis, axis, indexing="ij")
    points = np.ascontiguousarray(np.stack([red, green, blue], -1).reshape(1, -1, 3))
    if not space:
        built_in = opened_config(None)
        space = ocio.ROLE_SCENE_LINEAR
        processor_between(built_in, WORKING, config, space).applyRGB(points)
    display = display or config.getDefaultDisplay()
    view = view or config.getDefaultView(display)
    try:
        transform = ocio.DisplayViewTransform(src=space, display=display, view=view)
        config.getProcessor(transform).getDefaultCPUProcessor().applyRGB(points)
    except ocio.Exception as error:
        raise BadColorSpace(
            f"the view {view!r} of the display {display!r} cannot be used: {error}",
            "Choose a display and a view that the OpenColorIO config has.",
        ) from error
    made = ocio.Lut3DTransform(SIDE)
    made.setInterpolation(ocio.INTERP_TETRAHEDRAL)
    made.setData(points.ravel())
    return made
