"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import options


def add_overwrite_option(parser: Any) -> None:
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace files that Voidbridge did not make; sources are never replaced",
    )


def add_plate_start(parser: Any) -> None:
    parser.add_argument(
        "--plate-start",
        type=int,
        metavar="N",
        help="number of the plate's first frame, as for a clip (default 1)",
    )


def add_matte_start(parser: Any) -> None:
    parser.add_argument(
        "--matte-start",
        type=int,
        metavar="N",
        help="number of the mattes' first frame, as for tools that count from 0",
    )


def add_daemon_options(parser: Any, *, local: bool = False) -> None:
    group = parser.add_argument_group("the daemon")
    group.add_argument(
        "--daemon",
        metavar="ADDRESS",
        help="address of the daemon, as tcp://HOST:5577"
        + ("; default: start a temporary local daemon" if local else ""),
    )
    group.add_argument("--server-key", metavar="KEY", help="the daemon's public key, if it has one")
    group.add_argument("--keys", metavar="FOLDER", help="folder of your own key")
    group.add_argument(
        "--user", default=None, metavar="NAME", help="owner of the jobs (default: your login name)"
    )
    group.add_argument("--json", action="store_true", help="print one JSON object a line on stdout")
    if local:
        add_config_options(group)


def add_config_options(group: Any) -> None:
    group.add_argument(
        "--config", metavar="FILE", help=f"settings, TOML (default {options.CONFIG_FILE})"
    )
    for name, metavar, what in (
        ("models", "FOLDER", "folder of weights, for the engines that need them"),
        ("spool", "FOLDER", "folder for received frames and results"),
        ("devices", "LIST", "devices to work on: auto, or cpu, cuda:0, ..."),
        ("ocio", "FILE", "an OpenColorIO config"),
        ("window-mb", "N", "megabytes on their way for each client"),
    ):
        group.add_argument(f"--{name}", metavar=metavar, help=what)


def add_endpoint_options(parser: Any) -> None:
    """Adds the options of commands that ask a language model."""
    parser.add_argument("--send", action="store_true", help="send the pictures to the endpoint")
    parser.add_argument(
        "--endpoint",
        default="",
        metavar="URL",
        help="an OpenAI-compatible server (default: VOIDBRIDGE_ASK_URL)",
    )
    parser.add_argument(
        "--model", default="", metavar="NAME", help="its model (default: VOIDBRIDGE_ASK_MODEL)"
    )
    parser.add_argument(
        "--key-file", type=Path, metavar="FILE", help="its key (default: VOIDBRIDGE_ASK_KEY)"
    )
    parser.add_argument(
        "--timeout", type=float, default=120.0, metavar="S", help="seconds to wait (default 120)"
    )
