"""What every engine is given and what it gives back.

An engine knows pixels, a quadmask and its settings. It knows no files, no frame headers, no sockets and
no job; `shot` brings the plate to it and takes the result away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from voidbridge_protocol.operations.remove import RemoveSettings

Pixels = NDArray[np.float32]
"""[height, width, 3], RGB, float32, finite."""

Quadmask = NDArray[np.uint8]
"""[height, width], codes 0 remove, 63 overlap, 127 affected, 255 keep."""


@dataclass(frozen=True)
class InputSpec:
    """How an engine wants to see a shot.

    `space`   "scene": linear light in the plate's own primaries, unbounded; "model": the display-like
              curve of `imaging.color`, about 0 to 1.
    `size`    (height, width) that the region is resampled to, or None for the plate's own pixels.
    `joins`   the picture meets the plate at the edge of the hole by itself; else it is made to.
    `grained` the picture has all the grain that it should have; else what is missing is added.
    """

    space: Literal["scene", "model"]
    size: tuple[int, int] | None = None
    joins: bool = False
    grained: bool = False


class Clip(Protocol):
    """A shot as an engine sees it: random access by frame number, a bounded number decoded at once."""

    @property
    def frames(self) -> Sequence[int]:
        """The host's frame numbers, rising, without gaps, handles included."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    def plate(self, frame: int) -> Pixels:
        """In the space and size of the engine's `InputSpec`. A new array at each call; decoding may be repeated."""

    def quadmask(self, frame: int) -> Quadmask:
        """Everything that the result will replace is other than 255, growth and softness included."""

    def has_hole(self, frame: int) -> bool:
        """Whether the frame's quadmask holds anything but 255."""


class JobContext(Protocol):
    """How an engine tells where it is, and how it is stopped."""

    def step(self, stage: str, done: int, of: int) -> None:
        """Called often (at least twice a second); raises `JobCancelled` when the job is to stop."""

    def warn(self, text: str) -> None:
        """Something the artist should know that is no error."""


class Engine(Protocol):
    """Removes what the quadmask names. Made once by a worker and kept between jobs."""

    name: str

    def input_spec(self, height: int, width: int, settings: RemoveSettings) -> InputSpec:
        """How this engine wants to see a region of this size."""

    def describe(self) -> dict[str, Any]:
        """What identifies the engine in the provenance of a result: version, model hashes, options."""

    def remove(
        self, clip: Clip, settings: RemoveSettings, watch: JobContext
    ) -> Iterator[tuple[int, Pixels]]:
        """(frame, pixels) in rising order for every frame that has a hole.

        Pixels are in the space and size of `sight`; only those under the quadmask are used. The same
        clip and settings give the same bits. Memory is bounded by a window of frames.
        Raises a `JobError` for what it cannot do.
        """
