"""Reviews a finished shot from its files: `no_reference` measures, and the truth if there is one.

It uses the files only, so any tool may have made the result.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.client.submission import sidecars
from voidbridge_backend.exr import reader
from voidbridge_backend.exr.header import Window
from voidbridge_backend.exr.layers import choose_picture
from voidbridge_backend.exr.part import CONFIDENCE
from voidbridge_backend.imaging.color import ColorPlan, sanitize
from voidbridge_backend.imaging.mattes.quadmask import Hole
from voidbridge_backend.imaging.region import Region
from voidbridge_backend.quality import jod as colorvideovdp
from voidbridge_backend.quality.contact_sheet import Moment, moment, sheet, write_png
from voidbridge_backend.quality.no_reference import (
    MARGIN,
    Findings,
    FrameFigures,
    FrameStats,
    Inspection,
    Pixels,
    frame_stats,
    plain,
    step_for,
)
from voidbridge_backend.quality.reference import Quality, encode
from voidbridge_backend.render.inputs import InputFiles, canvas_of
from voidbridge_backend.render.mattes import Mattes
from voidbridge_backend.sequences.found import find
from voidbridge_backend.sequences.patterns import Sequence, compact, frames_for
from voidbridge_protocol.errors import BadSetting, FrameMismatch, MissingFrames
from voidbridge_protocol.operations.remove import RemoveSettings

from .frame_shift import FrameShift

SHOWN = 5
"""Number of frames in the picture."""
RATE = 24
"""Frames per second if the plate does not state a rate."""


@dataclass(frozen=True)
class Files:
    """The files to review."""

    result: Sequence
    plate: Sequence
    matte: Sequence
    affected: Sequence | None = None
    truth: Sequence | None = None


@dataclass(frozen=True)
class QualityReport(Findings):
    """`Findings`, plus measurements that need the files.

    `frame_shift` frames that the result is late by, judged outside of the hole: 0. `hole_psnr_db` against the
    truth, in the hole, after `reference.encode`; NaN without a truth, as is `hole_ssim` the mean of SSIM there.
    `jod` ColorVideoVDP of the rectangle around all holes; NaN too if it is not installed. `confidence` the mean of
    the result's channel `voidbridge.confidence` in the hole; NaN if it has none.
    """

    frame_shift: int
    hole_psnr_db: float
    hole_ssim: float
    jod: float
    confidence: float

    def lines(self) -> Iterator[str]:
        """Yields one line of text per number."""
        for name, value in self.described().items():
            if name != "warnings" and value is not None:
                yield f"{name.replace('_', ' '):20} {value}"
        yield from (f"warning: {text}" for text in self.warnings)


def settings_of(result: Sequence, chosen: dict[str, Any]) -> RemoveSettings:
    """Returns the settings of the hole: those in the result's newest sidecar, overridden by `chosen`."""
    recorded: dict[str, Any] = _record(result).get("settings", {})
    known = {
        name: value
        for name, value in recorded.items()
        if name in RemoveSettings.__dataclass_fields__
    }
    return RemoveSettings(**{**known, **chosen})


def affected_of(result: Sequence) -> Sequence | None:
    """Returns the affected matte that the result's newest sidecar names.

    Raises `BadSetting` if there was one and its files are not where they were.
    """
    record = _record(result)
    if not any(str(source).startswith("affected/") for source in record.get("sources", {})):
        return None
    named = record.get("files", {}).get("affected")
    found = find(named) if named else None
    if found is None or not found.scan():
        where = f", {named}" if named else ""
        raise BadSetting(
            f"the result was made with an affected matte{where}, and its files are not there",
            "Name it with --affected.",
        )
    return found


def _record(result: Sequence) -> dict[str, Any]:
    """The result's newest sidecar; empty if there is none. Raises `BadSetting`."""
    for path in sidecars(result)[:1]:
        try:
            record = json.loads(path.read_bytes())
            if isinstance(record["settings"], dict):
                return dict(record)
        except (ValueError, KeyError, TypeError):
            pass
        raise BadSetting(f"{path} does not say how the result was made", "Remove that file.")
    return {}


