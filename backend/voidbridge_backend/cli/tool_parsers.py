"""The parsers of the commands beside jobs, such as web, demo, report, doctor, models, keys and install."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from voidbridge_backend.client.progress import show_error
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.remove import RemoveSettings

from . import keys, options
from .commands import ask, dataset, key, tools, web
from .common_options import (
    add_command,
    add_config_options,
    add_daemon_options,
    add_matte_start,
    add_overwrite_option,
    add_plate_start,
)
from .exits import EXIT_DONE, exit_code
from .setting_options import add_settings


def add_tool_commands(found: Any) -> None:
    """Adds the commands in the order of `voidbridge --help`."""
    _web_command(found)
    _demo_command(found)
    _ask_command(found)
    _report_command(found)
    _doctor_command(found)
    _bundle_command(found)
    _scrub_command(found)
    _models_command(found)
    _dataset_command(found)
    _keys_command(found)
    _install_command(found)
    _selftest_command(found)
    _config_command(found)


def _web_command(found: Any) -> None:
    made = add_command(
        found,
        "web",
        "serve a page for the browser: queue, jobs, player, clicks, new jobs",
        lambda o: web.web(o, options.client(o), options.config(o)[0].ocio),
    )
    web.add_web_options(made)
    add_daemon_options(made)


def _demo_command(found: Any) -> None:
    demo = add_command(
        found,
        "demo",
        "render a small shot with known truth, remove its object, report and draw a picture",
        lambda o: tools.demo(options.client(o), o.folder, o.json),
    )
    demo.add_argument("folder", nargs="?", default="demo", metavar="FOLDER", help="default: demo")
    add_daemon_options(demo, local=True)


def _ask_command(found: Any) -> None:
    made = add_command(
        found,
        "mask-ask",
        "ask a vision language model which areas an object affects; sends only with --send",
        ask.ask,
        epilog=ask.EPILOG,
    )
    ask.add_ask_options(made)


def _report_command(found: Any) -> None:
    report = add_command(
        found,
        "report",
        "measure a result around its hole, and against a truth, from its files",
        lambda o: tools.report(
            options.report_files(o), options.report_settings(o), o.output or "", o.json, o.overwrite
        ),
    )
    report.add_argument("result", metavar="RESULT", help="the result; all its frames are measured")
    report.add_argument("plate", metavar="PLATE", help="the plate that it was made from")
    report.add_argument("matte", metavar="MATTE", help="the matte that it was made with")
    report.add_argument("--affected", metavar="MATTE", help="matte of the object's effects")
    report.add_argument("--truth", metavar="TRUTH", help="the plate without the object, if known")
    report.add_argument("-o", "--output", metavar="PICTURE", help="PNG with sample frames")
    add_overwrite_option(report)
    add_plate_start(report)
    add_matte_start(report)
    add_settings(report, RemoveSettings, only=options.OF_THE_HOLE)
    report.add_argument("--json", action="store_true", help="one JSON object a line on stdout")


def _doctor_command(found: Any) -> None:
    doctor = add_command(
        found,
        "doctor",
        "check the installation, with a tiny round trip",
        _doctor,
    )
    doctor.add_argument(
        "files", nargs="*", metavar="FILE", help="tell what these sequences are, and check nothing"
    )
    add_daemon_options(doctor, local=True)


def _doctor(parsed: argparse.Namespace) -> int:
    """Its lines have told people of the error already; programs get the event that ends every failure."""
    if parsed.files:
        tools.describe(parsed.files, options.config(parsed)[0].ocio, parsed.json)
        return EXIT_DONE
    error = tools.doctor(options.client(parsed), parsed.json)
    if error is None:
        return EXIT_DONE
    if parsed.json:
        show_error(True, error, exit_code(error))
    return exit_code(error)


def _bundle_command(found: Any) -> None:
    bundle = add_command(
        found,
        "support-bundle",
        "write versions, settings, health, jobs and log into one file, without names and paths",
        lambda o: tools.support_bundle(
            Path(o.output), options.config(o)[1], o.log, options.client(o), o.json
        ),
    )
    bundle.add_argument(
        "-o", "--output", default="voidbridge-support.zip", metavar="FILE", help="the file"
    )
    bundle.add_argument("--log", type=Path, metavar="FILE", help="default: the service's journal")
    add_daemon_options(bundle, local=True)


def _scrub_command(found: Any) -> None:
    made = add_command(
        found,
        "scrub",
        "check every file of a stopped daemon's spool against its hash, and repair it",
        lambda o: tools.scrub(options.config(o)[0], o.dry_run, o.json),
    )
    made.add_argument("--spool", metavar="FOLDER", help="default: the setting `spool`")
    made.add_argument(
        "--config", metavar="FILE", help=f"settings, TOML (default {options.CONFIG_FILE})"
    )
    made.add_argument("--dry-run", action="store_true", help="report only; repair nothing")
    made.add_argument("--json", action="store_true", help="one JSON object a line on stdout")


def _models_command(found: Any) -> None:
    models = add_command(
        found,
        "models",
        "list, check and fetch the files of the engines void and ltx",
        _models,
        epilog="""\
