"""Reads a show's clips as the model sees them: in its space, at its size."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from voidbridge_backend.engines.base import InputSpec, Pixels, Quadmask
from voidbridge_backend.exr.layers import choose_picture
from voidbridge_backend.imaging.color import ColorPlan
from voidbridge_backend.imaging.crop import whole
from voidbridge_backend.imaging.mattes.quadmask import KEEP, OVERLAP, REMOVE
from voidbridge_backend.render.engine_input import EngineInput, crop_for
from voidbridge_backend.render.inputs import InputFiles, Plates, canvas_of, model_space
from voidbridge_backend.render.mattes import Mattes
from voidbridge_backend.sequences import patterns
from voidbridge_backend.sequences.found import find, paired
from voidbridge_backend.sequences.patterns import frames_for
from voidbridge_protocol.errors import FrameMismatch
from voidbridge_protocol.operations.remove import RemoveSettings

from .paste import Alpha, CutOutClip

Size = tuple[int, int]
EXACT = RemoveSettings(grow=0, soften=0, region="full")
"""A cut-out is the matte itself, without growth."""


@dataclass(frozen=True)
class MemoryClip:
    """`engines.base.Clip` of pictures in memory."""

    pictures: Sequence[Pixels]
    codes: Sequence[Quadmask] = ()

    @property
    def frames(self) -> range:
        return range(len(self.pictures))

    @property
    def height(self) -> int:
        return int(self.pictures[0].shape[0])

    @property
    def width(self) -> int:
        return int(self.pictures[0].shape[1])

    def plate(self, frame: int) -> Pixels:
        return self.pictures[frame].copy()

    def quadmask(self, frame: int) -> Quadmask:
        if not self.codes:
            return np.full(self.pictures[frame].shape[:2], KEEP, np.uint8)
        return self.codes[frame]

    def has_hole(self, frame: int) -> bool:
        return bool((self.quadmask(frame) != KEEP).any())


@dataclass(frozen=True)
class ReadClip:
    """Frames of a clip, and the hash over their files."""

    pictures: list[Pixels]
    sha256: str


def read_plate(pattern: str, color_space: str, size: Size, most: int) -> ReadClip:
    """Reads up to `most` frames of a clean plate, the whole picture scaled to (height, width).

    Raises `RequestError` for a clip that cannot be read.
    """
    sequence = find(pattern)
    frames = frames_for(sequence, None)[:most]
    plates, _ = _plates({"plate": sequence}, frames, color_space)
    crop = whole(frames, (plates.canvas.height, plates.canvas.width))
    view = EngineInput(plates, _no_mattes(plates), frames, crop, size, model_space(plates, frames))
    return ReadClip([view.plate(frame) for frame in frames], _hash(sequence, frames))


def read_cut_out(
    pattern: str, matte: str, belongings: str, color_space: str, size: Size, most: int
) -> tuple[CutOutClip, str]:
    """Reads an object and its belongings as one cut-out. Raises `RequestError`."""
    settings = replace(EXACT, color_space=color_space)
    view, sha256 = _shot(pattern, matte, "", size, most, settings)
    alphas = [_removed(view, frame) for frame in view.frames]
    if belongings:
        more, _ = _shot(pattern, belongings, "", size, most, settings)
        alphas = [
            np.maximum(alpha, _removed(more, frame))
            for frame, alpha in zip(view.frames, alphas, strict=True)
        ]
    return CutOutClip([view.plate(frame) for frame in view.frames], alphas), sha256


def _removed(view: EngineInput, frame: int) -> Alpha:
    return np.isin(view.quadmask(frame), (REMOVE, OVERLAP)).astype(np.float32)


def read_approved(
    pattern: str,
    matte: str,
    affected: str,
    clean: str,
    color_space: str,
    size: Size,
    most: int,
) -> tuple[MemoryClip, list[Pixels], str, str]:
    """Reads a shot and its approved clean plate, in the same crop and space: input, target, and both hashes.

    Raises `RequestError`, also if the two differ in their frames.
    """
    settings = RemoveSettings(color_space=color_space)
    view, sha256 = _shot(pattern, matte, affected, size, most, settings)
    sequence = find(clean)
    there = set(sequence.scan())
    if lacking := [frame for frame in view.frames if frame not in there]:
        raise FrameMismatch(f"the approved plate {clean} has no frame {lacking[0]}")
    plates, _ = _plates({"plate": sequence}, list(view.frames), color_space)
    target = EngineInput(plates, view.mattes, view.frames, view.crop, size, view.model)
    shown = MemoryClip(
        [view.plate(frame) for frame in view.frames],
        [view.quadmask(frame) for frame in view.frames],
    )
    pictures = [target.plate(frame) for frame in view.frames]
    return shown, pictures, sha256, _hash(sequence, list(view.frames))


def _shot(
    pattern: str, matte: str, affected: str, size: Size, most: int, settings: RemoveSettings
) -> tuple[EngineInput, str]:
    plate = find(pattern)
    files = {"plate": plate, "matte": paired(find(matte), plate)}
    if affected:
        files["affected"] = paired(find(affected), plate)
    frames = frames_for(plate, None)[:most]
    for role in ("matte", "affected"):
        if role in files and (lacking := set(frames) - set(files[role].scan())):
            raise FrameMismatch(f"the {role} {files[role]} has no frame {min(lacking)}")
    plates, source = _plates(files, frames, settings.color_space)
    mattes = Mattes(source, settings, plates.canvas)
    mattes.survey(lambda: None)
    height, width = plates.canvas.height, plates.canvas.width
    crop = crop_for(mattes, frames, (height, width), InputSpec("model", size), settings, 1.0)
    view = EngineInput(plates, mattes, frames, crop, size, model_space(plates, frames))
    return view, _hash(plate, frames)


def _plates(
    files: dict[str, patterns.Sequence], frames: list[int], color_space: str
) -> tuple[Plates, InputFiles]:
    source = InputFiles(
        {role: {frame: found.path(frame) for frame in frames} for role, found in files.items()},
        indices={(role, f): found.index(f) for role, found in files.items() for f in frames},
    )
    canvas, _ = canvas_of(source)
    header = source.header("plate", frames[0])
    part = header.parts[choose_picture(header, "").part]
    return Plates(source, canvas, ColorPlan.choose(color_space, part, None)), source


def _no_mattes(plates: Plates) -> Mattes:
    return Mattes(InputFiles({}), EXACT, plates.canvas)


def _hash(sequence: patterns.Sequence, frames: list[int]) -> str:
    """Returns the SHA-256 over the hashes of the files, in order, each file once."""
    whole_hash = hashlib.sha256()
    paths: list[Path] = list(dict.fromkeys(sequence.path(frame) for frame in frames))
    for path in paths:
        with path.open("rb") as file:
            whole_hash.update(hashlib.file_digest(file, "sha256").digest())
    return whole_hash.hexdigest()