def review(
    files: Files,
    settings: RemoveSettings,
    picture: Path | None,
    on_frame: Callable[[int, int], None],
    on_figures: Callable[[FrameFigures], None] = lambda figures: None,
) -> QualityReport:
    """Measures every frame of the result, and draws `picture` (PNG). Raises `RequestError`."""
    frames = frames_for(files.result, None)
    source = _source(files, frames)
    canvas, _ = canvas_of(source, settings.layer)
    first = source.header("plate", frames[0])
    choose = partial(choose_picture, layer=settings.layer)
    part = first.parts[choose(first).part]
    color = ColorPlan.choose(settings.color_space, part)
    mattes = Mattes(source, settings, canvas)
    mattes.survey(lambda: None)
    shown = {frames[int(i)] for i in np.linspace(0, len(frames) - 1, SHOWN + 2).round()[1:-1]}
    inspection, quality, late, moments = Inspection(), Quality(), FrameShift(), list[Moment]()
    likeness, unchanged, trust = list[float](), list[int](), list[Pixels]()
    box: Region | None = None
    for number, frame in enumerate(frames, 1):
        seen = _ReviewedFrame.of(source, frame, mattes.hole(frame), canvas, color, choose)
        on_figures(inspection.add(seen.frame_stats(frame, canvas)))
        late.add(seen.plate, seen.result, seen.alpha > 0)
        if seen.is_unchanged:
            unchanged.append(frame)
        if seen.truth is not None:
            quality.add(seen.result, seen.truth, seen.plate, seen.alpha > 0)
            likeness.append(_ssim(seen.result, seen.truth, seen.alpha > 0))
            box = _union(box, Region.of(mattes.hole(frame).alpha > 0))
        if picture is not None and frame in shown:
            moments.append(seen.moment(frame))
        if seen.confidence is not None:
            trust.append(seen.confidence[seen.alpha > 0])
        on_frame(number, len(frames))
    found = inspection.findings()
    if unchanged:
        said = f"the result is the plate in the hole of {compact(unchanged)}: nothing was removed there"
        found = Findings(**{**asdict(found), "warnings": (said, *found.warnings)})
    if late.frames:
        text = f"the result is {abs(late.frames)} frames {'late' if late.frames > 0 else 'early'}"
        found = Findings(**{**asdict(found), "warnings": (text, *found.warnings)})
    true = quality.report().hole_psnr_db if likeness else math.nan
    ssim = float(np.nanmean(likeness)) if np.isfinite(likeness).any() else math.nan
    visible = _jod(source, frames, box, canvas, color, choose) if box else math.nan
    sure = np.concatenate([np.zeros(0), *trust])
    verdict = QualityReport(
        **asdict(found),
        frame_shift=late.frames,
        hole_psnr_db=true,
        hole_ssim=ssim,
        jod=visible,
        confidence=float(sure.mean()) if sure.size else math.nan,
    )
    if picture is not None:
        write_png(picture, sheet(moments, f"Voidbridge: {files.result}", _subtitle(verdict)))
    return verdict


def _source(files: Files, frames: list[int]) -> InputFiles:
    paths = {}
    for role, sequence in _given(files).items():
        there = set(sequence.scan())
        missing = [frame for frame in frames if frame not in there]
        if missing:
            raise MissingFrames(
                f"the {role} {sequence} lacks {compact(missing)}; the result has {compact(frames)}"
            )
        paths[role] = {frame: sequence.path(frame) for frame in frames}
    given = _given(files).items()
    indices = {(role, frame): found.index(frame) for role, found in given for frame in frames}
    return InputFiles(paths, indices=indices)


def _given(files: Files) -> dict[str, Sequence]:
    every = {name: getattr(files, name) for name in files.__dataclass_fields__}
    return {name: sequence for name, sequence in every.items() if sequence is not None}


@dataclass(frozen=True)
class _ReviewedFrame:
    """One frame of each sequence, as finite scene-linear light over the plate's data window."""

    plate: Pixels
    result: Pixels
    truth: Pixels | None
    confidence: Pixels | None
    """[height, width], 0 to 1, if the result tells it."""
    alpha: Pixels
    codes: NDArray[np.uint8]
    differing: int
    corner: tuple[int, int]

    @classmethod
    def of(
        cls,
        source: InputFiles,
        frame: int,
        hole: Hole,
        canvas: Window,
        color: ColorPlan,
        choose: reader.Choose,
    ) -> _ReviewedFrame:
        roles = ["plate", "result", *(["truth"] if "truth" in source.paths else [])]
        read = {role: source.read(role, frame, choose) for role in roles}
        window = read["plate"].window
        for role, other in read.items():
            if other.window != window:
                raise FrameMismatch(
                    f"frame {frame}: the {role} has {other.window}, the plate {window}"
                )
        light = {role: sanitize(color.to_scene(one.rgb())) for role, one in read.items()}
        own = Region(
            window.xmin - canvas.xmin, window.ymin - canvas.ymin, window.width, window.height
        )
        alpha = own.cut(hole.alpha)
        sure = read["result"].channels.get(CONFIDENCE)
        return cls(
            light["plate"],
            light["result"],
            light.get("truth"),
            None if sure is None else np.asarray(sure, np.float32),
            alpha,
            own.cut(hole.codes),
            _differing(read["plate"], read["result"], alpha > 0),
            (own.top, own.left),
        )

    def moment(self, frame: int) -> Moment:
        return moment(
            frame, self.plate, self.codes, self.result, self.truth, confidence=self.confidence
        )

    @property
    def is_unchanged(self) -> bool:
        """Whether the result has the plate's pixels all over a hole."""
        hole = self.alpha > 0
        return bool(hole.any() and np.array_equal(self.plate[hole], self.result[hole]))

    def frame_stats(self, frame: int, canvas: Window) -> FrameStats:
        whole = Region.whole((self.alpha.shape[0], self.alpha.shape[1]))
        box = Region.of(self.alpha > 0)
        around = whole if box is None else box.wider(MARGIN).overlap(whole) or whole
        corner = self.corner[0] + around.top, self.corner[1] + around.left
        return frame_stats(
            frame,
            np.ascontiguousarray(around.cut(self.result)),
            np.ascontiguousarray(around.cut(self.alpha)),
            corner,
            step_for(canvas.height, canvas.width),
            self.differing,
        )


