"""The command `mask`: prompts and a plate become mattes and a quadmask in a folder."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from voidbridge_backend.exr.multi_part import split
from voidbridge_backend.sequences.patterns import FrameRange, Sequence
from voidbridge_protocol.atomic_files import write_whole
from voidbridge_protocol.errors import BadPattern
from voidbridge_protocol.operations.mask import MaskSettings, key_role, written

from . import commands, outputs
from .commands import ClientOptions
from .progress import ProgressView
from .prompts import TypedPrompts, objects_of
from .submission import Submission, sidecar

QUADMASK = "quadmask"


@dataclass(frozen=True)
class MaskOptions:
    """The typed words of the command."""

    plate: str
    folder: Path
    prompts: TypedPrompts
    settings: Callable[[str], MaskSettings]
    """Makes the settings from the JSON text of the objects."""
    frames: str | None = None
    force: bool = False


def mask(options: MaskOptions, client: ClientOptions, as_json: bool, overwrite: bool) -> None:
    """Tracks the objects and writes NAME.####.exr for each of them, and quadmask.####.exr.

    Raises `OutputExists`, `BadSetting`, `BadPattern` before anything is sent.
    """
    with commands.watched(as_json) as (view, cancelled):
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
    plate = Sequence.parse(options.plate)
    objects = objects_of(options.prompts)
    settings = options.settings(written([found for found, _ in objects]))
    names = [found.name for found in settings.masked()]
    folder = options.folder
    if folder.exists() and not folder.is_dir():
        raise BadPattern(
            f"{folder} is no folder", "Mattes of several objects are written; name a folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    width = plate.width if plate.single is None else 4
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
        packed = Sequence(Path(temporary), "mask.", ".exr", width)
        outcome = commands.remove(submission, packed, client, view, cancelled, announce=False)
        frames = FrameRange(outcome.frames[0], outcome.frames[-1])
        for frame in outcome.frames:
            _unpack(packed.path(frame), frame, targets)
        record = sidecar(Sequence(folder, "mask.", ".exr", width), frames)
        write_whole(record, sidecar(packed, frames).read_bytes())
    return targets


def _keys(keys: Iterable[dict[int, Path]], temporary: Path) -> dict[str, Sequence]:
    """Copies key mattes under the numbers of their frames. Raises `BadPattern` for one that is not there."""
    found = {}
    for index, files in enumerate(keys):
        for frame, path in files.items():
            target = Sequence(temporary, f"{key_role(index)}.", ".exr", 4)
            try:
                shutil.copyfile(path, target.path(frame))
            except OSError as error:
                raise BadPattern(
                    f"the key matte of frame {frame}, {path}, cannot be read: {error.strerror}",
                    "Give the file's path after the equals sign of --key.",
                ) from error
            found[key_role(index)] = target
    return found


def _unpack(packed: Path, frame: int, targets: Iterable[Sequence]) -> None:
    by_name = {target.prefix.removesuffix("."): target for target in targets}
    for name, data in split(packed.read_bytes(), packed.name):
        write_whole(by_name[name].path(frame), data)
