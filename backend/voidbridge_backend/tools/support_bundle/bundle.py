"""Writes a zip file for support: versions, settings, doctor's output, the daemon's health, its jobs, its log.

Everything passes through `redaction`; frames, requests, prompts and keys are never read.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from voidbridge_backend.config import Config, Setting
from voidbridge_backend.tools.doctor import doctor
from voidbridge_protocol import __version__
from voidbridge_protocol.client import Client
from voidbridge_protocol.errors import OutputUnwritable, RequestError, VoidbridgeError
from voidbridge_protocol.wire.messages import Status

from .redaction import PATH, Redactor

MOST_JOBS, MOST_LINES = 200, 5000
JOURNAL = ("journalctl", "--unit", "voidbridge", "--no-pager", "--output", "cat")
USER = re.compile(r"\buser=('[^']*'|\S+)")
"""The user in a log line."""

Connect = Callable[[], AbstractContextManager[Client]]


def bundle(
    target: Path, config: Config, settings: list[Setting], log: Path | None, connect: Connect
) -> None:
    """Writes the file `target`. Raises `RequestError` if that fails, or if `log` cannot be read."""
    lines = _log(log)
    health, jobs, trouble = _daemon(connect)
    users = {job.user for job in jobs} | {
        found.strip("'") for line in lines for found in USER.findall(line)
    }
    redact = Redactor({*users, getpass.getuser(), socket.gethostname(), platform.node()})
    checks = [
        {name: value for name, value in vars(check).items() if name != "error"}
        for check in doctor.checks(config, connect)
    ]
    parts: dict[str, object] = {
        "about.json": {**_about(), "daemon": trouble or "answered"},
        "settings.json": {s.name: {"value": _plain(s), "from": s.origin} for s in settings},
        "doctor.json": checks,
        "health.json": health,
        "jobs.json": [_job(job) for job in jobs[-MOST_JOBS:]],
    }
    files = {name: json.dumps(redact.value(part), indent=1) for name, part in parts.items()}
    _write(target, {**files, "log.txt": redact.text("\n".join(lines))})


def _write(target: Path, files: Mapping[str, str]) -> None:
    try:
        with (
            os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for name, text in files.items():
                archive.writestr(name, text + "\n")
    except OSError as error:
        raise OutputUnwritable(
            f"{target} cannot be written: {error.strerror or error}", "Choose another file with -o."
        ) from error


def _about() -> dict[str, object]:
    return {
        "voidbridge": __version__,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "packages": dict(_versions()),
    }


def _versions() -> Iterator[tuple[str, str]]:
    for names in doctor.PACKAGES.values():
        for name in names:
            try:
                yield name, version(name)
            except PackageNotFoundError:
                yield name, "not installed"


def _plain(setting: Setting) -> object:
    if isinstance(setting.value, Path):
        return str(setting.value.absolute())  # the redactor would not recognize a relative path
    if isinstance(setting.value, tuple):  # two folder names in one text may not look like paths
        return [PATH if setting.name == "shares" else item for item in setting.value]
    return setting.value


def _daemon(connect: Connect) -> tuple[object, list[Status], str]:
    """Returns the daemon's health, its jobs, and the error if it gives neither."""
    try:
        with connect() as client:
            health = client.health()
            return asdict(health), client.jobs(), ""
    except VoidbridgeError as error:
        return None, [], f"{error.text} [{error.code}]"


def _job(job: Status) -> dict[str, object]:
    """Returns a status as JSON, without the user that it names."""
    fields = asdict(job)
    del fields["user"]
    return fields


def _log(path: Path | None) -> list[str]:
    """Returns the end of the daemon's log: from the file, or from the service in the system's journal."""
    if path:
        try:
            return path.read_text(errors="replace").splitlines()[-MOST_LINES:]
        except OSError as error:
            raise RequestError(
                f"the log {path} cannot be read: {error.strerror or error}",
                "Give the file with the daemon's standard error with --log.",
            ) from error
    if not shutil.which(JOURNAL[0]):
        return ["no log was given with --log, and this system has no journal"]
    words = (*JOURNAL, "--lines", str(MOST_LINES))
    done = subprocess.run(words, capture_output=True, check=False, timeout=60)
    return (done.stdout or done.stderr).decode(errors="replace").splitlines()