def _differing(plate: reader.Frame, result: reader.Frame, hole: NDArray[np.bool_]) -> int:
    """Counts samples that the result failed to keep: outside the hole, and in all other channels."""
    wrong = 0
    for name, before in plate.channels.items():
        after = result.channels.get(name)
        if after is None or after.dtype != before.dtype:
            wrong += before.size
        else:
            changed = reader.bits(before) != reader.bits(after)
            wrong += int(np.count_nonzero(changed & ~hole if name in plate.rgb_names else changed))
    return wrong


def _ssim(result: Pixels, truth: Pixels, hole: NDArray[np.bool_]) -> float:
    """Mean over the hole of SSIM of the green channel's code (Wang et al. 2004; Gaussian of 1.5 pixels)."""
    box = Region.of(hole)
    if box is None:
        return math.nan
    wider = box.wider(8).overlap(Region.whole((hole.shape[0], hole.shape[1])))
    assert wider is not None, "the hole lies in the frame"
    a, b = (encode(wider.cut(one)[..., 1]).astype(np.float64) for one in (result, truth))

    def blurred(picture: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(picture, (11, 11), 1.5), np.float64)

    mean_a, mean_b = blurred(a), blurred(b)
    spread_a, spread_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    both = blurred(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    alike = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    alike /= (mean_a**2 + mean_b**2 + c1) * (spread_a + spread_b + c2)
    return float(alike[wider.cut(hole)].mean())


def _union(one: Region | None, other: Region | None) -> Region | None:
    return one.union(other) if one and other else one or other


def _jod(
    source: InputFiles,
    frames: list[int],
    holes: Region,
    canvas: Window,
    color: ColorPlan,
    choose: reader.Choose,
) -> float:
    """Reads the frames again, one at a time, and measures them if ColorVideoVDP is installed."""
    if not colorvideovdp.is_installed():
        return math.nan
    around = holes.wider(MARGIN).overlap(Region.whole((canvas.height, canvas.width)))
    assert around is not None, "the holes lie on the canvas"
    to_rec709 = color.to_rec709.T.astype(np.float32)

    def light(role: str, frame: int) -> Pixels:
        read = source.read(role, frame, choose)
        pixels = sanitize(color.to_scene(read.rgb()))
        window = read.window
        own = Region(
            window.xmin - canvas.xmin, window.ymin - canvas.ymin, window.width, window.height
        )
        shown = np.zeros((*around.size, 3), np.float32)
        part = own.overlap(around)
        if part is not None:
            part.within(around).paste(shown, part.within(own).cut(pixels))
        return shown @ to_rec709

    first = source.header("plate", frames[0])
    rate = first.parts[choose(first).part].frames_per_second or RATE
    pairs = colorvideovdp.Pairs(
        len(frames),
        *around.size,
        float(rate),
        lambda index: (light("result", frames[index]), light("truth", frames[index])),
    )
    return colorvideovdp.jod(pairs)


def _subtitle(verdict: QualityReport) -> str:
    outside = (
        "bit-identical"
        if not verdict.outside_differing
        else f"{verdict.outside_differing} samples differ"
    )
    measured = [
        f"{name} {plain(getattr(verdict, field))}"
        for name, field in (
            ("seam", "seam_energy"),
            ("grain", "grain_match"),
            ("flicker", "flicker"),
        )
    ]
    return f"{verdict.frames} frames, outside {outside}, " + ", ".join(measured)
