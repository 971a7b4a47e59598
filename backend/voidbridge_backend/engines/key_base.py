"""The interface of the engines of `key`: what each is given, and what each gives back.

An engine knows pixels and its settings. It knows no files, no sockets and no job.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from voidbridge_protocol.operations.key import KeySettings

from .base import JobContext, Pixels

Alpha = NDArray[np.float32]
"""[height, width], from 0 to 1."""
Matrix = NDArray[np.float64]
"""[3, 3], for colors as columns."""


@dataclass(frozen=True)
class Keyed:
    """One frame unmixed. `alpha * foreground + (1 - alpha) * screen` is the plate, as long as nothing was
    despilled.

    `foreground` is straight. It and `screen` are [height, width, 3], in the light of the plate; values above 1
    stay.
    """

    alpha: Alpha
    foreground: Pixels
    screen: Pixels


class KeyClip(Protocol):
    """A shot as an engine sees it: random access by frame number. Everything has the plate's size."""

    @property
    def frames(self) -> Sequence[int]:
        """The host's frame numbers, rising, without gaps, handles included."""

    @property
    def to_rec709(self) -> Matrix:
        """From the plate's scene-linear light to linear Rec. 709."""

    def plate(self, frame: int) -> Pixels:
        """Finite, scene-linear, in the plate's own primaries."""

    def hint(self, frame: int) -> Alpha | None:
        """A rough alpha of the foreground, if the artist gave one."""

    def clean_screen(self, frame: int) -> Pixels | None:
        """The screen without a foreground, if the artist gave one, as `plate`."""


class KeyEngine(Protocol):
    """Unmixes frames. Made once by a worker and kept between jobs."""

    name: str

    def describe(self) -> dict[str, Any]:
        """Returns the engine's entry in the provenance of a result: version, model hashes, options."""

    def key(
        self, clip: KeyClip, frames: Sequence[int], settings: KeySettings, context: JobContext
    ) -> Iterator[tuple[int, Keyed]]:
        """Yields each of `frames` once, in order. The same clip and settings give the same bits.

        A frame depends on its near neighbors in the clip only, so that frames may be made in any order and on
        several devices. Raises a `JobError` for what it cannot do.
        """
