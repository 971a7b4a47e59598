"""The command `mask`: prompts and a plate become mattes and a quadmask in a folder.

`run` uses it too, if it makes its matte from prompts.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voidbridge_backend.cli.commands import mask_combine
from voidbridge_backend.cli.common_options import (
    add_frames_option,
    add_overwrite_option,
    add_plate_start,
)
from voidbridge_backend.cli.options import plate_of
from voidbridge_backend.cli.options import removal as removal_of
from voidbridge_backend.cli.prompts import TypedPrompts, objects_of
from voidbridge_backend.cli.prompts_file import joined, read_prompts
from voidbridge_backend.client import outputs
from voidbridge_backend.client.daemon_client import ClientOptions
from voidbridge_backend.client.job_run import PrepareSubmission, run_job
from voidbridge_backend.client.progress import ProgressView, watched
from voidbridge_backend.client.submission import Submission, sidecar
from voidbridge_backend.exr.multi_part import split
from voidbridge_backend.sequences.patterns import FrameRange, Sequence, compact, frames_for
from voidbridge_backend.temporary_folders import temporary_folder
from voidbridge_protocol.errors import BadPattern, BadSetting
from voidbridge_protocol.operations.mask import (
    NOUN_ENGINE,
    ORIGINS,
    MaskObject,
    MaskSettings,
    key_role,
    written,
)
from voidbridge_protocol.transfer.atomic_files import write_whole

QUADMASK = "quadmask"
EPILOG = """\
PLATE is a sequence of files, a folder with one, or a clip.
FOLDER gets quadmask.####.exr and OBJECT.####.exr (OBJECT is "object" unless named).
Pixels count from the top left corner of the plate's display window; right and bottom of a box are excluded.
One click is seldom enough: give a box, or several clicks on and beside the object, and look at the result.

example: voidbridge mask plate.####.exr -o mattes/ --point 1001:640,360 --not 1001:900,200 --point 1050:700,380"""


@dataclass(frozen=True)
class MaskOptions:
    """The typed words of the command."""

    plate: Sequence
    folder: Path
    prompts: TypedPrompts
    settings: Callable[[str], MaskSettings]
    """Makes the settings from the JSON text of the objects."""
    frames: str | None = None
    force: bool = False
    png: bool = False
    combine: tuple[str, ...] = ()


def mask(options: MaskOptions, client: ClientOptions, as_json: bool, overwrite: bool) -> None:
    """Tracks the objects and writes NAME.####.exr for each of them, and quadmask.####.exr.

    Raises `OutputExists`, `BadSetting`, `BadPattern` before anything is sent.
    """
    with watched(as_json) as (view, cancelled):
        if options.combine:
            targets = [_combined(options, view, cancelled, overwrite)]
        else:
            targets = track(options, client, view, cancelled, overwrite)
        view.event("mattes", paths=[str(target) for target in targets])
        view.message(f"mattes: {', '.join(str(target) for target in targets)}")


