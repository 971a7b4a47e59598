"""`mask --one-file`: all mattes of a frame in one file, for hosts. And tracking again from a frame on."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from voidbridge_backend.cli.commands import jobs
from voidbridge_backend.cli.common_options import add_host_options, add_priority_option
from voidbridge_backend.cli.options import plate_of
from voidbridge_backend.cli.prompts import TypedPrompts, objects_of
from voidbridge_backend.client import outputs, status_file
from voidbridge_backend.client.daemon_client import ClientOptions
from voidbridge_backend.client.job_run import finish, run_job
from voidbridge_backend.client.progress import watched
from voidbridge_backend.client.submission import Submission, result_sequence
from voidbridge_backend.exr.multi_part import split
from voidbridge_backend.sequences.found import find
from voidbridge_backend.sequences.patterns import FrameRange, ListedFiles, Sequence, compact
from voidbridge_backend.temporary_folders import temporary_folder
from voidbridge_protocol.errors import BadSetting, MissingFrames
from voidbridge_protocol.operations.mask import MaskObject, MaskSettings, key_role, written
from voidbridge_protocol.transfer.atomic_files import write_whole

Objects = list[tuple[MaskObject, dict[int, Path]]]
"""Each object with the files of its key mattes."""
ASKED = "asked"
"""Name of the object that the mattes of --affected make."""


@dataclass(frozen=True)
class Earlier:
    """A result that is kept up to the frame before `again_from`."""

    result: Sequence
    again_from: int

    @property
    def anchor(self) -> int:
        """The last frame that is kept. Its mattes are the first key mattes of the new track."""
        return self.again_from - 1

    def objects(self, objects: Objects, folder: Path) -> Objects:
        """The objects with the prompts from `again_from` on, and their own mattes of the frame before it.

        Raises `BadSetting` for an object that nothing says anything about, and `UnreadableFrame`.
        """
        path = self.result.path(self.anchor)
        parts = dict(split(path.read_bytes(), path.name))
        return [self._continued(found, keys, parts, folder) for found, keys in objects]

    def _continued(
        self, found: MaskObject, keys: Mapping[int, Path], parts: Mapping[str, bytes], folder: Path
    ) -> tuple[MaskObject, dict[int, Path]]:
        if found.noun:
            return found, {}
        later = {frame: path for frame, path in keys.items() if frame >= self.again_from}
        if found.name in parts:
            later[self.anchor] = folder / f"{found.name}.exr"
            later[self.anchor].write_bytes(parts[found.name])
        points = tuple(p for p in found.points if p.frame >= self.again_from)
        boxes = tuple(b for b in found.boxes if b.frame >= self.again_from)
        kept = replace(found, points=points, boxes=boxes, keys=tuple(sorted(later)))
        return kept, later


def run(parsed: argparse.Namespace, prompts: TypedPrompts, client: ClientOptions) -> None:
    """Tracks and writes one file a frame to the pattern --output.

    Raises `BadSetting` and `BadPattern` before anything is sent.
    """
    if parsed.png or parsed.combine:
        raise BadSetting(
            "--one-file goes with neither --png nor --combine", "Leave --one-file out."
        )
    if (parsed.again_from is None) != (parsed.earlier is None):
        raise BadSetting(
            "--again-from and --earlier belong together",
            "Name the frame to track from, and the result whose earlier frames are kept.",
        )
    if parsed.again_from is not None:
        _track_again(parsed, prompts, client)
        return
    jobs.run(
        lambda *_: _submission(parsed, _objects(parsed, prompts), parsed.frames),
        client,
        str(parsed.output),
        parsed.json,
        parsed.status_file,
        parsed.frames_from_stdin,
        parsed.overwrite,
    )


def _objects(parsed: argparse.Namespace, prompts: TypedPrompts) -> Objects:
    """The objects of the prompts, and the affected mattes that are there. Raises `BadSetting`, `BadPattern`."""
    found = objects_of(prompts)
    if not parsed.affected:
        return found
    mattes = find(parsed.affected)
    whole = FrameRange.parse(parsed.frames) if parsed.frames else None
    frames = [n for n in mattes.scan() if whole is None or whole.first <= n <= whole.last]
    if not frames:
        raise MissingFrames(
            f"the affected mattes {mattes} have no frame of the range",
            "Check the name and the numbers.",
        )
    keys = {frame: mattes.path(frame) for frame in frames}
    return [*found, (MaskObject(ASKED, "affected", keys=tuple(frames)), keys)]


def _submission(parsed: argparse.Namespace, objects: Objects, frames: str | None) -> Submission:
    settings = MaskSettings(
        parsed.engine,
        written([found for found, _ in objects]),
        parsed.color_space,
        parsed.layer,
        find=parsed.find,
        origin=parsed.origin,
        layered=True,
    )
    keys = {key_role(i): ListedFiles.of(files) for i, (_, files) in enumerate(objects) if files}
    return Submission(
        {"plate": plate_of(parsed), **keys},
        settings,
        FrameRange.parse(frames) if frames else None,
        operation="mask",
        priority=parsed.priority,
        force=parsed.force,
    )


def _track_again(parsed: argparse.Namespace, prompts: TypedPrompts, client: ClientOptions) -> None:
    began = time.monotonic()
    with (
        watched(parsed.json) as (shown, cancelled),
        status_file.kept(parsed.status_file, shown, cancelled) as view,
        temporary_folder("again") as folder,
    ):
        earlier = Earlier(find(parsed.earlier), parsed.again_from)
        whole = _kept_range(parsed, earlier)
        again = f"{earlier.anchor}-{whole.last}"
        objects = earlier.objects(_objects(parsed, prompts), folder)
        submission = _submission(parsed, objects, again)
        result = result_sequence(str(parsed.output), submission.files["plate"], [earlier.result])
        outputs.check_run(replace(submission, frames=whole), result, parsed.overwrite)
        packed = Sequence(folder, "again.", ".exr", 4)
        outcome = run_job(
            submission, packed, client, view, cancelled, parsed.frames_from_stdin, announce=False
        )
        for frame in range(whole.first, whole.last + 1):
            source = earlier.result if frame < earlier.again_from else packed
            write_whole(result.path(frame), source.path(frame).read_bytes())
        frames = list(range(whole.first, whole.last + 1))
        kept = {"earlier": earlier.result.absolute(), "again_from": earlier.again_from}
        finish(replace(outcome, frames=frames), result, view, began, kept)


def _kept_range(parsed: argparse.Namespace, earlier: Earlier) -> FrameRange:
    """The range of the whole result. Raises `BadSetting` for a first frame, `MissingFrames` for a gap."""
    if not parsed.frames:
        raise BadSetting(
            "--again-from needs the range of the whole result", "Give it with --frames."
        )
    whole = FrameRange.parse(parsed.frames)
    if not whole.first < earlier.again_from <= whole.last:
        raise BadSetting(
            f"nothing can be tracked again from frame {earlier.again_from} of {whole}",
            f"Name a frame after {whole.first}; from the first one on, track the whole range.",
        )
    there = {*earlier.result.scan()}
    if absent := [n for n in range(whole.first, earlier.again_from) if n not in there]:
        raise MissingFrames(
            f"the earlier result {earlier.result} lacks the frames {compact(absent)}",
            "Track the whole range, without --again-from.",
        )
    return whole


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that a host uses."""
    group = parser.add_argument_group("one file a frame, as hosts want it")
    group.add_argument(
        "--one-file",
        action="store_true",
        help="-o is a sequence: A is removed, R affected, G the quadmask, and a part for each object",
    )
    group.add_argument(
        "--again-from",
        type=int,
        metavar="FRAME",
        help="track again from this frame on, and keep the frames before it",
    )
    group.add_argument("--earlier", metavar="RESULT", help="the result whose frames are kept")
    group.add_argument(
        "--affected",
        default="",
        metavar="MATTE",
        help="existing affected mattes, as those of mask-ask; they stay unchanged",
    )
    add_host_options(group)
    add_priority_option(group)
