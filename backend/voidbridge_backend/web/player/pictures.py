"""Pictures for the player: a frame, or a part of it, as WebP, made on demand and cached with a bound."""

from __future__ import annotations

import io
import threading
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from voidbridge_backend.exr.part import CONFIDENCE
from voidbridge_backend.imaging.color import ColorPlan, Pixels
from voidbridge_backend.imaging.display import Codes, shown
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.errors import BadSetting, FrameMismatch, MissingFrames

from .bounded_cache import BoundedCache
from .shots import ShotReader, Tile, Values, shrunk

PICTURES_BYTES = 256 << 20
"""Bytes of encoded pictures: a thousand or more."""
THREADS = 2
"""Pictures made at once."""
QUALITY, METHOD = 84, 0
"""Of WebP; method 0 is the quickest, and takes a third of the time of the usual 4."""
MAX_SIDE = 4096
AROUND = 2
"""Pixels around one whose value is asked for: a NaN becomes the mean of these."""
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
    tile: Tile | None = None
    """None for all of it."""
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
        data = self.encoded(order)
        self._made.put(key, data, len(data))
        return data

    def encoded(self, order: PictureOrder) -> bytes:
        """The picture, which is not kept. Raises `RequestError`."""
        buffer = io.BytesIO()
        Image.fromarray(self._codes(order)).save(buffer, "WEBP", quality=QUALITY, method=METHOD)
        return buffer.getvalue()

    def frames(self, order: PictureOrder) -> list[int]:
        """The frames of which there is such a picture. Raises `MissingFrames` if there is none."""
        found = set.intersection(*(set(order.sequence(role).scan()) for role in NEEDS[order.kind]))
        if not found:
            raise MissingFrames(f"no frame has every file of the picture {order.kind}")
        return sorted(found)

    def values(self, order: PictureOrder, x: int, y: int) -> dict[str, list[float]]:
        """Scene-linear values of plate and result, and the matte's, at a pixel from the top left corner."""
        found = {}
        for role in ("plate", "result", "matte"):
            sequence = getattr(order, role)
            if sequence is None or order.frame not in sequence.scan():
                continue
            size = self._reader.size(sequence, order.frame)
            if not (0 <= x < size.width and 0 <= y < size.height):
                continue
            tile = (x - AROUND, y - AROUND, 2 * AROUND + 1, 2 * AROUND + 1)
            one = replace(order, tile=tile, width=0)
            pixels = self._matte(one)[..., None] if role == "matte" else self._light(one, role)
            found[role] = [float(value) for value in pixels[min(y, AROUND), min(x, AROUND)]]
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
            return _gray(self._matte(order))
        if order.kind == "confidence":
            sequence = order.sequence("result")
            found = self._reader.channel(sequence, order.frame, CONFIDENCE, order.tile, order.width)
            return _gray(found)
        if order.kind == "difference":
            whole = replace(order, width=0)  # the mean of a difference, not the difference of means
            one, two = self._light(whole, "plate"), self._light(whole, "result")
            if one.shape != two.shape:
                raise FrameMismatch(
                    f"the plate has {one.shape[1]}x{one.shape[0]} pixels, the result "
                    f"{two.shape[1]}x{two.shape[0]}"
                )
            return _gray(shrunk(np.abs(one - two) * np.float32(order.gain), order.width))
        codes = shown(
            self._light(order, "result" if order.kind == "result" else "plate"),
            self.plan(order),
            order.display,
            order.view,
            order.exposure,
            order.gamma,
            self._reader.ocio,
        )
        return _tinted(codes, self._matte(order)) if order.kind == "overlay" else codes

    def _light(self, order: PictureOrder, role: str) -> Pixels:
        layer = order.layer if role == "plate" else ""
        sequence = order.sequence(role)
        return self._reader.light(
            sequence, order.frame, self.plan(order), layer, order.tile, order.width
        )

    def _matte(self, order: PictureOrder) -> Values:
        return self._reader.matte(order.sequence("matte"), order.frame, order.tile, order.width)


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