def track(
    options: MaskOptions,
    client: ClientOptions,
    view: ProgressView,
    cancelled: threading.Event,
    overwrite: bool = False,
) -> list[Sequence]:
    """The sequences that were written, the quadmask first."""
    plate = options.plate
    objects = objects_of(options.prompts)
    settings = options.settings(written([found for found, _ in objects]))
    _check_frames(plate, options.frames, [found for found, _ in objects])
    names = [*(found.name for found in settings.masked()), *settings.rules]
    folder = options.folder
    if folder.exists() and not folder.is_dir():
        raise BadPattern(
            f"{folder} is not a folder", "Mattes of several objects are written; name a folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    width = 4 if plate.single is not None or plate.clip else plate.width
    targets = [Sequence(folder, f"{name}.", ".exr", width) for name in (QUADMASK, *names)]
    with tempfile.TemporaryDirectory(prefix=".voidbridge-", dir=folder) as temporary:
        files = {"plate": plate, **_keys([keys for _, keys in objects], Path(temporary))}
        submission = Submission(
            files,
            settings,
            FrameRange.parse(options.frames) if options.frames else None,
            operation="mask",
            force=options.force,
        )
        for target in targets:
            outputs.check_run(submission, target, overwrite)
        wanted = frames_for(plate, submission.frames)
        sources = [found.path(frame) for found in files.values() for frame in found.scan()]
        record = sidecar(
            Sequence(folder, "mask.", ".exr", width), FrameRange(wanted[0], wanted[-1])
        )
        outputs.check_files([(record, outputs.is_sidecar)], sources, overwrite)
        if options.png:
            mask_combine.check_pngs(targets, wanted, sources, overwrite)
        packed = Sequence(Path(temporary), "mask.", ".exr", width)
        outcome = run_job(submission, packed, client, view, cancelled, announce=False)
        frames = FrameRange(outcome.frames[0], outcome.frames[-1])
        for frame in outcome.frames:
            _unpack(packed.path(frame), frame, targets, options.png)
        write_whole(record, sidecar(packed, frames).read_bytes())
    return targets


def _check_frames(plate: Sequence, range_: str | None, objects: Iterable[MaskObject]) -> None:
    """Raises `BadSetting` for a prompt on a frame that is not tracked, and `RequestError` as `frames_for`."""
    frames = frames_for(plate, FrameRange.parse(range_) if range_ else None)
    for found in objects:
        clicked = {point.frame for point in found.points} | {*found.frames}
        if absent := sorted(clicked - {*frames}):
            raise BadSetting(
                f"a prompt of {found.name} is on frame {absent[0]}; the plate's frames are {compact(frames)}",
                "Give prompts on these frames, by their own numbers.",
            )


def _keys(keys: Iterable[dict[int, Path]], temporary: Path) -> dict[str, Sequence]:
    """Copies key mattes under the numbers of their frames. Raises `BadPattern` for one that is not there."""
    found = {}
    for index, files in enumerate(keys):
        for frame, path in files.items():
            target = Sequence(temporary, f"{key_role(index)}.", ".exr", 4)
            try:
                shutil.copyfile(path, target.path(frame))
            except (OSError, ValueError) as error:  # a name may hold what no file's name can
                reason = getattr(error, "strerror", None) or error
                raise BadPattern(
                    f"the key matte of frame {frame}, {path}, cannot be read: {reason}",
                    "Give the file's path after the equals sign of --key.",
                ) from error
            found[key_role(index)] = target
    return found


def _unpack(packed: Path, frame: int, targets: Iterable[Sequence], png: bool) -> None:
    by_name = {target.prefix.removesuffix("."): target for target in targets}
    for name, data in split(packed.read_bytes(), packed.name):
        mask_combine.write(by_name[name], frame, data, png)


def _combined(
    options: MaskOptions, view: ProgressView, cancelled: threading.Event, overwrite: bool
) -> Sequence:
    """The quadmask of mattes that are there. No daemon is asked. Raises as `mask_combine.combine`."""
    if not options.prompts.is_empty:
        raise BadSetting(
            "--combine and prompts are given",
            "--combine takes mattes that are there; track new objects in a run of their own.",
        )
    plate = options.plate
    frames = frames_for(plate, FrameRange.parse(options.frames) if options.frames else None)
    width = 4 if plate.single is not None or plate.clip else plate.width
    target = Sequence(options.folder, f"{QUADMASK}.", ".exr", width)
    layers = mask_combine.layers_of(options.combine, plate, frames)
    places = mask_combine.Places(target, options.png, overwrite)
    mask_combine.combine(plate, layers, frames, places, view, cancelled)
    return target


def add_prompt_options(parser: Any) -> None:
    """--point, --not, --box, --key, --noun and --role, each any number of times, and a file of them."""
    prompts = parser.add_argument_group("the prompts")
    for name, metavar, text in (
        (
            "--point",
            "FRAME:X,Y[:OBJECT]",
            "a click on the object, in pixels from the top left corner",
        ),
        ("--not", "FRAME:X,Y[:OBJECT]", "a click beside the object, on a frame that has a prompt"),
        (
            "--box",
            "FRAME:X0,Y0,X1,Y1[:OBJECT]",
            "a rectangle around the object, in the same pixels",
        ),
        ("--key", "FRAME=MATTE[:OBJECT]", "a painted or roto matte of one frame, OpenEXR"),
        ("--noun", "TEXT[:OBJECT]", "a noun in place of clicks, as 'the man'; for sam3"),
        ("--role", "OBJECT=ROLE", "primary (default), belonging, affected"),
    ):
        prompts.add_argument(name, action="append", metavar=metavar, help=text)
    prompts.add_argument(
        "--find",
        default="",
        metavar="RULES",
        help="affected areas to find by rules, separated by commas: shadow, reflection, contact",
    )
    prompts.add_argument(
        "--origin",
        choices=ORIGINS,
        default=ORIGINS[0],
        help="corner that pixels count from (default top-left); percent: of width and height",
    )
    prompts.add_argument(
        "--prompts", type=Path, metavar="FILE", help="a JSON file with more prompts"
    )


def typed_prompts(parsed: argparse.Namespace) -> TypedPrompts:
    typed = (
        *(parsed.point, getattr(parsed, "not"), parsed.box),
        *(parsed.key, parsed.role, parsed.noun),
    )
    prompts = TypedPrompts(*(words or () for words in typed))
    return joined(read_prompts(parsed.prompts), prompts) if parsed.prompts else prompts


def removal(parsed: argparse.Namespace, client: ClientOptions) -> PrepareSubmission:
    """The job of `run`: with the typed matte, or with one that is tracked first. Raises `BadSetting`."""
    prompts = typed_prompts(parsed)

    def prepare(
        view: ProgressView, cancelled: threading.Event, stack: contextlib.ExitStack
    ) -> Submission:
        if not parsed.matte or not prompts.is_empty or parsed.find:
            return _tracked(parsed, prompts, client, view, cancelled, stack)
        return removal_of(parsed)

    return prepare


def _tracked(
    parsed: argparse.Namespace,
    prompts: TypedPrompts,
    client: ClientOptions,
    view: ProgressView,
    cancelled: threading.Event,
    stack: contextlib.ExitStack,
) -> Submission:
    """Tracks the whole plate, so that handles have a matte too; the mattes go when the job has ended."""
    if parsed.matte and prompts.is_empty:
        raise BadSetting(
            "--find looks around objects with prompts, and a matte is given",
            "Track with `voidbridge mask --find`, or give a prompt such as --key in place of the matte.",
        )
    if parsed.matte:
        raise BadSetting(
            "a matte and prompts are given", "Give one of them; --key takes a matte of one frame."
        )
    if prompts.is_empty:
        raise BadSetting(
            "neither a matte nor a prompt says what to remove",
            "Name a MATTE, or click on the object with --point FRAME:X,Y.",
        )
    folder = stack.enter_context(temporary_folder("masks"))

    def settings(objects: str) -> MaskSettings:
        return MaskSettings(
            NOUN_ENGINE if prompts.nouns else MaskSettings().engine,
            objects,
            color_space=parsed.color_space,
            layer=parsed.layer,
            find=parsed.find,
            origin=parsed.origin,
        )

    wanted = MaskOptions(plate_of(parsed), folder, prompts, settings)
    quadmask, *_ = track(wanted, client, view, cancelled)
    made = {"matte": str(quadmask), "matte_kind": "quadmask"}
    return removal_of(argparse.Namespace(**{**vars(parsed), **made}))


def add_mask_options(parser: Any) -> None:
    default = MaskSettings()
    parser.add_argument("plate", metavar="PLATE", help="the plate")
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="FOLDER", help="folder for the mattes"
    )
    add_prompt_options(parser)
    shot = parser.add_argument_group("the shot")
    add_frames_option(shot)
    add_plate_start(shot)
    shot.add_argument("--color-space", default="", metavar="NAME", help="color space of the plate")
    shot.add_argument("--layer", default="", metavar="NAME", help="layer of the plate to look at")
    parser.add_argument(
        "--engine",
        default=default.engine,
        metavar="NAME",
        help="the engine that tracks; flow (default) needs no weights",
    )
    parser.add_argument(
        "--combine",
        action="append",
        metavar="ROLE=MATTE",
        help="combine existing mattes by role into quadmask.####.exr, and track nothing; repeatable",
    )
    parser.add_argument(
        "--png", action="store_true", help="write 8-bit PNG files beside the OpenEXR files"
    )
    parser.add_argument(
        "--force", action="store_true", help="track again even if the daemon has the mattes"
    )
    add_overwrite_option(parser)


def mask_options(parsed: argparse.Namespace) -> MaskOptions:
    def settings(objects: str) -> MaskSettings:
        return MaskSettings(
            parsed.engine,
            objects,
            parsed.color_space,
            parsed.layer,
            find=parsed.find,
            origin=parsed.origin,
        )

    return MaskOptions(
        plate_of(parsed),
        parsed.output,
        typed_prompts(parsed),
        settings,
        parsed.frames,
        parsed.force,
        parsed.png,
        tuple(parsed.combine or ()),
    )
