"""Reports which parts work and which are missing, each with the next step. Finally sends a tiny shot to the
daemon.

Only the daemon and that shot decide the verdict, because a part missing here may exist on the daemon's machine.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.text import Text

from voidbridge_backend.client.progress import JsonView
from voidbridge_backend.config import Config, count_cards, devices
from voidbridge_backend.log_format import one_line
from voidbridge_backend.sequences.patterns import Sequence as Frames
from voidbridge_backend.temporary_folders import temporary_folder
from voidbridge_backend.worker import sandbox
from voidbridge_protocol import __version__
from voidbridge_protocol.client import Client
from voidbridge_protocol.errors import (
    EngineFailed,
    JobCancelled,
    NoDevice,
    VoidbridgeError,
    from_code,
)
from voidbridge_protocol.job_task import Listener
from voidbridge_protocol.lifecycle import JobState
from voidbridge_protocol.wire.messages import Health, Status

from . import probe_shot

Verdict = Literal["ok", "missing", "failed"]
STYLES: dict[Verdict, str] = {"ok": "green", "missing": "yellow", "failed": "bold red"}
INDENT = 38
"""Column at which the text of a line begins."""

PATIENCE_S = 60.0
"""Seconds to wait for the shot. It takes about a second; a daemon with a long queue is not waited for."""

PACKAGES = {
    "": ("pyzmq", "rich"),
    "backend": (
        *("numpy", "scipy", "OpenEXR", "OpenImageIO", "av", "opencolorio"),
        *("opencv-python-headless", "prometheus-client"),
        *(("py-landlock", "pyseccomp") if sys.platform == "linux" else ()),
    ),
    "void": (
        *("torch", "diffusers", "transformers", "accelerate"),
        *("peft", "safetensors", "sentencepiece", "protobuf", "huggingface_hub"),
    ),
}
"""The packages of each extra; `tomli` is omitted, which only Python 3.10 needs."""
OLDEST_PYTHON = {"": (3, 10), "backend": (3, 11), "void": (3, 11)}
"""The client runs in older Pythons than the daemon, whose OpenEXR has no build for 3.10."""
PURPOSE = {"": "the command itself", "backend": "running the daemon", "void": "the engine void"}


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    verdict: Verdict
    text: str
    advice: str = ""
    error: VoidbridgeError | None = None
    """The error, if nothing will work."""


def examine(
    config: Config, client: Callable[[], AbstractContextManager[Client]], as_json: bool
) -> VoidbridgeError | None:
    """Runs all checks and prints a line for each; returns the first error that keeps the daemon from working."""
    show = _show_json if as_json else _show_line
    wrong = None
    for check in checks(config, client):
        show(check)
        wrong = wrong or check.error
    return wrong


def checks(config: Config, client: Callable[[], AbstractContextManager[Client]]) -> Iterator[Check]:
    """Yields every check, ordered by dependency."""
    yield Check("python", "ok", f"{platform.python_version()} on {platform.platform(terse=True)}")
    yield Check("voidbridge", "ok", __version__)
    for extra, names in PACKAGES.items():
        yield from packages(extra, names)
    for name in devices(config, count_cards()):
        yield device(name)
    yield spool(config.spool, config.keep_free_mb << 20)
    yield worker_sandbox(config.sandbox)
    yield models(config.models)
    yield color(config.ocio)
    yield from daemon(client)


def packages(extra: str, names: Sequence[str]) -> Iterator[Check]:
    """Yields the installed versions, then one line with the missing packages and their purpose."""
    lacking = []
    for name in names:
        try:
            yield Check(name, "ok", version(name))
        except PackageNotFoundError:
            lacking.append(name)
    if lacking:
        brings = f"voidbridge[{extra}]" if extra else "voidbridge"
        oldest = OLDEST_PYTHON[extra]
        advice = f"pip install '{brings}'"
        if sys.version_info < oldest:
            advice = f"This needs Python {oldest[0]}.{oldest[1]} or later; then {advice}"
        yield Check(
            f"packages of {brings}",
            "missing",
            f"{', '.join(lacking)}; for {PURPOSE[extra]}",
            advice,
        )


def spool(folder: Path, keep_free: int) -> Check:
    """Checks that the spool is writable, and reports its free space."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check(
            "spool",
            "failed",
            f"{folder} cannot be written: {error.strerror or error}",
            "Give this user write permission there, or choose another folder with --spool.",
        )
    text = f"{folder}: {free / 2**30:.1f} GB free"
    if free < keep_free:
        least = f"at least {keep_free / 2**30:.1f} GB must be free before a job is accepted"
        return Check("spool", "failed", text, f"{least}; choose a larger disk with --spool.")
    return Check("spool", "ok", text)


def worker_sandbox(choice: str) -> Check:
    """Checks if this system can restrict workers to their own files, without network."""
    lacking = sandbox.missing()
    if choice == "off":
        return Check("sandbox", "missing", "off", "Set sandbox to auto to restrict workers.")
    if lacking:
        failed: Verdict = "failed" if choice == "required" else "missing"
        advice = "Workers run without it. Linux 6.7 with Landlock and libseccomp has both."
        return Check("sandbox", failed, "; ".join(lacking), advice)
    return Check("sandbox", "ok", "workers open only their own files, and no sockets")


