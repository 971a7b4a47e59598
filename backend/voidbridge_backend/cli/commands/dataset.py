"""The command `dataset`: its options, and what they ask for."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from threading import Event
from typing import Any

from voidbridge_backend.cli.common_options import add_endpoint_options, add_json_option
from voidbridge_backend.client import outputs
from voidbridge_backend.client.progress import watched
from voidbridge_backend.client.training.dataset_list import SHEET, check_free
from voidbridge_backend.client.training.show_file import Show, read_show
from voidbridge_backend.config import Config
from voidbridge_backend.sequences.found import find
from voidbridge_protocol.errors import BadSetting, JobCancelled


def add_dataset_options(parser: Any) -> None:
    parser.add_argument("show", type=Path, metavar="SHOW", help="the file of the show")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="default: as SHOW.toml says"
    )
    parser.add_argument("--models", metavar="FOLDER", help="folder of weights")
    parser.add_argument(
        "--devices", metavar="LIST", help="the first of these encodes (default auto)"
    )
    parser.add_argument("--config", metavar="FILE", help="settings, TOML")
    parser.add_argument(
        "--captions",
        type=Path,
        metavar="FOLDER",
        help="folder for what a language model would see of clips without a prompt; --send sends it",
    )
    add_endpoint_options(parser)
    add_json_option(parser)


def make_dataset(parsed: argparse.Namespace, config: Config) -> None:
    """Makes the dataset on this machine."""
    show = read_show(parsed.show)
    folder = parsed.output or show.dataset
    check_free(folder, show.pairs)
    models = Path(config.models)
    if parsed.send and parsed.captions is None:
        raise BadSetting("--send without --captions", "Name a folder: --captions FOLDER --send")
    from voidbridge_backend.tools.dataset.build import build

    device = config.devices[0] if config.devices and config.devices[0] != "auto" else "cpu"
    device = "cpu" if device.startswith("cpu:") else device
    with watched(parsed.json) as (view, cancelled):
        if parsed.captions is not None:
            show = _captioned(parsed, show, models, view, cancelled)
            if not parsed.send:
                return
        pairs = build(show, models, folder, device, view.stage)
        held = sum(pair.held for pair in pairs)
        view.event("dataset", folder=str(folder), pairs=len(pairs), held=held)
        view.message(f"{len(pairs)} pairs in {folder}, {held} held out; look at {folder / SHEET}")


def _captioned(
    parsed: argparse.Namespace, show: Show, models: Path, view: Any, cancelled: Event
) -> Show:
    """Saves the questions, and asks them with `--send`. Raises `NoEndpoint`, `EndpointFailed`, `BadAnswer`."""
    from voidbridge_backend.tools.ask import ask as asking
    from voidbridge_backend.tools.ask.endpoint import Endpoint
    from voidbridge_backend.tools.dataset import captions

    def heartbeat() -> None:
        if cancelled.is_set():
            raise JobCancelled("stopped")

    endpoint = None
    if parsed.send:
        key_file, wait = parsed.key_file, parsed.timeout
        endpoint = Endpoint.chosen(parsed.endpoint, parsed.model, key_file, wait, os.environ)
    folder: Path = parsed.captions
    asked = captions.questions(show, models, heartbeat)
    names = captions.file_names(asked, parsed.send)
    sources = [found.path(frame) for found in map(find, show.clips()) for frame in found.scan()]
    outputs.check_files(
        [
            *((folder / name, asking.is_written) for name in names),
            (folder / asking.WRITTEN, outputs.is_sidecar),
        ],
        sources,
        overwrite=False,
        hint="Choose another folder with --captions.",
    )
    folder.mkdir(parents=True, exist_ok=True)
    saved = captions.save(asked, folder)
    view.event("question", paths=[str(path) for path in saved], sent=endpoint is not None)
    if endpoint is None:
        view.message(f"{len(asked)} clips without prompt in {folder}; nothing was sent or made")
        return show
    view.message(f"sending pictures of {len(asked)} clips to {endpoint.url}")
    return captions.captioned(show, asked, endpoint, folder, heartbeat)
