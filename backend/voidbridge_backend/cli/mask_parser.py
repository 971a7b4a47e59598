"""The options of the command `mask`, and of `run` where it makes its matte from prompts."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import threading
from pathlib import Path
from typing import Any

from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.mask import MaskSettings

from . import options
from .commands import ClientOptions, Prepare
from .mask import MaskOptions, track
from .progress import ProgressView
from .prompts import TypedPrompts
from .submission import Submission

EPILOG = """\
PLATE is a sequence of files. FOLDER gets quadmask.####.exr and OBJECT.####.exr (OBJECT is "object" unless named).
Pixels count from the top left corner of the plate's display window; right and bottom of a box are excluded.
One click is seldom enough: give a box, or several clicks on and beside the object, and look at the result.

example: voidbridge mask plate.####.exr -o mattes/ --point 1001:640,360 --not 1001:900,200 --point 1050:700,380"""


def add_prompt_options(parser: Any) -> None:
    """--point, --not, --box, --key and --role, each any number of times."""
    prompts = parser.add_argument_group("the prompts")
    for name, metavar, text in (
        ("--point", "FRAME:X,Y[:OBJECT]", "a click on the object"),
        ("--not", "FRAME:X,Y[:OBJECT]", "a click beside the object, on a frame that has a prompt"),
        ("--box", "FRAME:X0,Y0,X1,Y1[:OBJECT]", "a rectangle around the object"),
        ("--key", "FRAME=MATTE[:OBJECT]", "a painted or roto matte of one frame, OpenEXR"),
        ("--role", "OBJECT=ROLE", "primary (default), belonging, affected"),
    ):
        prompts.add_argument(name, action="append", metavar=metavar, help=text)


def typed_prompts(parsed: argparse.Namespace) -> TypedPrompts:
    typed = (parsed.point, getattr(parsed, "not"), parsed.box, parsed.key, parsed.role)
    return TypedPrompts(*(words or () for words in typed))


def removal(parsed: argparse.Namespace, client: ClientOptions) -> Prepare:
    """The job of `run`: with the typed matte, or with one that is tracked first. Raises `BadSetting`."""
    prompts = typed_prompts(parsed)

    def prepare(
        view: ProgressView, cancelled: threading.Event, stack: contextlib.ExitStack
    ) -> Submission:
        if not parsed.matte or not prompts.is_empty:
            return _tracked(parsed, prompts, client, view, cancelled, stack)
        return options.removal(parsed)

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
    if parsed.matte:
        raise BadSetting(
            "a matte and prompts are given", "Give one of them; --key takes a matte of one frame."
        )
    if prompts.is_empty:
        raise BadSetting(
            "neither a matte nor a prompt says what to remove",
            "Name a MATTE, or click on the object with --point FRAME:X,Y.",
        )
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voidbridge-masks-")))

    def settings(objects: str) -> MaskSettings:
        return MaskSettings(objects=objects, color_space=parsed.color_space, layer=parsed.layer)

    wanted = MaskOptions(parsed.plate, folder, prompts, settings)
    quadmask, *_ = track(wanted, client, view, cancelled)
    return options.removal(argparse.Namespace(**{**vars(parsed), "matte": str(quadmask)}))


def add_mask_options(parser: Any) -> None:
    default = MaskSettings()
    parser.add_argument("plate", metavar="PLATE", help="the plate")
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="FOLDER", help="gets the mattes"
    )
    add_prompt_options(parser)
    shot = parser.add_argument_group("the shot")
    shot.add_argument("--frames", metavar="1001-1100", help="default: every frame of the plate")
    shot.add_argument("--color-space", default="", metavar="NAME", help="color space of the plate")
    shot.add_argument("--layer", default="", metavar="NAME", help="layer of the plate to look at")
    parser.add_argument(
        "--engine", default=default.engine, metavar="NAME", help="flow (default) needs no weights"
    )
    parser.add_argument("--force", action="store_true", help="run it although its result is there")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files that are no results of this tool"
    )


def mask_options(parsed: argparse.Namespace) -> MaskOptions:
    def settings(objects: str) -> MaskSettings:
        return MaskSettings(parsed.engine, objects, parsed.color_space, parsed.layer)

    return MaskOptions(
        parsed.plate, parsed.output, typed_prompts(parsed), settings, parsed.frames, parsed.force
    )