def models(folder: Path) -> Check:
    """Checks that the weights of the engine `void` are there."""
    if not folder.is_dir():
        return Check(
            "models",
            "missing",
            f"there is no {folder}; only engines with weights need it",
            "Give the folder with the weights with --models; docs/model.md lists the files of void.",
        )
    try:
        from voidbridge_backend.engines.void.files import weights
    except ModuleNotFoundError as error:
        return Check("models", "missing", f"{folder}: not checked without {error.name}")
    lacking = weights.missing(folder)
    if lacking:
        return Check(
            "models", "missing", f"{folder} lacks {', '.join(lacking)}", "docs/model.md lists all."
        )
    return Check("models", "ok", str(folder))


def color(config: str) -> Check:
    """Checks that the OpenColorIO config is usable."""
    try:
        from voidbridge_backend.imaging.color import ColorPlan
    except ModuleNotFoundError as error:
        return Check("color", "missing", f"not checked without {error.name}")
    try:
        plan = ColorPlan.choose("", None, config or None)
    except VoidbridgeError as error:
        return Check("color", "failed", error.text, error.hint)
    return Check("color", "ok", f"{plan.config}; a plate without a color space is {plan.space}")


def daemon(client: Callable[[], AbstractContextManager[Client]]) -> Iterator[Check]:
    """Checks that a daemon answers and that a shot returns from it correctly."""
    name = "daemon"
    try:
        with client() as connected:
            welcome = connected.welcome
            engines = ", ".join(f"{name} ({operation})" for operation, name in welcome.engines)
            yield Check(
                name, "ok", f"{welcome.software}, protocol {welcome.version}; engines: {engines}"
            )
            name = "health"
            yield condition(connected.health())
            name = "round trip"
            yield round_trip(connected)
    except VoidbridgeError as error:
        yield Check(name, "failed", error.text, error.hint, error)


def condition(health: Health) -> Check:
    """Reports the daemon's health. Raises an error that blocks every job."""
    devices = ", ".join(f"{device.name} {device.state}" for device in health.devices)
    text = f"{devices}; {health.queued} waiting; {health.free / 2**30:.1f} GB free"
    lost = [device for device in health.devices if device.why]
    if not health.ready and (lost or health.code != NoDevice.code):
        raise from_code(health.code, health.text, health.hint)
    if lost:
        why = "; ".join(f"{device.name}: {device.why}" for device in lost)
        return Check("health", "missing", text, f"In quarantine: {why}")
    return Check("health", "ok", text)


def round_trip(client: Client, patience: float = PATIENCE_S) -> Check:
    """Sends a shot and checks the result. Raises the error of the job."""
    began = time.monotonic()
    last = Status("", JobState.RECEIVING)

    def on_status(status: Status) -> None:
        nonlocal last
        if status.state not in (
            JobState.CANCELLING,
            JobState.CANCELLED,
        ):  # the doctor's own cancel caused this state
            last = status

    def is_late() -> bool:
        return time.monotonic() - began > patience

    with temporary_folder("doctor") as folder:
        assignment = probe_shot.write(folder)
        result = Frames.parse(folder / "result.%04d.exr")
        task = assignment.task(result.path, lambda done, of: None, lambda: False)
        try:
            client.run(task, Listener(status=on_status, should_cancel=is_late))
        except JobCancelled as error:
            if last.state is JobState.QUEUED and last.ahead:
                return Check(
                    "round trip",
                    "missing",
                    f"not tried: {last.ahead} jobs are ahead; waited {patience:.0f} s",
                    "Try again when the daemon has less to do.",
                )
            raise EngineFailed(
                f"no result within {patience:.0f} s, the job is {last.state.value} {last.stage}"
            ) from error
        probe_shot.check(result)
    took = time.monotonic() - began
    frames = f"{probe_shot.FRAMES[0]}-{probe_shot.FRAMES[-1]}"
    return Check("round trip", "ok", f"{frames} in {took:.1f} s, every bit is correct")


def device(name: str) -> Check:
    """Checks that a worker can use this device: `cpu`, `cuda:0`, ..."""
    title = f"device {name}"
    if name.partition(":")[0] == "cpu":
        return Check(title, "ok", f"{os.cpu_count()} cores")
    kind, _, number = name.partition(":")
    if kind != "cuda" or not number.isdigit():
        return Check(
            title, "failed", f"{name!r} is not a device", "Use cpu or cuda:0 with --devices."
        )
    try:
        import torch
    except ModuleNotFoundError as error:
        return Check(
            title,
            "missing",
            f"{error.name} is not installed; only engines with a network use it",
            "pip install 'voidbridge[void]'",
        )
    if int(number) >= torch.cuda.device_count():
        return Check(
            title,
            "failed",
            f"torch {torch.__version__} sees {torch.cuda.device_count()} cards",
            "Install NVIDIA's driver and a torch built for CUDA, or set the existing devices with --devices.",
        )
    card = torch.cuda.get_device_properties(int(number))
    return Check(title, "ok", f"{card.name}, {card.total_memory / 2**30:.0f} GB")


def _show_json(check: Check) -> None:
    JsonView().event(
        "check", check=check.name, verdict=check.verdict, text=check.text, advice=check.advice
    )


def _show_line(check: Check) -> None:
    console = Console(highlight=False, soft_wrap=True)
    verdict = (f"{check.verdict:<9}", STYLES[check.verdict])
    console.print(Text.assemble(verdict, f"{check.name:<{INDENT - 9}}", one_line(check.text)))
    if check.advice and check.verdict != "ok":
        code = f" [{check.error.code}]" if check.error else ""
        console.print(Text(" " * INDENT + one_line(check.advice) + code, "dim"))
