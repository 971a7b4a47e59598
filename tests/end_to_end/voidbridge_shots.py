"""Small shots on disk that tests share: their frames, their mattes, and how to read results."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
from numpy.typing import NDArray
from voidbridge_screen_scene import ScreenScene

Channels = dict[str, NDArray[Any]]


def exr_bytes(channels: Channels, origin: tuple[int, int] = (0, 0), **attributes: Any) -> bytes:
    """A single-part scanline file whose data window begins at `origin`."""
    height, width = next(iter(channels.values())).shape
    corners = origin, (origin[0] + width - 1, origin[1] + height - 1)
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "dataWindow": tuple(np.array(corner, np.int32) for corner in corners),
        **attributes,
    }
    planes = {name: OpenEXR.Channel(name, pixels, 1, 1) for name, pixels in channels.items()}
    file = io.BytesIO()
    OpenEXR.File(header, planes, num_threads=0).write(file)
    return file.getvalue()


def window(left: int, top: int, right: int, bottom: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """A window as OpenEXR.File takes it, corners included."""
    return np.array((left, top), np.int32), np.array((right, bottom), np.int32)


def channels_of(path: Path) -> Channels:
    """Every channel of the first part, in the file's own types."""
    with OpenEXR.File(str(path), separate_channels=True, num_threads=0) as file:
        return {name: channel.pixels.copy() for name, channel in file.channels().items()}


def header_of(path: Path) -> dict[str, Any]:
    with OpenEXR.File(str(path), separate_channels=True, num_threads=0) as file:
        return dict(file.header())


def picture(seed: int, height: int = 48, width: int = 64) -> Channels:
    """R, G and B as halves: noise around a mid gray, so that no two pixels are alike."""
    random = np.random.default_rng(seed)
    return {name: random.normal(0.4, 0.2, (height, width)).astype(np.float16) for name in "RGB"}


def square(
    height: int = 48, width: int = 64, at: tuple[int, int] = (10, 20)
) -> NDArray[np.float16]:
    """A matte: 12x10 pixels set."""
    matte = np.zeros((height, width), np.float16)
    matte[at[0] : at[0] + 12, at[1] : at[1] + 10] = 1
    return matte


def echoed(plate: NDArray[Any], hole: NDArray[np.bool_], seed: int = 0) -> NDArray[Any]:
    """Returns the result of the engine `echo` for a channel under a hard-edged hole."""
    lift = np.float32(0.25 + seed % 16 / 64)
    made = (plate.astype(np.float32) * np.float32(0.5) + lift).astype(plate.dtype)
    return np.where(hole, made, plate)


def same_bits(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


@dataclass(frozen=True)
class Shot:
    """Plate and matte on disk. Each frame differs from all others."""

    folder: Path
    frames: range

    @property
    def plate(self) -> str:
        return str(self.folder / "plate.%04d.exr")

    @property
    def matte(self) -> str:
        return str(self.folder / "matte.%04d.exr")

    @property
    def affected(self) -> str:
        return str(self.folder / "affected.%04d.exr")

    def file(self, role: str, frame: int) -> Path:
        return self.folder / f"{role}.{frame:04d}.exr"

    def write(self, role: str, frame: int, channels: Channels, **more: Any) -> None:
        self.file(role, frame).write_bytes(exr_bytes(channels, **more))

    def remove(self, role: str, frames: Iterable[int]) -> None:
        for frame in frames:
            self.file(role, frame).unlink()

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.folder.iterdir())


def make_shot(
    folder: Path, frames: range, height: int = 48, width: int = 64, seed: int = 0, **more: Any
) -> Shot:
    """`seed` makes the plates of one test differ from those of another; `more` as for `exr_bytes`."""
    folder.mkdir(parents=True, exist_ok=True)
    shot = Shot(folder, frames)
    for frame in frames:
        shot.write("plate", frame, picture(seed * 100_000 + frame, height, width), **more)
        matte = square(height, width, at=(10 + frame % 5, 20))
        shot.write("matte", frame, {"A": matte})
    return shot


@cache
def screen_frames() -> tuple[Any, ...]:
    """Two frames of a figure before a green screen. To draw them takes longer than to key them."""
    scene = ScreenScene(height=60, width=100)
    return tuple(scene.frame(number) for number in range(2))


def make_screen_shot(folder: Path, frames: range, grain: int = 0) -> Shot:
    """Plate, hint, clean screen and true alpha of a figure before a green screen. `grain` makes shots differ."""
    folder.mkdir(parents=True, exist_ok=True)
    shot, drawn = Shot(folder, frames), screen_frames()
    for frame in frames:
        seen = drawn[frame % len(drawn)]
        plate = np.abs(seen.plate + np.float32(grain * 1e-4))
        for role, light in (("plate", plate), ("screen", seen.screen)):
            shot.write(role, frame, {c: light[..., i].copy() for i, c in enumerate("RGB")})
        for role, alpha in (("hint", seen.hint), ("truth", seen.alpha)):
            shot.write(role, frame, {"A": alpha.astype(np.float32)})
    return shot


SAMPLE = Path(__file__).resolve().parents[3] / "shared/samples/moving_ball"


def ball_of_sample(
    folder: Path, frames: range, first: int = 12
) -> tuple[Shot, dict[int, NDArray[np.bool_]], tuple[int, int]]:
    """Frames of the sample `moving_ball` from `first` on, 384 pixels wide, in linear light.

    Returns the shot, the true area of the toy duck by frame, and a click on it from the top left corner.
    The test is skipped where the sample is absent.
    """
    import cv2

    if not SAMPLE.is_dir():
        pytest.skip(f"the sample {SAMPLE} is absent")
    folder.mkdir(parents=True, exist_ok=True)
    shot, found = Shot(folder, frames), {}
    pictures = _decoded(SAMPLE / "input_video.mp4", "rgb24", first, len(frames))
    codes = _decoded(SAMPLE / "quadmask_0.mp4", "gray", first, len(frames))
    for frame, picture, code in zip(frames, pictures, codes, strict=True):
        small = cv2.resize(picture, (384, 216), interpolation=cv2.INTER_AREA)
        light = (small.astype(np.float32) / 255) ** 2.2
        shot.write("plate", frame, {c: light[..., i].copy() for i, c in enumerate("RGB")})
        removed = (code <= 95).astype(np.float32)
        found[frame] = cv2.resize(removed, (384, 216), interpolation=cv2.INTER_AREA) > 0.5
    inside = np.pad(found[frames[0]].astype(np.uint8), 1)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return shot, found, (int(x), int(y))


def _decoded(path: Path, form: str, first: int, count: int) -> list[NDArray[np.uint8]]:
    import av

    with av.open(str(path)) as clip:
        decoded = itertools.islice(clip.decode(video=0), first, first + count)
        return [frame.to_ndarray(format=form) for frame in decoded]
