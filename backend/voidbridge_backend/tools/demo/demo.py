"""The demonstration: renders a synthetic shot, sends it through a real daemon, and compares the result with its
truth.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.client import outputs
from voidbridge_backend.client.progress import ProgressView
from voidbridge_backend.client.submission import Submission
from voidbridge_backend.exr import reader
from voidbridge_backend.exr.header import TimeCode
from voidbridge_backend.exr.layers import Selection
from voidbridge_backend.exr.new.file import new_file
from voidbridge_backend.imaging.mattes.quadmask import Hole, from_mattes
from voidbridge_backend.parallel import Pool
from voidbridge_backend.quality.contact_sheet import moment, sheet, write_png
from voidbridge_backend.quality.png_mark import is_marked
from voidbridge_backend.quality.reference import Floats, Quality, ReferenceScores
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol import __version__
from voidbridge_protocol.errors import JobCancelled
from voidbridge_protocol.job_task import Outcome
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.transfer.atomic_files import write_whole

from .shot import DemoFrame, DemoShot

SPACE = "lin_ap1_scene"
"""The Color Interop Forum's name for ACEScg, written in the files."""
RENDERED = ("plate", "truth", "matte", "affected")
MARK = "voidbridge/demo"
"""The attribute that identifies the files of the demo shot."""
SHOWN = 5
"""Number of frames in the contact sheet."""
RATE = 24


@dataclass(frozen=True)
class Folder:
    """The paths of the demonstration's files."""

    path: Path

    def sequence(self, name: str) -> Sequence:
        return Sequence.parse(self.path / name / f"{name}.%04d.exr")

    @property
    def sheet(self) -> Path:
        return self.path / "contact_sheet.png"

    @property
    def report(self) -> Path:
        return self.path / "report.json"


def show(
    path: Path,
    view: ProgressView,
    remove: Callable[[Submission, Sequence], Outcome],
    shot: DemoShot | None = None,
    should_cancel: Callable[[], bool] = lambda: False,
) -> ReferenceScores:
    """Renders missing frames into `path`, removes the rover, measures the result, draws a contact sheet.

    Raises `JobCancelled` between two frames if `should_cancel`.
    """
    shot = shot or DemoShot()
    folder = Folder(path)
    missing = [frame for frame in shot.frames if not _there(folder, frame)]
    _check_free(folder, missing)
    _render(shot, folder, missing, view, should_cancel)
    settings = RemoveSettings()
    roles = ("plate", "matte", "affected")
    assignment = Submission({role: folder.sequence(role) for role in roles}, settings)
    remove(assignment, folder.sequence("result"))
    report = _measure(shot, folder, settings, view)
    write_whole(folder.report, json.dumps(asdict(report), indent=1).encode() + b"\n")
    _show_report(report, folder, view)
    return report


def _check_free(folder: Folder, missing: list[int]) -> None:
    """Raises `OutputExists` if a file is in the way that no demo made."""
    drawn = [folder.sequence(name).path(frame) for name in RENDERED for frame in missing]
    outputs.check_foreign(
        [
            *((path, lambda path: outputs.has_attribute(path, MARK)) for path in drawn),
            (folder.sheet, is_marked),
            (folder.report, _is_report),
        ],
        "Choose another folder: voidbridge demo FOLDER",
    )


def _is_report(path: Path) -> bool:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and set(found) == {
        field.name for field in fields(ReferenceScores)
    }


def _render(
    shot: DemoShot,
    folder: Folder,
    missing: list[int],
    view: ProgressView,
    should_cancel: Callable[[], bool],
) -> None:
    for name in RENDERED:
        folder.sequence(name).folder.mkdir(parents=True, exist_ok=True)
    with Pool() as pool:
        done = pool.each(lambda frame: _write(folder, shot.render(frame), shot.first), missing)
        for number, _ in enumerate(done, 1):
            view.stage("rendering the demo shot", number, len(missing))
            if should_cancel():
                raise JobCancelled(
                    f"cancelled after {number} of {len(missing)} frames were rendered"
                )


