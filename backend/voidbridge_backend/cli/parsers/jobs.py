"""The parsers of the commands about jobs that exist: status, fetch, cancel; and estimate."""

from __future__ import annotations

from typing import Any

from voidbridge_backend.cli import options
from voidbridge_backend.cli.commands import estimate, jobs
from voidbridge_backend.cli.common_options import add_daemon_options, add_overwrite_option


def add_status(parser: Any) -> None:
    parser.set_defaults(run=lambda o: jobs.status(options.client(o), o.job, o.json))
    parser.add_argument("job", nargs="?", metavar="JOB", help="show only the job with this id")
    add_daemon_options(parser)


def add_fetch(parser: Any) -> None:
    parser.set_defaults(
        run=lambda o: jobs.fetch(options.client(o), o.job, o.output, o.json, o.overwrite)
    )
    parser.add_argument("job", metavar="JOB", help="the id that submit printed")
    parser.add_argument(
        "-o",
        "--output",
        default="",
        metavar="RESULT",
        help="result sequence or folder (default: a folder with the name of the job)",
    )
    add_overwrite_option(parser)
    add_daemon_options(parser)


def add_cancel(parser: Any) -> None:
    parser.set_defaults(run=lambda o: jobs.cancel(options.client(o), o.job, o.json))
    parser.add_argument("job", metavar="JOB", help="the id of the job")
    add_daemon_options(parser)


def add_estimate(parser: Any) -> None:
    parser.set_defaults(run=lambda o: estimate.estimate_job(o, options.client(o)))
    parser.epilog = estimate.EPILOG
    estimate.add_estimate_options(parser)
    add_daemon_options(parser, local=True)
