"""The command `web`: its options, and how it prints the link."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voidbridge_backend.client.daemon_client import DEFAULT_DAEMON, ClientOptions
from voidbridge_backend.client.progress import JsonView
from voidbridge_protocol import __version__
from voidbridge_protocol.client import Client
from voidbridge_protocol.errors import BadSetting, NoEndpoint

if TYPE_CHECKING:
    from voidbridge_backend.web.forms import OptionInfo

PATIENCE_S = 2.0
"""Seconds after which the page says that the daemon does not answer."""


def add_web_options(parser: Any) -> None:
    parser.add_argument(
        "--folder",
        action="append",
        metavar="FOLDER",
        help="a folder that the page may use; repeatable (default: the current folder)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=0,
        metavar="N",
        help="port of the page (default 0: any free one)",
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.add_argument(
        "--ocio", metavar="FILE", help="an OpenColorIO config, for the player's views"
    )
    parser.add_argument(
        "--page", default="/", metavar="PATH", help="page that the link leads to, as /jobs/JOB"
    )


def web(
    parsed: argparse.Namespace,
    options: ClientOptions,
    ocio: str,
    forms: Mapping[str, list[OptionInfo]],
) -> None:
    """Serves the page until it is stopped. `forms` are the options of commands. Raises `BadSetting`."""
    from voidbridge_backend.web.server import PageOptions, serve

    address = options.address or DEFAULT_DAEMON
    folders = [Path(text).expanduser() for text in parsed.folder or [os.getcwd()]]
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing:
        raise BadSetting(
            f"{missing[0]} is not a folder", "Name a folder that is there with --folder."
        )

    def connect() -> Client:
        return Client(
            address,
            user=options.user,
            software=f"voidbridge web {__version__}",
            patience=PATIENCE_S,
            keys=options.keys,
        )

    def on_link(link: str) -> None:
        if parsed.json:
            JsonView().event("link", link=link)
        else:
            print(link, flush=True)

    if not parsed.json:
        listed = ", ".join(map(str, folders))
        sys.stderr.write(f"the page of the daemon {address}, for {listed}; Ctrl-C ends it\n")
        sys.stderr.write("each link below works once, for one browser\n")
    words = _daemon_words(parsed, options)
    shown = PageOptions(
        address,
        words,
        folders,
        forms,
        parsed.port,
        parsed.open,
        parsed.page,
        ocio,
        _endpoint(),
    )
    serve(shown, connect, on_link)


def _endpoint() -> str:
    """The language model of the environment, for people; empty without one. Raises `BadSetting`."""
    from voidbridge_backend.tools.ask.endpoint import Endpoint

    try:
        found = Endpoint.chosen("", "", None, 1.0, os.environ)
    except NoEndpoint:
        return ""
    return f"{found.model} at {found.url}"


def _daemon_words(parsed: argparse.Namespace, options: ClientOptions) -> list[str]:
    """Options for the commands that the page starts, so that they are the same client as the page."""
    given = {
        "daemon": options.address or DEFAULT_DAEMON,
        "user": options.user,
        "server-key": parsed.server_key,
        "keys": parsed.keys,
    }
    return [f"--{name}={value}" for name, value in given.items() if value]
