"""The parsers of the commands that need no client: serve, scrub, keys, config."""

from __future__ import annotations

import argparse
from typing import Any

from voidbridge_backend.cli import keys, options
from voidbridge_backend.cli.commands import daemon
from voidbridge_backend.cli.common_options import (
    add_config_option,
    add_config_options,
    add_json_option,
)
from voidbridge_backend.config import Config


def add_serve(parser: Any) -> None:
    parser.set_defaults(run=lambda o: daemon.serve(options.config(o)[0], o.until_stdin_closes))
    parser.add_argument(
        "--listen", metavar="ADDRESS", help=f"address of the daemon (default {Config().listen})"
    )
    parser.add_argument(
        "--keys", metavar="FOLDER", help="folder of the daemon's key and the allowed keys"
    )
    parser.add_argument(
        "--require-keys",
        action="store_true",
        default=None,
        help="require keys for local addresses too",
    )
    parser.add_argument("--shares", metavar="LIST", help="folders for file import by path")
    parser.add_argument(
        "--devices-per-job", metavar="N", help="devices that one job may use if the others are idle"
    )
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="the Ray cluster with more devices: auto, or HOST:PORT"
    )
    parser.add_argument(
        "--ray-resource",
        metavar="NAME",
        help=f"resource of Ray whose units are devices (default {Config().ray_resource})",
    )
    parser.add_argument("--max-frames", metavar="N", help="maximum frames of one job")
    parser.add_argument("--max-file-mb", metavar="N", help="maximum megabytes of one file")
    parser.add_argument(
        "--stall-s", metavar="N", help="seconds without a step before a worker counts as hung"
    )
    parser.add_argument("--load-s", metavar="N", help="maximum seconds for loading an engine")
    parser.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)
    add_config_options(parser)


def add_scrub(parser: Any) -> None:
    parser.set_defaults(run=lambda o: daemon.scrub(options.config(o)[0], o.dry_run, o.json))
    parser.add_argument("--spool", metavar="FOLDER", help="default: the setting `spool`")
    add_config_option(parser)
    parser.add_argument("--dry-run", action="store_true", help="report only; repair nothing")
    add_json_option(parser)


def add_keys(parser: Any) -> None:
    parser.set_defaults(
        run=lambda o: keys.execute(keys.parsed(o), options.config(o)[0].keys, o.json)
    )
    parser.epilog = keys.ACTIONS_HELP
    parser.add_argument("action", nargs="?", default="list", metavar="ACTION", help="default: list")
    parser.add_argument(
        "name", nargs="?", default="", metavar="NAME", help="daemon, a user, or a key"
    )
    parser.add_argument("key", nargs="?", default="", metavar="KEY", help="a public key")
    parser.add_argument(
        "--admin", action="store_true", help="allow: the user sees and cancels everybody's jobs"
    )
    parser.add_argument("--replace", action="store_true", help="make: replace an existing key")
    parser.add_argument("--keys", metavar="FOLDER", help="folder of the keys")
    add_json_option(parser)


def add_config(parser: Any) -> None:
    parser.set_defaults(run=lambda o: daemon.show_config(options.config(o)[1], o.json))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_config_options(parser)
