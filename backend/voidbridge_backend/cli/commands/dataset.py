"""The command `dataset`: its options, and what they ask for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from voidbridge_backend.client.progress import watched
from voidbridge_backend.client.training.dataset_list import SHEET, check_free
from voidbridge_backend.client.training.show_file import read_show
from voidbridge_backend.config import Config


def add_dataset_options(parser: Any) -> None:
    parser.add_argument("show", type=Path, metavar="SHOW", help="the file of the show")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="default: as SHOW.toml says"
    )
    parser.add_argument("--models", metavar="FOLDER", help="folder of weights")
    parser.add_argument("--devices", metavar="LIST", help="the first encodes; auto")
    parser.add_argument("--config", metavar="FILE", help="settings, TOML")
    parser.add_argument("--json", action="store_true", help="one JSON object a line on stdout")


def make_dataset(parsed: argparse.Namespace, config: Config) -> None:
    """Makes the dataset on this machine."""
    show = read_show(parsed.show)
    folder = parsed.output or show.dataset
    check_free(folder, show.pairs)
    from voidbridge_backend.tools.dataset.build import build

    device = config.devices[0] if config.devices and config.devices[0] != "auto" else "cpu"
    device = "cpu" if device.startswith("cpu:") else device
    with watched(parsed.json) as (view, _):
        pairs = build(show, Path(config.models), folder, device, view.stage)
        held = sum(pair.held for pair in pairs)
        view.event("dataset", folder=str(folder), pairs=len(pairs), held=held)
        view.message(f"{len(pairs)} pairs in {folder}, {held} held out; look at {folder / SHEET}")
