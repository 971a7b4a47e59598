"""A cut: clips that are kept, and shots to be generated between them. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_type_hints

from voidbridge_backend.client.submission import Submission
from voidbridge_backend.sequences.patterns import FrameRange, Sequence, compact
from voidbridge_protocol.errors import BadSetting, MissingFrames
from voidbridge_protocol.operations.generate import (
    MODEL_REACH,
    MODES,
    MOST_FRAMES,
    GenerateSettings,
    check_mode,
)

FORMAT = 1
"""Frames of a clip that only gives the format."""
OWN_FRAMES = ("retake", "hdr")
"""Modes that make frames of their own clip again."""
WORDS = frozenset(
    field.name for field in fields(GenerateSettings) if field.name not in ("mode", "layer")
)
"""Settings that a shot may have of its own."""
KINDS = get_type_hints(GenerateSettings)
HINT = "Correct the list; docs/generate.md describes tables of shots and timelines."


@dataclass(frozen=True)
class KeptClip:
    """A clip of the cut, and the part of it that is seen."""

    name: str
    media: Sequence
    frames: FrameRange


@dataclass(frozen=True)
class NewShot:
    """A shot to be generated."""

    name: str
    mode: str
    length: int
    """New frames."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Its own settings, which go before those of the command."""
    clip: KeptClip | None = None
    """The clip of a `retake` or of `hdr`; the reference of the other modes, if it is not a clip beside the shot."""
    takes: int = 0
    """0: as many as the command says."""
    before: bool = False
    """`extend` ahead of the clip behind it."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise BadSetting(
                f"the shot {self.name} has the mode {self.mode!r}; there are {', '.join(MODES)}",
                HINT,
            )
        if not 1 <= self.length <= MOST_FRAMES:
            raise BadSetting(
                f"the shot {self.name} has a length of {self.length} frames",
                f"One shot has 1 to {MOST_FRAMES} new frames.",
            )
        if unknown := sorted(set(self.settings) - WORDS):
            raise BadSetting(f"the shot {self.name} has an unknown setting {unknown[0]!r}", HINT)
        for word, value in self.settings.items():
            if type(value) is not KINDS[word]:
                raise BadSetting(f"the shot {self.name} has {word} = {value!r}", HINT)


Item = KeptClip | NewShot | int
"""A number is a gap of that many frames."""


@dataclass(frozen=True)
class Cut:
    """A timeline's picture: its items in order. `rate` is in frames a second."""

    name: str
    rate: float
    items: tuple[Item, ...]

    def shots(self) -> list[tuple[int, NewShot]]:
        """The shots to be generated, by their place among the items."""
        return [(at, item) for at, item in enumerate(self.items) if isinstance(item, NewShot)]

    def check(self, base: GenerateSettings) -> None:
        """Raises `BadSetting` or `MissingFrames` for the first thing that would stop the work."""
        names = [item.name for _, item in self.shots()]
        if not names:
            raise BadSetting(f"{self.name} has no shot to generate", "Give one a mode.")
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise BadSetting(
                f"two shots of {self.name} have the name {doubled[0]}",
                "Rename one: each shot has a folder of its name.",
            )
        for item in self.items:
            clip = item if isinstance(item, KeptClip) else getattr(item, "clip", None)
            if clip is not None and not getattr(item, "mode", "") == "retake":
                check_files(clip)
        made = {at: _placeholder(item) for at, item in self.shots()}
        for at, _ in self.shots():
            self.submission(at, base, made)

    def submission(
        self, at: int, base: GenerateSettings, made: Mapping[int, KeptClip]
    ) -> Submission:
        """The job of the shot at this place. `made` are the first takes of the shots before it.

        Raises `BadSetting` where a clip that the mode needs is not beside the shot.
        """
        shot = self.items[at]
        assert isinstance(shot, NewShot)
        settings = settings_of(shot, base)
        before, behind = self._beside(at, made, -1), self._beside(at, made, 1)
        if shot.mode in OWN_FRAMES:
            own = _needed(shot.clip, shot, "a clip of its own")
            reach = 0 if shot.mode == "hdr" else MODEL_REACH
            part = FrameRange(own.frames.first - reach, own.frames.last + reach)
            return _job({"plate": (own.media, part)}, own.frames, settings)
        if shot.mode == "text":
            plate = _needed(shot.clip or before or behind, shot, "a clip beside it for the format")
            return _after(plate, shot, settings, FORMAT)
        if shot.mode == "from-frame":
            return _after(_needed(shot.clip or before, shot, "a reference"), shot, settings, 1)
        if shot.mode == "extend" and shot.before:
            tail = _needed(behind, shot, "a clip behind it")
            first = tail.frames.first
            part = FrameRange(first, min(first + MODEL_REACH - 1, tail.frames.last))
            return _job(
                {"plate": (tail.media, part)}, FrameRange(first - shot.length, first - 1), settings
            )
        plate = _needed(before, shot, "a clip before it")
        if shot.mode == "extend":
            return _after(plate, shot, settings, MODEL_REACH)
        tail = _needed(behind, shot, "a clip behind it")
        found = _after(plate, shot, settings, MODEL_REACH)
        first = tail.frames.first
        last = min(first + MODEL_REACH - 1, tail.frames.last)
        return replace(
            found,
            files={**found.files, "tail": tail.media},
            parts={**found.parts, "tail": FrameRange(first, last)},
        )

    def _beside(self, at: int, made: Mapping[int, KeptClip], step: int) -> KeptClip | None:
        place = at + step
        if not 0 <= place < len(self.items):
            return None
        item = self.items[place]
        if isinstance(item, KeptClip):
            return item
        return made.get(place) if step < 0 else None