actions: list (default)  show needed files and their state
fetch           download missing files from huggingface.co
prepare         compute prompt embeddings for all jobs once
make-tiny       write a tiny model with the same layout, for a quick trial
accept NAME     accept the terms of an engine's weights (corridorkey, ltx) for the setting `models`
""",
    )
    models.add_argument("action", nargs="?", default="list", metavar="ACTION", help="default: list")
    models.add_argument("folder", nargs="?", metavar="FOLDER", help="default: the setting `models`")
    models.add_argument(
        "--sha256", action="store_true", help="read every byte of files with a known SHA-256"
    )
    models.add_argument(
        "--engine", choices=("void", "ltx"), default="void", help="whose files (default void)"
    )
    models.add_argument("--devices", metavar="LIST", help="`prepare` computes on the first; auto")
    models.add_argument(
        "--config", metavar="FILE", help=f"settings, TOML (default {options.CONFIG_FILE})"
    )
    models.add_argument("--json", action="store_true", help="one JSON object a line on stdout")


def _models(parsed: argparse.Namespace) -> None:
    """`models FOLDER` means `models list FOLDER`."""
    action, folder = parsed.action, parsed.folder
    if action == "accept":
        key.accept_terms(folder or "", options.config(parsed)[0].models, parsed.json)
        return
    if action not in tools.MODEL_ACTIONS:
        if folder is not None:
            raise BadSetting(
                f"unknown action {action!r}; choose from {', '.join(tools.MODEL_ACTIONS)}",
                "`voidbridge models --help` explains each action.",
            )
        action, folder = "list", action
    found = options.config(parsed)[0]
    where = Path(folder).expanduser() if folder else None
    if parsed.engine == "ltx":
        tools.ltx_models(action, where, found, parsed.json)
        return
    tools.models(action, where, found, parsed.sha256, parsed.json)


def _dataset_command(found: Any) -> None:
    parser = add_command(
        found,
        "dataset",
        "make the pairs for `train` from the clips of a show",
        lambda o: dataset.make_dataset(o, options.config(o)[0]),
    )
    dataset.add_dataset_options(parser)


def _keys_command(found: Any) -> None:
    made = add_command(
        found,
        "keys",
        "make and show keys, and list the keys that a daemon allows",
        lambda o: keys.execute(keys.parsed(o), options.config(o)[0].keys, o.json),
        epilog=keys.ACTIONS_HELP,
    )
    made.add_argument("action", nargs="?", default="list", metavar="ACTION", help="default: list")
    made.add_argument(
        "name", nargs="?", default="", metavar="NAME", help="daemon, a user, or a key"
    )
    made.add_argument("key", nargs="?", default="", metavar="KEY", help="a public key")
    made.add_argument("--admin", action="store_true", help="sees and cancels everybody's jobs")
    made.add_argument("--replace", action="store_true", help="replace an existing key")
    made.add_argument("--keys", metavar="FOLDER", help="folder of the keys")
    made.add_argument("--json", action="store_true", help="one JSON object a line on stdout")


def _install_command(found: Any) -> None:
    install = add_command(
        found,
        "install",
        "write the plug-in of a host",
        lambda o: tools.install(o.host, o.to, options.variable("APPDATA"), o.remove),
    )
    install.add_argument("host", metavar="HOST", help="nuke, resolve")
    install.add_argument("--to", metavar="FOLDER", help="folder for the plug-in")
    install.add_argument("--remove", action="store_true", help="uninstall")


def _selftest_command(found: Any) -> None:
    made = add_command(
        found,
        "selftest",
        "write a script that tests the plug-in in a real host",
        lambda o: tools.selftest(o.host, o.to),
    )
    made.add_argument("host", metavar="HOST", help="nuke, resolve")
    made.add_argument(
        "--to", metavar="FILE", help="default: voidbridge_selftest.py or .lua in the current folder"
    )


def _config_command(found: Any) -> None:
    settings = add_command(
        found,
        "config",
        "show every setting, its value and its origin",
        lambda o: tools.show_config(options.config(o)[1], o.json),
    )
    settings.add_argument("--json", action="store_true", help="as one JSON object")
    add_config_options(settings)
