"""Pictures for the player: a frame, or a part of it, as WebP, made on demand and cached with a bound."""

from __future__ import annotations

import io
import threading
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from voidbridge_backend.exr.part import CONFIDENCE
from voidbridge_backend.imaging.color import ColorPlan, Pixels
from voidbridge_backend.imaging.display import Codes, shown
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.errors import BadSetting, FrameMismatch

from .bounded_cache import BoundedCache
from .shots import ShotReader, Values

PICTURES_BYTES = 256 << 20
"""Bytes of encoded pictures: a thousand or more."""
THREADS = 2
"""Pictures made at once."""
QUALITY, METHOD = 84, 0
"""Of WebP; method 0 is the quickest, and takes a third of the time of the usual 4."""
MAX_SIDE = 4096
KINDS = ("plate", "result", "matte", "overlay", "difference", "confidence")
TINTS = {0: (255, 64, 64), 63: (255, 160, 40), 127: (60, 190, 255)}
"""Colors of what is removed, of both, and of what is affected."""


@dataclass(frozen=True)
class PictureOrder:
    """One picture: which frame, which part of it, and how it is shown."""

    kind: str
    frame: int
    plate: Sequence | None
    matte: Sequence | None
    result: Sequence | None
    width: int = 1280
    """Most pixels of the picture's width; 0 for the plate's own size."""
    tile: tuple[int, int, int, int] | None = None
    """Left, top, width and height in pixels of the plate; None for all of it."""
    display: str = ""
    view: str = ""
    exposure: float = 0.0
    gamma: float = 1.0
    gain: float = 8.0
    """By how much a difference is multiplied."""
    space: str = ""
    layer: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadSetting(f"the picture {self.kind!r} is not one of {', '.join(KINDS)}")
        if not (-20 <= self.exposure <= 20 and 0.1 <= self.gamma <= 10 and 0 < self.gain <= 1e4):
            raise BadSetting(
                f"exposure {self.exposure:g}, gamma {self.gamma:g} or gain {self.gain:g} is out of range",
                "Exposure is -20 to 20 stops, gamma 0.1 to 10, gain above 0 to 10000.",
            )
        if not 0 <= self.width <= MAX_SIDE:
            raise BadSetting(f"a picture of {self.width} pixels; {MAX_SIDE} at most")
        if self.tile and not (0 < self.tile[2] <= MAX_SIDE and 0 < self.tile[3] <= MAX_SIDE):
            raise BadSetting(f"a part of {self.tile[2]}x{self.tile[3]} pixels")

    def sequence(self, role: str) -> Sequence:
        """The sequence of this role. Raises `BadSetting` if none was named."""
        found = getattr(self, role)
        if not isinstance(found, Sequence):
            raise BadSetting(f"no {role} is named for the picture {self.kind}")
        return found


NEEDS = {
    "plate": ("plate",),
    "result": ("result",),
    "matte": ("matte",),
    "overlay": ("plate", "matte"),
    "difference": ("plate", "result"),
    "confidence": ("result",),
}
"""Roles that a picture is made from."""


