"""`mask --combine`: a quadmask from mattes that are there. And PNG files beside the results of `mask`."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from voidbridge_backend.cli.options import beside
from voidbridge_backend.client import outputs
from voidbridge_backend.client.output_places import check_places
from voidbridge_backend.client.progress import ProgressView
from voidbridge_backend.client.submission import sidecar
from voidbridge_backend.exr.seal import is_sealed
from voidbridge_backend.quality.png_mark import is_marked
from voidbridge_backend.sequences.found import find
from voidbridge_backend.sequences.patterns import FrameRange, compact
from voidbridge_backend.sequences.patterns import Sequence as Pattern
from voidbridge_protocol import __version__
from voidbridge_protocol.errors import BadSetting, JobCancelled, MissingFrames
from voidbridge_protocol.operations.mask import ROLES
from voidbridge_protocol.transfer.atomic_files import write_whole


@dataclass(frozen=True)
class Places:
    """The files to write: OpenEXR, and PNG beside it on request."""

    target: Pattern
    png: bool
    overwrite: bool


def layers_of(
    words: Iterable[str], plate: Pattern, frames: Sequence[int]
) -> list[tuple[str, Pattern]]:
    """(role, matte) of each ROLE=MATTE. Raises `BadSetting`, `BadPattern`, and `MissingFrames` for a gap."""
    found = []
    for word in words:
        role, _, pattern = word.partition("=")
        if role not in ROLES or not pattern:
            raise BadSetting(
                f"--combine {word!r} cannot be read",
                f"Write it as ROLE=MATTE; the roles are {', '.join(ROLES)}.",
            )
        matte = beside(find(pattern), plate, None)
        if absent := sorted({*frames} - {*matte.scan()}):
            raise MissingFrames(
                f"{matte} lacks the frames {compact(absent)} of the plate",
                "Give a matte of every frame, or name the frames that are there with --frames.",
            )
        found.append((role, matte))
    if all(role == "affected" for role, _ in found):
        raise BadSetting(
            "no matte says what to remove", "Add a matte with --combine primary=MATTE."
        )
    return found


def combine(
    plate: Pattern,
    layers: Sequence[tuple[str, Pattern]],
    frames: Sequence[int],
    places: Places,
    view: ProgressView,
    cancelled: threading.Event,
) -> None:
    """Writes a quadmask for each frame, and a record of the mattes that it is made of.

    Raises `OverwritesSource`, `OutputExists`, `JobCancelled`, and as `render.masking.combine.quadmasks`.
    """
    from voidbridge_backend.render.masking.combine import RoledMatte, quadmasks

    record = sidecar(places.target, FrameRange(frames[0], frames[-1]))
    files = [places.target.path(frame) for frame in frames]
    sources = [pattern.path(frame) for _, pattern in (("", plate), *layers) for frame in frames]
    check_places([*files, record])
    checks = [*((path, is_sealed) for path in files), (record, outputs.is_sidecar)]
    outputs.check_files(checks, sources, places.overwrite)
    if places.png:
        check_pngs([places.target], frames, sources, places.overwrite)
    places.target.folder.mkdir(parents=True, exist_ok=True)
    made = quadmasks(plate, [RoledMatte(role, pattern) for role, pattern in layers], frames)
    for done, (frame, data) in enumerate(made):
        if cancelled.is_set():
            raise JobCancelled("stopped")
        view.stage("combining mattes", done, len(frames))
        write(places.target, frame, data, places.png)
    found = {
        "version": __version__,
        "operation": "mask",
        "frames": str(FrameRange(frames[0], frames[-1])),
        "combined": [{"role": role, "matte": str(pattern)} for role, pattern in layers],
    }
    write_whole(record, outputs.record_bytes(found))


def write(target: Pattern, frame: int, data: bytes, png: bool) -> None:
    """Writes one OpenEXR file, and its picture beside it."""
    if png:
        from voidbridge_backend.render.masking.png import picture

        write_whole(_png(target, frame), picture(data, target.path(frame).name))
    write_whole(target.path(frame), data)


def check_pngs(
    targets: Iterable[Pattern], frames: Sequence[int], sources: Iterable[Path], overwrite: bool
) -> None:
    """Raises `OverwritesSource` and `OutputExists` for a PNG in the way."""
    paths = [_png(target, frame) for target in targets for frame in frames]
    outputs.check_files([(path, is_marked) for path in paths], sources, overwrite)


def _png(target: Pattern, frame: int) -> Path:
    return target.path(frame).with_suffix(".png")
