"""The command `mask-ask`: asks a vision language model which areas an object affects. Sends only with --send."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from voidbridge_backend.cli.common_options import (
    add_endpoint_options,
    add_frames_option,
    add_json_option,
    add_overwrite_option,
    add_plate_start,
)
from voidbridge_backend.cli.options import beside, plate_of
from voidbridge_backend.client import outputs
from voidbridge_backend.client.progress import watched
from voidbridge_backend.exr.seal import is_sealed
from voidbridge_backend.sequences.found import find
from voidbridge_backend.sequences.patterns import FrameRange, Sequence, frames_for
from voidbridge_protocol.errors import BadSetting, JobCancelled
from voidbridge_protocol.transfer.atomic_files import write_whole

MOST_PICTURES = 30
EPILOG = """\
Without --send nothing leaves this machine: FOLDER gets the exact pictures and the request, to be looked at first.
The key of a hosted model comes from VOIDBRIDGE_ASK_KEY or --key-file, never from a command line or a job.

example: voidbridge mask-ask plate.####.exr mattes/man.####.exr -o asked/ --endpoint http://127.0.0.1:11434/v1 \
--model qwen3-vl --send"""


def ask(parsed: argparse.Namespace) -> None:
    """Raises `NoEndpoint`, `EndpointFailed`, `BadAnswer`, and what files and places raise."""
    from voidbridge_backend.tools.ask import ask as asking
    from voidbridge_backend.tools.ask.endpoint import Endpoint
    from voidbridge_backend.tools.ask.pictures import Drawer

    endpoint = None
    if parsed.send:
        key_file, wait = parsed.key_file, parsed.timeout
        endpoint = Endpoint.chosen(parsed.endpoint, parsed.model, key_file, wait, os.environ)
    if not 1 <= parsed.pictures <= MOST_PICTURES:
        raise BadSetting(f"{parsed.pictures} pictures; from 1 to {MOST_PICTURES} are sent")
    plate = plate_of(parsed)
    matte = beside(find(parsed.matte), plate, None)
    frames = frames_for(plate, FrameRange.parse(parsed.frames) if parsed.frames else None)
    folder: Path = parsed.output
    width = 4 if plate.single is not None or plate.clip else plate.width
    target = Sequence(folder, "affected.", ".exr", width)
    names = [*asking.picture_names(1 + parsed.pictures), asking.REQUEST]
    names += [asking.ANSWER, asking.PROMPTS, asking.SCENE] if endpoint else []
    outputs.check_files(
        [
            *((target.path(frame), is_sealed) for frame in frames if endpoint),
            *((folder / name, asking.is_written) for name in names),
            (folder / asking.WRITTEN, outputs.is_sidecar),
        ],
        [files.path(frame) for files in (plate, matte) for frame in files.scan()],
        parsed.overwrite,
    )
    folder.mkdir(parents=True, exist_ok=True)
    with watched(parsed.json) as (view, cancelled):

        def heartbeat() -> None:
            if cancelled.is_set():
                raise JobCancelled("stopped")

        drawer = Drawer(plate, matte, parsed.color_space)
        question = asking.prepared(drawer, frames, parsed.instruction, parsed.pictures, heartbeat)
        digest = _checked(question.digest, parsed.if_seen)
        saved = [str(path) for path in question.save(folder)]
        view.event("question", paths=saved, digest=digest, sent=endpoint is not None)
        if endpoint is None:
            view.message(f"{len(question.pictures)} pictures in {folder}; nothing was sent")
            view.message(f"to send exactly these: --send --if-seen={digest}")
            return
        view.message(f"sending {len(question.pictures)} pictures to {endpoint.url}")
        answer = asking.answered(question, endpoint)
        heartbeat()
        asking.write(answer, question, folder)
        for frame, data in asking.mattes(answer, question, frames, endpoint.model):
            heartbeat()
            write_whole(target.path(frame), data)
        for correction in answer.corrections:
            view.message(f"corrected: {correction}")
        view.event("answer", path=str(folder / asking.ANSWER), confidence=answer.confidence)
        view.message(f"affected areas: {target}; the answer: {folder / asking.ANSWER}")


def _checked(digest: str, seen: str | None) -> str:
    """The same digest. Raises `BadSetting` if --if-seen names another one."""
    if seen not in (None, digest):
        raise BadSetting(
            "the pictures and the request are not those of --if-seen; nothing is sent",
            "Run it without --send, look at the pictures, and send with the digest that it prints.",
        )
    return digest


def add_ask_options(parser: Any) -> None:
    parser.add_argument("plate", metavar="PLATE", help="the plate")
    parser.add_argument("matte", metavar="MATTE", help="the object's matte, as mask writes it")
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="FOLDER", help="folder for the files"
    )
    add_endpoint_options(parser)
    parser.add_argument(
        "--if-seen",
        metavar="DIGEST",
        help="send only the pictures and the request with this digest, as a run without --send prints it",
    )
    parser.add_argument(
        "--instruction",
        default="",
        metavar="TEXT",
        help="a remark, as: remove the man with the dog",
    )
    parser.add_argument(
        "--pictures",
        type=int,
        default=10,
        metavar="N",
        help="frames to send beside the first with the object in red (default 10)",
    )
    add_frames_option(parser)
    add_plate_start(parser)
    parser.add_argument("--color-space", default="", metavar="NAME", help="the plate's color space")
    add_json_option(parser)
    add_overwrite_option(parser)
