"""The commands that are no jobs, with parsed arguments: demo, report, doctor, support-bundle, models and others."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from voidbridge_backend.client import outputs
from voidbridge_backend.client.daemon_client import ClientOptions, open_client
from voidbridge_backend.client.job_run import run_job
from voidbridge_backend.client.progress import JsonView, LogView, measuring, watched
from voidbridge_backend.config import Config, Setting, count_cards, devices
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.errors import (
    BadSetting,
    JobCancelled,
    VoidbridgeError,
)

MODEL_ACTIONS = ("list", "fetch", "prepare", "make-tiny")
SAM_ACTIONS = MODEL_ACTIONS[:2]


def demo(client_options: ClientOptions, folder: str, as_json: bool) -> None:
    """Renders the demo shot, removes its object, measures and draws."""
    from voidbridge_backend.tools.demo import demo as demonstration

    with watched(as_json) as (view, cancelled):
        demonstration.show(
            Path(folder),
            view,
            lambda a, r: run_job(a, r, client_options, view, cancelled),
            should_cancel=cancelled.is_set,
        )


def report(
    files: Mapping[str, Sequence],
    chosen: Mapping[str, Any],
    picture: str,
    as_json: bool,
    overwrite: bool = False,
) -> None:
    """Measures a result from its files and prints the numbers on standard output.

    `files` are by the names of `report.Files`. `chosen` are settings that go before those that the result was made
    with. Raises `OverwritesSource` or, without `overwrite`, `OutputExists` before anything is measured.
    """
    from voidbridge_backend.quality.no_reference import FrameFigures
    from voidbridge_backend.tools.report import report

    if "affected" not in files and (affected := report.affected_of(files["result"])):
        files = {**files, "affected": affected}
    target = Path(picture) if picture else None
    if target:
        outputs.check_picture(target, files.values(), overwrite)
    settings = report.settings_of(files["result"], dict(chosen))
    with watched(as_json) as (view, cancelled):

        def on_figures(figures: FrameFigures) -> None:
            view.event("frame-quality", **figures.described())

        on_frame = measuring(view, cancelled)
        verdict = report.review(report.Files(**files), settings, target, on_frame, on_figures)
        view.event("quality", **verdict.described())
    if not as_json:
        print("\n".join(verdict.lines()))


def doctor(client_options: ClientOptions, as_json: bool) -> VoidbridgeError | None:
    """Checks the installation and prints what it finds; returns the error that keeps it from working."""
    from voidbridge_backend.tools.doctor.doctor import examine

    return examine(client_options.config or Config(), lambda: open_client(client_options), as_json)


def describe(files: list[str], ocio: str, as_json: bool) -> None:
    """Prints what each of these sequences is. Raises `RequestError`."""
    from voidbridge_backend.tools.doctor.describe_files import show

    show(files, as_json, ocio)


def support_bundle(
    target: Path,
    settings: list[Setting],
    log: Path | None,
    client_options: ClientOptions,
    as_json: bool,
) -> None:
    """Writes one file for support."""
    from voidbridge_backend.tools.support_bundle import bundle

    config = client_options.config or Config()
    client_options = replace(client_options, address=client_options.address or config.listen)
    bundle.bundle(target, config, settings, log, lambda: open_client(client_options))
    if as_json:
        JsonView().event("bundle", path=str(target))
    else:
        print(target)
        LogView().message("Paths, names and keys were removed. Check the file before you send it.")


def models(action: str, folder: Path | None, config: Config, whole: bool, as_json: bool) -> None:
    """Runs one of `MODEL_ACTIONS` on a models folder of the engine `void`, then shows its content.

    `folder` is optional except for make-tiny, which must not write into the folder of real weights by default.
    """
    if action == "make-tiny" and folder is None:
        raise BadSetting("make-tiny needs a folder", "voidbridge models make-tiny FOLDER")
    try:
        from voidbridge_backend.tools import models as weights
    except ImportError as error:
        raise BadSetting(
            f"voidbridge models needs the packages of the engine void: {error}",
            "Install them where the daemon runs, with: pip install 'voidbridge[backend,void]'",
        ) from error
    where, device = folder or config.models, devices(config, count_cards())[0]
    if action == "make-tiny":
        weights.make_tiny(where)
    elif action == "fetch":
        weights.fetch(where, (JsonView() if as_json else LogView()).message)
    if action != "list":
        weights.prepare(where, device)
    weights.show(where, device, whole=whole, as_json=as_json)


def ltx_models(action: str, folder: Path | None, config: Config, as_json: bool) -> None:
    """The same as `models` for the engine `ltx`, which has nothing to prepare."""
    try:
        from voidbridge_backend.tools import ltx_models as weights
    except ImportError as error:
        raise BadSetting(
            f"voidbridge models needs the packages of the engine ltx: {error}",
            "Install them where the daemon runs, with: pip install 'voidbridge[backend,void]'",
        ) from error
    where = folder or config.models
    if action == "make-tiny":
        if folder is None:
            raise BadSetting("make-tiny needs a folder", "voidbridge models make-tiny FOLDER")
        weights.make_tiny(where)
    elif action == "fetch":
        weights.fetch(where, (JsonView() if as_json else LogView()).message)
    weights.show(where, as_json=as_json)


def sam_models(
    engine: str, action: str, folder: Path | None, config: Config, as_json: bool
) -> None:
    """The same for `sam2` and `sam3`. Raises `BadSetting` for other actions than list and fetch."""
    if action not in SAM_ACTIONS:
        raise BadSetting(
            f"{engine} has nothing to {action}", f"Choose from {', '.join(SAM_ACTIONS)}."
        )
    try:
        from voidbridge_backend.tools import sam_models as weights
    except ImportError as error:
        raise BadSetting(
            f"voidbridge models needs the packages of the engine {engine}: {error}",
            "Install them where the daemon runs, with: pip install 'voidbridge[backend,void]'",
        ) from error
    where = folder or config.models
    if action == "fetch":
        weights.fetch(engine, where, (JsonView() if as_json else LogView()).message)
    weights.show(engine, where, as_json=as_json)


def install(host: str, target: str | None, appdata: str, remove: bool) -> None:
    """Installs the plug-in of a host and prints the next step; or removes it.

    `appdata` is the Windows folder for a user's settings.
    """
    from voidbridge_backend.tools import install as installing

    if host not in installing.HOSTS:
        raise BadSetting(
            f"there is no plug-in for {host!r}", f"There is one for: {', '.join(installing.HOSTS)}"
        )
    plugin = installing.HOSTS[host]
    default = plugin.folder(sys.platform, Path.home(), appdata)
    folder = Path(target).expanduser().absolute() if target else default
    if remove:
        print(f"removed {len(plugin.remove(folder))} files from {folder}")
        return
    print(f"installed {len(plugin.install(folder))} files in {folder}")
    print(f"It starts: {' '.join(installing.command())}")
    print(plugin.next_step(folder))


def archive(folders: list[str], place: str, move: bool, as_json: bool) -> None:
    """Archives versions of a host's results. Raises `NotArchived`, `DiskFull`, `JobCancelled`."""
    from voidbridge_backend.tools import archive as archiving

    with watched(as_json) as (view, cancelled):

        def on_file(done: int, total: int) -> None:
            if cancelled.is_set():
                raise JobCancelled("cancelled while files were archived")
            view.stage("archiving", done, total)

        places = [Path(folder).absolute() for folder in folders]
        for one in archiving.archive(places, Path(place).absolute(), move, on_file):
            view.event("archived", **asdict(one))
            what = "moved" if one.deleted else "copied"
            view.message(f"{what}: {one.files} files, {one.bytes / 1e6:.1f} MB, {one.place}")


def selftest(host: str, target: str | None) -> None:
    """Writes the self-test of a host, and prints the next step."""
    from voidbridge_backend.tools import selftest as writing

    print(writing.write_selftest(host, Path(target).absolute() if target else None))
