"""The command `train`: its options, and what they ask for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from voidbridge_backend.client.daemon_client import ClientOptions
from voidbridge_backend.client.progress import watched
from voidbridge_backend.client.training.run import train as run_training
from voidbridge_backend.client.training.show_file import read_show


def add_train_options(parser: Any) -> None:
    """Everything but the options of the daemon."""
    parser.add_argument("show", type=Path, metavar="SHOW", help="the file of the show")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="LORA", help="NAME.safetensors"
    )
    parser.add_argument("--dataset", type=Path, metavar="FOLDER", help="default: as SHOW.toml says")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files that Voidbridge did not make"
    )
    parser.add_argument("--force", action="store_true", help="run it even if its result exists")


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
        )
