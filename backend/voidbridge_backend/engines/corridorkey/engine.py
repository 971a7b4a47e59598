"""The engine `corridorkey`: alpha and foreground by the network, light above 1 and the screen by unmixing the
plate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from voidbridge_backend.engines.base import JobContext, Pixels
from voidbridge_backend.engines.chroma.alpha import first_alpha
from voidbridge_backend.engines.chroma.clip_screen import ClipScreen
from voidbridge_backend.engines.chroma.engine import described, finished
from voidbridge_backend.engines.key_base import Alpha, KeyClip, Keyed, Matrix
from voidbridge_protocol.errors import OutOfMemory
from voidbridge_protocol.operations.key import KeySettings

from . import pictures, terms, weights
from .hiera import Layout
from .network import KeyNetwork
from .tiles import blended, tiles_of

TILE = 2048
"""Side in pixels of the squares that `tiles` shows to the network."""
BRIGHTEST = 99.0
"""Percentile of the light that is brought to 1 if it is above: the network saw no light above 1 in training."""
STEPS = 4


class CorridorKey:
    """Holds the network of one size; another size loads the file again."""

    name = "corridorkey"

    def __init__(self, path: Path, device: str, layout: Layout | None = None) -> None:
        self._path = path
        self._device = torch.device(device)
        self._layout = layout or Layout()
        # A card has fast half precision; the CPU does not.
        self._dtype = torch.float16 if self._device.type == "cuda" else torch.float32
        self._network: KeyNetwork | None = None
        self._sha256 = _sha256(path)

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "network": terms.NAME,
            "weights_sha256": self._sha256,
            "precision": str(self._dtype).removeprefix("torch."),
        }

    def key(
        self, clip: KeyClip, frames: Sequence[int], settings: KeySettings, context: JobContext
    ) -> Iterator[tuple[int, Keyed]]:
        context.warn(f"the alpha is made by {terms.NAME}")
        context.step("loading the network", 0, 0)
        network = self._loaded(TILE if settings.quality == "tiles" else int(settings.quality))
        context.step("measuring the screen", 0, 0)
        screens = ClipScreen(clip, settings)
        context.warn(described(screens.color))
        for number, frame in enumerate(frames):
            done, of = number * STEPS, len(frames) * STEPS
            context.step("keying", done, of)
            plate = clip.plate(frame)
            limits = screens.limits(frame, (plate.shape[0], plate.shape[1]))
            clean = screens.clean(frame, plate, limits)
            hint = clip.hint(frame)
            if hint is None:
                hint = _own_hint(first_alpha(plate, clean, screens.color))
            context.step("keying", done + 1, of)
            alpha, smooth = self._predicted(network, plate, hint, clip.to_rec709, settings)
            context.step("keying", done + 2, of)
            alpha = np.where(limits.core, 1, np.where(limits.garbage, 0, alpha)).astype(np.float32)
            yield frame, finished(plate, alpha, smooth, clean, screens.color, settings)

    def _loaded(self, size: int) -> KeyNetwork:
        if self._network is None or self._network.layout.size != size:
            self._network = None  # the old one goes before the new one comes
            network = weights.load(self._path, replace(self._layout, size=size))
            self._network = network.to(self._device, self._dtype)
        return self._network

    def _predicted(
        self,
        network: KeyNetwork,
        plate: Pixels,
        hint: Alpha,
        to_rec709: Matrix,
        settings: KeySettings,
    ) -> tuple[Alpha, Pixels]:
        """Alpha and straight foreground, scene-linear in the plate's primaries, at the plate's size."""
        light = (plate @ to_rec709.T.astype(np.float32)).astype(np.float32)
        exposure = np.float32(1 / max(1.0, float(np.percentile(light, BRIGHTEST))))
        light *= exposure
        if settings.quality == "tiles":
            boxes = tiles_of(hint.shape[0], hint.shape[1], TILE)
            parts = [self._square(network, light[box], hint[box], settings) for box in boxes]
            found = blended(boxes, parts, plate.shape[0], plate.shape[1])
        else:
            found = self._square(network, light, hint, settings)
        color = pictures.to_linear(found[..., 1:]) / exposure
        color = (color @ np.linalg.inv(to_rec709).T.astype(np.float32)).astype(np.float32)
        return np.clip(found[..., 0], 0, 1), color

    def _square(
        self, network: KeyNetwork, light: Pixels, hint: Alpha, settings: KeySettings
    ) -> Pixels:
        """[height, width, 4]: alpha and sRGB-encoded foreground of one picture, stretched to the network's
        square.
        """
        size = network.layout.size
        picture = pictures.network_input(light, hint, size, linear=True)
        try:
            with torch.inference_mode():
                found = network(picture.to(self._device, self._dtype), settings.refiner)
                planes = torch.cat([found.alpha, found.foreground], 1).float().cpu()
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                f"{terms.NAME} at {size} pixels does not fit into {self._device}'s free memory",
                "Choose a lower quality, as 1024.",
            ) from error
        return pictures.back_lanczos(planes, hint.shape[0], hint.shape[1])


def _own_hint(alpha: Alpha) -> Alpha:
    """A rough hint from a first alpha: a little too small and soft, as the network was trained with."""
    radius = max(1, round(alpha.shape[0] / 200))
    solid = cv2.erode((alpha > 0.5).astype(np.float32), np.ones((2 * radius + 1,) * 2, np.uint8))
    hint: Alpha = cv2.GaussianBlur(solid, (0, 0), radius)
    return hint


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
