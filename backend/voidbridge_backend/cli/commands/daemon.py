"""The commands of a daemon's machine, with parsed arguments: serve, scrub, config."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from voidbridge_backend import log_format
from voidbridge_backend.client import local_daemon
from voidbridge_backend.client.progress import watched
from voidbridge_backend.config import Config, Setting
from voidbridge_protocol.errors import DamagedFile, JobCancelled, RequestError


def serve(config: Config, until_stdin_closes: bool) -> None:
    """Runs the daemon."""
    from voidbridge_backend.daemon.main import serve as serve_until_stopped

    serve_until_stopped(config, until_stdin_closes=until_stdin_closes)


def scrub(config: Config, dry_run: bool, as_json: bool) -> None:
    """Checks a spool against its hashes and repairs it. Raises `DamagedFile` if damage stays.

    Raises `RequestError` if there is no spool or a daemon uses it.
    """
    from voidbridge_backend.daemon import main as daemon_main

    if not (config.spool / "jobs.db").is_file():
        raise RequestError(
            f"{config.spool} is not a daemon's spool: it has no jobs.db", "Name it with --spool."
        )
    log_format.setup(sys.stderr, logging.CRITICAL)
    check, found = daemon_main.scrub(config, dry_run), 0
    try:
        with watched(as_json) as (view, cancelled):

            def on_progress(done: int, total: int) -> None:
                if cancelled.is_set():
                    raise JobCancelled("cancelled while the spool was being checked")
                view.stage("checking files", done, total)

            for damage in check.run(not dry_run, on_progress):
                found += 1
                view.event(
                    "damaged",
                    kind=damage.kind,
                    path=damage.path,
                    job=damage.job,
                    repair=damage.repair,
                )
                if not as_json:
                    said = f"{damage.kind} {damage.path} {damage.job}: {damage.repair}"
                    print(log_format.one_line(said))
            view.event("scrubbed", files=check.files, bytes=check.bytes, damaged=found)
    finally:
        check.close()
    if not as_json:
        print(f"{check.files} files, {check.bytes / 1e9:.2f} GB: {found} damaged")
    if dry_run and found:
        raise DamagedFile(
            f"{found} files or requests of {config.spool} changed on the disk",
            "Run `voidbridge scrub` without --dry-run to repair them.",
        )


def show_config(settings: list[Setting], as_json: bool) -> None:
    """Prints every setting, its value and its origin, and whether a temporary daemon has it too."""
    own = local_daemon.overridden("", Path())
    if as_json:
        shown = {
            s.name: {"value": _plain(s.value), "from": s.origin, "temporary": s.name not in own}
            for s in settings
        }
        print(json.dumps(shown))
        return
    for setting in settings:
        more = "; a temporary daemon has its own" if setting.name in own else ""
        print(f"{setting.name} = {json.dumps(_plain(setting.value))}  # {setting.origin}{more}")


def _plain(value: object) -> object:
    return (
        list(value)
        if isinstance(value, tuple)
        else str(value)
        if isinstance(value, Path)
        else value
    )