def _there(folder: Folder, frame: int) -> bool:
    return folder.sequence("affected").path(frame).is_file()


def _write(folder: Folder, frame: DemoFrame, first: int) -> None:
    seconds, number = divmod(frame.frame - first, RATE)
    code = TimeCode(1, 0, seconds, number, False)
    for name, pixels in (("plate", frame.plate), ("truth", frame.truth)):
        planes = {channel: pixels[..., i].astype(np.float16) for i, channel in enumerate("RGB")}
        data = new_file(planes, {"colorInteropID": SPACE, MARK: __version__}, code)
        write_whole(folder.sequence(name).path(frame.frame), data)
    for name, matte in (("matte", frame.primary), ("affected", frame.affected)):
        data = new_file({"A": matte.astype(np.float16)}, {MARK: __version__}, code)
        write_whole(folder.sequence(name).path(frame.frame), data)


def _measure(
    shot: DemoShot, folder: Folder, settings: RemoveSettings, view: ProgressView
) -> ReferenceScores:
    quality = Quality()
    moments = []
    every = np.linspace(0, len(shot.frames) - 1, min(SHOWN + 2, len(shot.frames))).round()
    shown = {shot.frames[int(i)] for i in every[1:-1]}
    with Pool() as pool:
        read = pool.each(lambda frame: _read(folder, frame, settings), shot.frames)
        for number, frame in enumerate(shot.frames, 1):
            plate, result, truth, hole = next(read)
            motion = shot.motion(frame - 1, frame) if frame > shot.first else None
            quality.add(result, truth, plate, hole.alpha > 0, motion)
            if frame in shown:
                moments.append(moment(frame, plate, hole.codes, result, truth))
            view.stage("measuring", number, len(shot.frames))
    report = quality.report()
    write_png(
        folder.sheet,
        sheet(moments, "Voidbridge: a rover and its shadow, removed", _summary(report)),
    )
    return report


def _summary(report: ReferenceScores) -> str:
    outside = "bit-identical" if not report.outside_differing else "NOT identical"
    return (
        f"{report.frames} frames, {report.hole_psnr_db:.1f} dB in the hole, "
        f"flicker {report.flicker_ratio:.2f} of the truth's, outside {outside}"
    )


def _read(
    folder: Folder, frame: int, settings: RemoveSettings
) -> tuple[Floats, Floats, Floats, Hole]:
    plate, result, truth = (
        reader.read(folder.sequence(name).path(frame)).rgb()
        for name in ("plate", "result", "truth")
    )
    return plate, result, truth, hole_of(folder, frame, settings)


def hole_of(folder: Folder, frame: int, settings: RemoveSettings) -> Hole:
    """Returns the hole as the daemon makes it from the same mattes."""
    primary, affected = (
        _matte(folder.sequence(name).path(frame)) for name in ("matte", "affected")
    )
    return from_mattes(primary, affected, settings.threshold, settings.grow, settings.soften)


def _matte(path: Path) -> NDArray[np.float16]:
    return reader.read(path, lambda header: Selection(0, ("A",))).channels["A"]


def _show_report(report: ReferenceScores, folder: Folder, view: ProgressView) -> None:
    outside = (
        "bit-identical"
        if not report.outside_differing
        else f"{report.outside_differing} pixels differ"
    )
    view.event("report", **asdict(report), sheet=str(folder.sheet))
    figures = (
        f"\nagainst the true clean plate, {report.frames} frames:\n"
        f"  PSNR in the hole   {report.hole_psnr_db:.1f} dB\n"
        f"  flicker            {report.flicker_ratio:.2f} times the truth's own\n"
        f"  outside the hole   {outside}\n"
        f"  picture            {folder.sheet}"
    )
    for line in figures.splitlines():
        view.message(line)
