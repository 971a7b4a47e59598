"""The interface of every engine: its inputs and outputs.

An engine knows pixels, a quadmask and its settings. It knows no files, no frame headers, no sockets and no job;
`render` supplies the plate and takes the result.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from voidbridge_protocol.operations.remove import RemoveSettings

Pixels = NDArray[np.float32]
"""[height, width, 3], RGB, float32, finite."""

Quadmask = NDArray[np.uint8]
"""[height, width], codes 0 remove, 63 overlap, 127 affected, 255 keep."""


@dataclass(frozen=True)
class InputSpec:
    """The form in which an engine wants a shot.

    `space`   "scene": linear light in the plate's own primaries, unbounded; "model": the display-like
              curve of `imaging.curve`, about 0 to 1.
    `size`    (height, width) to which the region is resampled, or None for the plate's own pixels.
    `joins`   True if the engine matches the picture to the plate at the edge of the hole itself.
    `grained` True if the picture has all its grain; otherwise missing grain is added.
    `confident` True if the picture has a fourth plane: 1 where the engine is sure of it, 0 where it is invented.
    `paints`  True if the engine uses the frames that the artist painted (`PaintedClip`).
    """

    space: Literal["scene", "model"]
    size: tuple[int, int] | None = None
    joins: bool = False
    grained: bool = False
    confident: bool = False
    paints: bool = False


@dataclass(frozen=True)
class Paint:
    """The background of one frame, as the artist painted it.

    `light` [height, width, 3] is finite and not premultiplied. `weight` float32 [height, width] is its alpha, 0 to
    1, 0 where nothing is painted. `is_whole` is a whole frame, which has no alpha.
    """

    light: Pixels
    weight: NDArray[np.float32]
    is_whole: bool = False


@dataclass(frozen=True)
class LoraChoice:
    """A LoRA that a job uses."""

    name: str
    """As the artist wrote it."""
    strength: float
    path: Path | None = None
    """The artist's own file; None: the name means a file in the models folder."""


class Clip(Protocol):
    """A shot as an engine sees it: random access by frame number, with a bounded number of decoded frames."""

    @property
    def frames(self) -> Sequence[int]:
        """The host's frame numbers, rising, without gaps, handles included."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    def plate(self, frame: int) -> Pixels:
        """Returns a frame in the space and size of the engine's `InputSpec`. Each call returns a new array and
        may decode.
        """

    def quadmask(self, frame: int) -> Quadmask:
        """Every pixel that the result will replace is not 255, growth and softness included."""

    def has_hole(self, frame: int) -> bool:
        """Returns True if the frame's quadmask holds any code except 255."""


@runtime_checkable
class PaintedClip(Clip, Protocol):
    """A clip with frames on which the artist painted the background."""

    @property
    def painted(self) -> Sequence[int]:
        """The painted ones of `frames`, rising; empty if there are none."""

    def paint(self, frame: int) -> Paint:
        """Returns the paint of one of `painted`, in the space and size of the plate."""


class JobContext(Protocol):
    """The channel by which an engine reports progress and learns of a cancel."""

    def step(self, stage: str, done: int, total: int) -> None:
        """Reports progress, at least twice a second. Raises `JobCancelled` if the job should stop."""

    def warn(self, text: str) -> None:
        """Reports a warning to the artist."""


@dataclass(frozen=True)
class LentAnswer:
    """The answer of a lent device to a task: its bytes, or None and the reason."""

    device: str
    data: bytes | None
    why: str = ""


class LentDevices(Protocol):
    """Idle devices of this machine on which a running job may compute, each with an engine of the same name.

    Tasks and answers are bytes that only the engine knows. A device may be taken back at any time; then its task
    has no answer.
    """

    def want(self, count: int) -> None:
        """Asks for up to `count` devices beside the job's own. 0 gives all back."""

    def idle(self) -> Sequence[str]:
        """Returns the lent devices that have no task."""

    def ask(self, device: str, task: bytes) -> None:
        """Sends a task to an idle device."""

    def answers(self, wait_s: float) -> Sequence[LentAnswer]:
        """Returns the new answers, and one for each device that failed without a task.

        Waits up to `wait_s` seconds for the first one.
        """


@runtime_checkable
class LendsDevices(Protocol):
    """A job context that may lend other devices."""

    @property
    def lent(self) -> LentDevices | None: ...


@runtime_checkable
class Assists(Protocol):
    """An engine that can compute parts of a job that another device runs."""

    def assist(self, task: bytes, watch: JobContext) -> bytes:
        """Returns the answer to a task of the same engine on another device."""

    def rest(self) -> None:
        """Frees the memory of the device that tasks took."""


class Engine(Protocol):
    """Removes the object under the quadmask. A worker creates it once and keeps it between jobs."""

    name: str

    def input_spec(self, height: int, width: int, settings: RemoveSettings) -> InputSpec:
        """Returns the input spec of this engine for a region of this size."""

    def describe(self) -> dict[str, Any]:
        """Returns the engine's identity for the provenance: version, model hashes, options."""

    def remove(
        self,
        clip: Clip,
        settings: RemoveSettings,
        watch: JobContext,
        wanted: Collection[int] | None = None,
    ) -> Iterator[tuple[int, Pixels]]:
        """Yields (frame, pixels) in rising order for every `wanted` frame that has a hole; None wants all.

        The other frames are only looked at. No note names them, and the bits of a wanted frame do not depend on
        which others are wanted. Pixels are in the space and size of `input_spec`; only those under the quadmask
        are used. The same clip and settings give the same bits. Memory is bounded by a window of frames. Raises
        a `JobError` if the
        work is impossible.
        """


@runtime_checkable
class TakesLoras(Protocol):
    """An engine whose weights a LoRA can add to."""

    def use_loras(
        self, choices: Sequence[LoraChoice], settings: RemoveSettings, watch: JobContext
    ) -> None:
        """Sets the LoRAs of the next job, all of them; none takes them away. Raises `BadLora`."""


@runtime_checkable
class SharesSurvey(Protocol):
    """An engine that looks at a whole shot first, and whose other jobs can use what it found.

    `fits` has a value for everything on which a survey depends, by a name that people read. A survey serves only
    jobs with the same values.
    """

    def survey(
        self, clip: Clip, settings: RemoveSettings, watch: JobContext, fits: Mapping[str, str]
    ) -> bytes:
        """Looks at the shot, and returns a survey."""

    def use_survey(self, data: bytes | None, fits: Mapping[str, str]) -> None:
        """Sets the survey of the next job; None takes it away. Raises `BadSurvey`."""