def settings_of(shot: NewShot, base: GenerateSettings) -> GenerateSettings:
    """The shot's own settings before those of the command. Raises `BadSetting`."""
    try:
        settings = replace(base, mode=shot.mode, **shot.settings)
        check_mode(settings.engine, shot.mode, settings.prompt)
    except BadSetting as error:
        raise BadSetting(f"the shot {shot.name}: {error.text}", error.hint) from error
    return settings


def check_files(clip: KeptClip) -> None:
    """Raises `MissingFrames` if a frame of the clip that is seen is not there."""
    there = {*clip.media.scan()}
    wanted = range(clip.frames.first, clip.frames.last + 1)
    if missing := [frame for frame in wanted if frame not in there]:
        found = compact(sorted(there)) or "nothing"
        raise MissingFrames(
            f"the clip {clip.name} lacks {compact(missing)} of {clip.media}; there is {found}",
            "Relink the clip, or render what is missing.",
        )


def _placeholder(shot: NewShot) -> KeptClip:
    """A stand-in for a take that is still to be made, for checks."""
    return KeptClip(shot.name, Sequence.parse(f"{shot.name}.####.exr"), FrameRange(1, shot.length))


def _needed(clip: KeptClip | None, shot: NewShot, text: str) -> KeptClip:
    if clip is None:
        raise BadSetting(f"the shot {shot.name} ({shot.mode}) needs {text}, and there is none")
    return clip


def _after(plate: KeptClip, shot: NewShot, settings: GenerateSettings, reach: int) -> Submission:
    """New frames behind the part of a clip that is seen, numbered on from it."""
    last = plate.frames.last
    part = FrameRange(max(last - reach + 1, plate.frames.first), last)
    return _job({"plate": (plate.media, part)}, FrameRange(last + 1, last + shot.length), settings)


def _job(
    files: Mapping[str, tuple[Sequence, FrameRange]], frames: FrameRange, settings: GenerateSettings
) -> Submission:
    return Submission(
        {role: media for role, (media, _) in files.items()},
        settings,
        frames=frames,
        operation="generate",
        parts={role: part for role, (_, part) in files.items()},
    )
