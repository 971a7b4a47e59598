"""The command `train`: its options, and what they ask for."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from voidbridge_backend.client.daemon_client import ClientOptions
from voidbridge_backend.client.progress import watched
from voidbridge_backend.client.training.run import train as run_training
from voidbridge_backend.client.training.show_file import Show, read_show
from voidbridge_backend.sequences.found import find
from voidbridge_protocol.errors import RequestError


def add_train_options(parser: Any) -> None:
    """Everything but the options of the daemon."""
    parser.add_argument("show", type=Path, metavar="SHOW", help="the file of the show")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="LORA", help="NAME.safetensors"
    )
    parser.add_argument("--dataset", type=Path, metavar="FOLDER", help="default: as SHOW.toml says")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace files that this training did not make, an earlier LoRA too",
    )
    parser.add_argument("--force", action="store_true", help="run it even if its result exists")


def _files(show: Show) -> Iterator[Path]:
    """The files of the show's clips that are there."""
    for text in show.clips():
        with contextlib.suppress(RequestError):  # a training reads the pairs only
            found = find(text)
            yield from [found.path(frame) for frame in found.scan()]


def train(parsed: argparse.Namespace, client_options: ClientOptions) -> None:
    """Runs the training with the settings of [training] in the file. Raises `BadSetting`, `BadPair`."""
    show = read_show(parsed.show)
    with watched(parsed.json) as (view, cancelled):
        run_training(
            parsed.dataset or show.dataset,
            show.settings,
            parsed.output,
            client_options,
            view,
            cancelled,
            overwrite=parsed.overwrite,
            force=parsed.force,
            sources=[parsed.show, *_files(show)],
        )
