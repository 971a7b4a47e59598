"""The command `estimate`: time and memory of a job before it is sent."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from math import isfinite
from typing import Any, get_type_hints

from voidbridge_backend.client.daemon_client import ClientOptions, open_client
from voidbridge_backend.client.local_daemon import kept_measurements
from voidbridge_backend.client.progress import JsonView
from voidbridge_backend.engines import registry
from voidbridge_backend.sequences.patterns import FrameRange
from voidbridge_backend.tools.estimate import PlannedJob, estimate, parsed
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations import operation, operations
from voidbridge_protocol.settings import OperationSettings

EPILOG = """\
The figures are those of your own former jobs: of the daemon that --daemon names, else of the temporary
daemons of this machine. Without a former job with the same settings there is no estimate of time. For void and
ltx it then tells the memory that a card needs. That is computed from their memory plans, not measured."""
MOST_FRAMES = 10_000_000
"""Frames of a job in question; a day at 60 frames a second has 5,184,000."""


def add_estimate_options(parser: Any) -> None:
    """Everything but the options of the daemon."""
    parser.add_argument("operation", metavar="OPERATION", help=", ".join(operations()))
    parser.add_argument("--engine", default="", metavar="NAME", help="default: the operation's own")
    parser.add_argument(
        "--size", required=True, metavar="1920x1080", help="size of the plate in pixels"
    )
    parser.add_argument(
        "--frames", required=True, metavar="1001-1100", help="frames of the results"
    )
    parser.add_argument(
        "--seen",
        type=int,
        metavar="N",
        help="frames that are sent, with handles (default: the results)",
    )
    parser.add_argument(
        "--set",
        action="append",
        metavar="NAME=VALUE",
        help="a setting that differs from its default, as passes=2; repeatable",
    )


def estimate_job(options: argparse.Namespace, client_options: ClientOptions) -> None:
    """Prints the estimate. Raises `BadSetting`, and what a daemon that is named raises."""
    planned = _planned(options)
    names = planned.operation, planned.engine
    if client_options.is_local and client_options.config is not None:
        _require_engine(*names, registry.available())
        found = kept_measurements(client_options.config, client_options.user, *names)
    else:
        with open_client(client_options) as client:
            _require_engine(*names, client.welcome.engines)
            found = client.measurements(*names)
    told = estimate(planned, parsed(found))
    if options.json:
        JsonView().event("estimate", text=told.sentences(), **asdict(told))
    else:
        print(told.sentences())


def _planned(options: argparse.Namespace) -> PlannedJob:
    if options.operation not in operations():
        raise BadSetting(
            f"there is no operation {options.operation!r}",
            f"Choose from {', '.join(operations())}.",
        )
    size = re.fullmatch(r"(\d{1,5})x(\d{1,5})", options.size)
    if size is None or "0" in (size[1].lstrip("0") or "0", size[2].lstrip("0") or "0"):
        raise BadSetting(f"the size {options.size!r} cannot be read", "Write it as 1920x1080.")
    frames = FrameRange.parse(options.frames)
    count = frames.last - frames.first + 1
    if count > MOST_FRAMES:
        raise BadSetting(f"--frames are {count} frames", f"Ask for {MOST_FRAMES} at most.")
    seen = count if options.seen is None else options.seen
    if not 0 <= seen <= MOST_FRAMES:
        hint = f"It is the number of frames that are sent, {MOST_FRAMES} at most."
        raise BadSetting(f"--seen is {seen}", hint)
    settings = _settings(operation(options.operation).settings, options.engine, options.set or [])
    return PlannedJob(
        options.operation,
        settings.engine,
        settings.effort,
        count,
        seen,
        int(size[1]),
        int(size[2]),
    )


def _require_engine(operation: str, engine: str, known: Iterable[tuple[str, str]]) -> None:
    names = [name for of, name in known if of == operation]
    if engine not in names:
        hint = f"Choose from {', '.join(names)}." if names else "Ask another daemon."
        raise BadSetting(f"{operation} has no engine {engine!r}", hint)


def _settings(kind: type[OperationSettings], engine: str, words: list[str]) -> OperationSettings:
    """Raises `BadSetting` for a word that is no setting, or a value that it does not take."""
    types = get_type_hints(kind)
    values: dict[str, Any] = {"engine": engine} if engine else {}
    for word in words:
        name, _, text = word.partition("=")
        if name not in types:
            raise BadSetting(f"there is no setting {name!r}", f"Choose from {', '.join(types)}.")
        values[name] = _value(name, text, types[name])
    return kind(**values)


def _value(name: str, text: str, kind: Any) -> Any:
    if kind is str:
        return text
    try:
        value = json.loads(text)
        value = float(value) if kind is float and type(value) is int else value
    except (ValueError, OverflowError, RecursionError):
        value = None
    if type(value) is not kind or (kind is float and not isfinite(value)):
        raise BadSetting(f"{name} is {text[:60]!r}", f"Its kind is {kind.__name__}.")
    return value
