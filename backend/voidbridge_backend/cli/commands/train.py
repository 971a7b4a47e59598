"""The command `train`: its options, and what they ask for."""

from __future__ import annotations

import argparse
import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from voidbridge_backend.cli.common_options import add_force_option
from voidbridge_backend.cli.exits import EXIT_DONE, exit_code
from voidbridge_backend.cli.setting_options import add_settings, settings_of
from voidbridge_backend.client.daemon_client import ClientOptions
from voidbridge_backend.client.progress import ProgressView, watched
from voidbridge_backend.client.training.evaluate import evaluate as run_evaluation
from voidbridge_backend.client.training.run import TrainingPlan, planned
from voidbridge_backend.client.training.run import train as run_training
from voidbridge_backend.client.training.show_file import Show, read_show
from voidbridge_backend.config import check_one_process, count_cards, devices, launched
from voidbridge_backend.sequences.found import find
from voidbridge_protocol.errors import BadSetting, RequestError
from voidbridge_protocol.operations.evaluate import EvaluateSettings

COLUMNS = {
    "hole_psnr_db": ("PSNR, dB", ".2f"),
    "hole_ssim": ("SSIM", ".4f"),
    "flicker": ("flicker", ".4f"),
    "seam_energy": ("seam", ".2f"),
}
"""Heading and format of each figure in the table of an evaluation."""


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
    add_force_option(parser)
    parser.add_argument(
        "--evaluate",
        action="store_true",
        help="compare LORA with its base on the held-out pairs, instead of training it",
    )
    add_settings(parser, EvaluateSettings)


def _files(show: Show) -> Iterator[Path]:
    """The files of the show's clips that are there."""
    for text in show.clips():
        with contextlib.suppress(RequestError):  # a training reads the pairs only
            found = find(text)
            yield from [found.path(frame) for frame in found.scan()]


def train(parsed: argparse.Namespace, client_options: ClientOptions) -> int:
    """Runs the training with the settings of [training] in the file, and returns the exit code.

    Raises `BadSetting`, `BadPair`.
    """
    if parsed.evaluate:
        _evaluate(parsed, client_options)
        return EXIT_DONE
    show = read_show(parsed.show)
    dataset = parsed.dataset or show.dataset
    plan = planned(
        dataset,
        show.settings,
        parsed.output,
        overwrite=parsed.overwrite,
        force=parsed.force,
        sources=[parsed.show, *_files(show)],
    )
    with watched(parsed.json) as (view, cancelled):
        if launched(os.environ)[1] > 1:
            return _launched(plan, dataset, client_options, view, cancelled)
        run_training(dataset, plan, client_options, view, cancelled)
    return EXIT_DONE


def _launched(
    plan: TrainingPlan,
    dataset: Path,
    client_options: ClientOptions,
    view: ProgressView,
    cancelled: threading.Event,
) -> int:
    """Trains in the processes of a launcher. Only the first one raises an error, which prints it."""
    from voidbridge_backend.tools import launched_training

    config = client_options.config
    if config is None or not client_options.is_local:
        raise BadSetting(
            f"the processes of a launcher train without a daemon, not with {client_options.address}",
            "Leave out --daemon and VOIDBRIDGE_DAEMON, or start the command without a launcher.",
        )
    kind = devices(config, count_cards())[0].partition(":")[0]
    error = launched_training.train(plan, dataset, Path(config.models), kind, view, cancelled)
    return exit_code(error) if error else EXIT_DONE


def _evaluate(parsed: argparse.Namespace, client_options: ClientOptions) -> None:
    check_one_process(os.environ, "an evaluation")
    show = read_show(parsed.show)
    settings = replace(
        settings_of(parsed, EvaluateSettings),
        engine=show.settings.engine,
        show=show.name,
        pass_number=show.settings.pass_number,
    )
    with watched(parsed.json) as (view, cancelled):
        rows = run_evaluation(
            parsed.dataset or show.dataset,
            settings,
            parsed.output,
            client_options,
            view,
            cancelled,
            overwrite=parsed.overwrite,
            force=parsed.force,
            sources=[parsed.show, *_files(show)],
        )
    if not parsed.json:
        Console().print(_table(rows))


def _table(rows: list[dict[str, Any]]) -> Table:
    """The figures of an evaluation, means over the held-out pairs."""
    table = Table(title="held-out pairs, in the hole")
    table.add_column("strength")
    for heading, _ in COLUMNS.values():
        table.add_column(heading, justify="right")
    for row in rows:
        values = [(row[key], form) for key, (_, form) in COLUMNS.items()]
        table.add_row(row["name"], *("-" if v is None else format(v, form) for v, form in values))
    return table
