"""The engine `ltx`: new frames by LTX-2, beside, between and instead of photographed ones, or from words alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch

from voidbridge_backend.engines.base import JobContext, Pixels
from voidbridge_backend.engines.generate_base import GapClip, Sound
from voidbridge_backend.engines.void.files.weights import fingerprint
from voidbridge_backend.imaging.curve import ModelSpace, ShotExposure
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.generate import GenerateSettings, check_mode

from . import weights
from .display_light import Strip, strips
from .model import Lock, Model, StepCount, Video, VideoRun, eight_bits
from .pictures import GRID, PIXELS, Fit, Join, difference
from .region import KeptRegion
from .sound import SoundTrack
from .windows import CHUNK, FRAMES, SEEN, GapWindow, windows

VERSION = 2
RATE = 24.0
"""Frames a second where the plate names no rate."""
METERED = 16
"""Frames that the exposure is measured on."""


class Ltx:
    """Holds the networks between jobs."""

    name = "ltx"

    def __init__(
        self, models: Path, device: str, frames: int = FRAMES, pixels: int = PIXELS
    ) -> None:
        """`frames` is 8k + 1, at least 41. Raises `ModelMissing`."""
        self._model = Model(models, device)
        self._frames, self._pixels = frames, pixels
        self._prints: dict[str, str] = {}
        self._track = SoundTrack(0, RATE)

    def describe(self) -> dict[str, Any]:
        """Fingerprints of the weights, their published revision, and versions. Reads samples of every file once."""
        if not self._prints:
            folder = self._model.folder
            self._prints = {
                path.relative_to(folder).as_posix(): fingerprint(path)
                for name in weights.NETWORKS
                for path in weights.files_of(folder / name)
            }
        return {
            "engine": self.name,
            "version": VERSION,
            "network": "LTX-2",
            "revision": weights.revision_of(self._model.folder),
            "models": dict(self._prints),
            "device": str(self._model.device),
            "precision": str(self._model.dtype).removeprefix("torch."),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
        }

    def generate(
        self,
        footage: GapClip,
        frames: Sequence[int],
        settings: GenerateSettings,
        context: JobContext,
    ) -> Iterator[tuple[int, Pixels]]:
        """Yields each of `frames`, in order. Raises `BadSetting`, `ModelMissing`, `OutOfMemory`."""
        check_mode(self.name, settings.mode, settings.prompt)
        if settings.schedule == "distilled" and (settings.steps or settings.negative_prompt):
            context.warn("steps and negative_prompt are for the schedule full, and are not used")
        if settings.precision == "fp8":
            context.warn("the transformer is kept in 8 bits, which is not lossless")
        if settings.mode == "hdr":
            if settings.upscale:
                raise BadSetting("hdr does not take upscale")
            yield from self._display_light(footage, frames, settings, context)
            return
        gap = _Gap.of(footage, frames, settings, self._fit(footage, settings))
        runs = windows(len(frames), len(gap.before), len(gap.behind), self._frames)
        progress = StepCount(context, len(runs) * self._model.steps_of(settings))
        self._track = SoundTrack(len(frames), gap.rate)
        backwards: dict[int, Pixels] = {}
        for number, window in enumerate(runs):
            run = gap.run(window, settings.seed + number)
            self._model.load("condition", run, settings, context)
            video, heard = self._model.video(run, settings, progress)
            self._track.add(window, heard)
            made = gap.kept(window, video)
            if runs[0].stop == len(frames) and len(runs) > 1:
                backwards.update(made)
            else:
                yield from ((frames[at], gap.plate(picture)) for at, picture in made.items())
        for at in sorted(backwards):
            yield frames[at], gap.plate(backwards[at])

    def sound(self) -> Sound:
        """See `MakesSound`."""
        return self._track.whole()

    def _fit(self, footage: GapClip, settings: GenerateSettings) -> Fit:
        height, width = footage.picture(footage.frames[0]).shape[:2]
        times = 2 if settings.upscale else 1
        pixels = self._pixels * times**2
        return Fit.of(height, width, footage.pixel_aspect, pixels, GRID * times)

    def _display_light(
        self,
        footage: GapClip,
        frames: Sequence[int],
        settings: GenerateSettings,
        context: JobContext,
    ) -> Iterator[tuple[int, Pixels]]:
        fit = self._fit(footage, settings)
        parts = strips(len(frames), self._frames)
        progress = StepCount(context, len(parts) * self._model.steps_of(settings))
        strip = Strip(footage, frames, fit)
        for part in parts:
            run = VideoRun(
                part.length,
                *fit.model,
                footage.frames_per_second or RATE,
                settings.seed,
                reference=strip.shown(part),
            )
            self._model.load("hdr", run, settings, context)
            yield from strip.finished(part, self._model.hdr(run, settings, progress))


@dataclass
class _Gap:
    """The new frames of a job with the known ones on both sides, as the model sees them."""

    space: ModelSpace
    fit: Fit
    rate: float
    before: list[Pixels]
    """Codes of the last known frames, rising."""
    behind: list[Pixels]
    """Codes of the first known frames behind, rising."""
    is_retake: bool = False
    """Both sides are one shot, so that the latents behind are kept, and not only guide."""

    @classmethod
    def of(
        cls, footage: GapClip, frames: Sequence[int], settings: GenerateSettings, fit: Fit
    ) -> _Gap:
        before = unbroken([frame for frame in footage.frames[::-1] if frame < frames[0]])[::-1]
        behind = unbroken([frame for frame in footage.frames if frame > frames[-1]])
        if settings.mode == "from-frame":
            before, behind = before[-1:], []
        if settings.mode == "text":
            before, behind = [], []
        exposure = ShotExposure()
        seen = [*before, *behind]
        for frame in seen[:: max(1, len(seen) // METERED)]:
            exposure.add(footage.picture(frame))
        space = ModelSpace(footage.to_rec709, exposure.grade())

        def codes(numbers: Sequence[int]) -> list[Pixels]:
            return [fit.to_model(space.to_model(footage.picture(frame))) for frame in numbers]

        rate = footage.frames_per_second or RATE
        return cls(space, fit, rate, codes(before), codes(behind), settings.mode == "retake")

    def run(self, window: GapWindow, seed: int) -> VideoRun:
        locks = []
        if window.head:
            locks.append(Lock(self.before[-window.head :], 0))
        kept = None
        if self.is_retake and window.tail >= CHUNK and window.head:
            kept = KeptRegion(eight_bits(self._whole(window)), window.latent, window.tail // CHUNK)
        elif window.tail:
            first = window.skipped
            locks.append(Lock(self.behind[first : first + window.tail], window.latent))
        rate = self.rate * window.speed
        return VideoRun(window.length, *self.fit.model, rate, seed, locks, kept)

    def _whole(self, window: GapWindow) -> list[Pixels]:
        """Every frame of a run: a dissolve stands for the new ones, and the last known frame for those beyond."""
        head, tail = self.before[-window.head :], self.behind[: window.skipped + window.tail]
        count = len(window.picks)
        shares = (np.float32((place + 1) / (count + 1)) for place in range(count))
        new = [head[-1] * (1 - share) + tail[0] * share for share in shares]
        known = [*head, *new, *tail]
        return known + known[-1:] * (window.length - len(known))

    def kept(self, window: GapWindow, video: Video) -> dict[int, Pixels]:
        """The new frames of a run by their place among the job's, joined to the known ones.

        They become known frames of the next run.
        """
        begin, end = window.head - 1, window.tail_at - window.skipped
        join = Join(
            difference(self.before[-1], video[begin]) if window.head else None,
            difference(self.behind[0], video[end]) if window.tail else None,
        )
        made = {
            window.first + place: join.applied(video[at], (at - begin) / max(end - begin, 1))
            for place, at in enumerate(window.picks)
        }
        pictures = list(made.values())
        if window.tail and not window.head:
            self.behind = [*pictures, *self.behind][:SEEN]
        else:
            self.before = [*self.before, *pictures][-SEEN:]
        return made

    def plate(self, picture: Pixels) -> Pixels:
        """Scene-linear light at the plate's size."""
        return self.space.from_model(self.fit.to_plate(picture))


def unbroken(frames: Sequence[int]) -> list[int]:
    """The first frames of a rising or falling row, up to `SEEN` of them or to the first gap."""
    return [frame for at, frame in enumerate(frames[:SEEN]) if abs(frame - frames[0]) == at]