class Pictures:
    """Makes pictures on a few threads, and keeps the latest."""

    def __init__(self, reader: ShotReader) -> None:
        self._reader = reader
        self._made: BoundedCache[bytes] = BoundedCache(PICTURES_BYTES)
        self._plans: dict[Hashable, ColorPlan] = {}
        self._lock = threading.Lock()
        self.threads = ThreadPoolExecutor(THREADS, "pictures")

    @property
    def reader(self) -> ShotReader:
        return self._reader

    def key(self, order: PictureOrder) -> tuple[Any, ...]:
        """Changes when the picture would. Raises `MissingFrames`, `PathNotAllowed`."""
        versions = [
            self._reader.version(order.sequence(role), order.frame) for role in NEEDS[order.kind]
        ]
        return (order, *versions)

    def held(self, key: Hashable) -> bytes | None:
        """The picture, if it was made before."""
        return self._made.get(key)

    def make(self, order: PictureOrder, key: Hashable) -> bytes:
        """Makes a picture and keeps it. Raises `RequestError`."""
        codes = self._codes(order)
        buffer = io.BytesIO()
        Image.fromarray(codes).save(buffer, "WEBP", quality=QUALITY, method=METHOD)
        self._made.put(key, buffer.getvalue(), buffer.tell())
        return buffer.getvalue()

    def values(self, order: PictureOrder, x: int, y: int) -> dict[str, list[float]]:
        """Scene-linear values of plate and result, and the matte's, at a pixel from the top left corner."""
        found = {}
        for role in ("plate", "result", "matte"):
            sequence = getattr(order, role)
            if sequence is None or order.frame not in sequence.scan():
                continue
            if role == "matte":
                pixels: Any = self._reader.matte(sequence, order.frame)[..., None]
            else:
                pixels = self._reader.light(sequence, order.frame, self.plan(order), order.layer)
            if 0 <= y < pixels.shape[0] and 0 <= x < pixels.shape[1]:
                found[role] = [float(value) for value in pixels[y, x]]
        return found

    def plan(self, order: PictureOrder) -> ColorPlan:
        """The color of the plate, or of the result if there is no plate."""
        sequence = order.plate or order.sequence("result")
        key = (sequence, order.space, order.layer)
        with self._lock:
            if key not in self._plans:
                self._plans.clear()
                self._plans[key] = self._reader.color(
                    sequence, sequence.scan()[0], order.space, order.layer
                )
            return self._plans[key]

    def close(self) -> None:
        self.threads.shutdown(wait=True, cancel_futures=True)

    def _codes(self, order: PictureOrder) -> Codes:
        if order.kind == "matte":
            return _gray(_fitted(self._matte(order), order))
        if order.kind == "confidence":
            sure = self._reader.channel(order.sequence("result"), order.frame, CONFIDENCE)
            return _gray(_fitted(sure, order))
        if order.kind == "difference":
            one, two = self._light(order, "plate"), self._light(order, "result")
            if one.shape != two.shape:
                raise FrameMismatch(
                    f"the plate has {one.shape[1]}x{one.shape[0]} pixels, the result "
                    f"{two.shape[1]}x{two.shape[0]}"
                )
            part = np.abs(_part(one, order.tile) - _part(two, order.tile)) * np.float32(order.gain)
            return _gray(_shrunk(part, order.width))
        role = "result" if order.kind == "result" else "plate"
        light = _fitted(self._light(order, role), order)
        codes = shown(
            light,
            self.plan(order),
            order.display,
            order.view,
            order.exposure,
            order.gamma,
            self._reader.ocio,
        )
        return (
            _tinted(codes, _fitted(self._matte(order), order)) if order.kind == "overlay" else codes
        )

    def _light(self, order: PictureOrder, role: str) -> Pixels:
        return self._reader.light(
            order.sequence(role),
            order.frame,
            self.plan(order),
            order.layer if role == "plate" else "",
        )

    def _matte(self, order: PictureOrder) -> Values:
        return self._reader.matte(order.sequence("matte"), order.frame)


def _part(pixels: Any, tile: tuple[int, int, int, int] | None) -> Any:
    if tile is None:
        return pixels
    left, top, width, height = tile
    found = pixels[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    if not found.size:
        raise BadSetting(f"the part at {left},{top} lies outside of the picture")
    return found


def _shrunk(pixels: Any, most: int) -> Any:
    height, width = pixels.shape[:2]
    if not most or width <= most:
        return pixels
    size = most, max(round(height * most / width), 1)
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def _fitted(pixels: Any, order: PictureOrder) -> Any:
    return _shrunk(_part(pixels, order.tile), order.width)


def _gray(values: Any) -> Codes:
    codes = np.clip(
        np.sqrt(np.maximum(values, 0)) * 255 if values.ndim == 3 else values * 255, 0, 255
    )
    found = codes.round().astype(np.uint8)
    return found if found.ndim == 3 else np.repeat(found[..., None], 3, axis=2)


def _tinted(codes: Codes, matte: Values) -> Codes:
    """Half a tint over the picture. A quadmask is told from a matte by its codes: most of it is 1, and kept."""
    is_quadmask = float(np.mean(matte > 0.99)) > 0.5
    tinted = codes.astype(np.float32)
    if not is_quadmask:
        weight = 0.5 * np.clip(matte, 0, 1)[..., None]
        return np.asarray((tinted * (1 - weight) + weight * TINTS[0]).round(), np.uint8)
    for code, tint in TINTS.items():
        where = np.abs(matte * 255 - code) < 32
        tinted[where] = 0.5 * tinted[where] + 0.5 * np.array(tint, np.float32)
    return np.asarray(tinted.round(), np.uint8)
