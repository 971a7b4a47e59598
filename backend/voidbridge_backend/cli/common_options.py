"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from voidbridge_backend.client.submission import MOST_AUTO_HANDLES

from . import options


def add_result_option(parser: Any) -> None:
    parser.add_argument(
        "-o", "--output", required=True, metavar="RESULT", help="result sequence or folder"
    )


def add_overwrite_option(parser: Any) -> None:
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace files that Voidbridge did not make; sources are never replaced",
    )


def add_json_option(parser: Any) -> None:
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object a line on stdout"
    )


def add_openjd_option(parser: Any) -> None:
    parser.add_argument(
        "--openjd",
        action="store_true",
        help="print progress as messages of Open Job Description, for a farm",
    )


def add_status_file_option(parser: Any) -> None:
    parser.add_argument(
        "--status-file", type=Path, metavar="FILE", help="write job progress to FILE as JSON"
    )


def add_host_options(parser: Any) -> None:
    """Adds the options of hosts that follow a job and render its frames meanwhile."""
    add_status_file_option(parser)
    parser.add_argument(
        "--frames-from-stdin",
        action="store_true",
        help="frames are still being rendered; standard input names the complete ones",
    )


def add_frames_option(parser: Any) -> None:
    parser.add_argument("--frames", metavar="1001-1100", help="default: every frame of the plate")


def add_range_options(parser: Any) -> None:
    add_frames_option(parser)
    parser.add_argument(
        "--handles",
        default="auto",
        metavar="N",
        help="frames before and after the range that help; auto (default): up to "
        f"{MOST_AUTO_HANDLES} that are there",
    )


def add_priority_option(parser: Any) -> None:
    parser.add_argument(
        "--priority",
        type=int,
        default=0,
        metavar="N",
        help="waiting jobs with a larger number start first; users with the same number take turns (default 0)",
    )


def add_force_option(parser: Any) -> None:
    parser.add_argument(
        "--force", action="store_true", help="run the job again even if its result exists"
    )


def add_queue_options(parser: Any) -> None:
    queue = parser.add_argument_group("the queue")
    add_priority_option(queue)
    add_force_option(queue)


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
    add_json_option(group)
    if local:
        add_config_options(group)


def add_config_option(parser: Any) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help=f"settings, TOML (default {options.CONFIG_FILE})"
    )


def add_config_options(group: Any) -> None:
    add_config_option(group)
    for name, metavar, what in (
        ("models", "FOLDER", "folder of weights, for the engines that need them"),
        ("spool", "FOLDER", "folder for received frames and results"),
        ("devices", "LIST", "devices to work on: auto, or cpu, cuda:0, ..."),
        ("ocio", "FILE", "an OpenColorIO config"),
        ("window-mb", "N", "megabytes in transit from each client"),
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
