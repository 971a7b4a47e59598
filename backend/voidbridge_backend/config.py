"""All settings: this dataclass defines their names, types and defaults.

`docs/configuration.md` has a heading for each field.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.wire.local_socket import LOCAL

SPOOL_MARK = "voidbridge-spool.txt"
"""File that makes a folder a daemon's spool. A daemon deletes in no folder without it."""
SPOOL_TEXT = b"A Voidbridge daemon keeps its data here: it writes and deletes in this folder.\n"
PREFIX = "VOIDBRIDGE_"
VISIBLE = "CUDA_VISIBLE_DEVICES"
ALLOCATOR = "PYTORCH_ALLOC_CONF"
LAUNCHED = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""Variables in which torchrun, accelerate's launcher and MPI tell a process how many there are."""
CACHE = Path("~/.cache/voidbridge")
CHOICES = {"sandbox": ("auto", "required", "off")}
"""Settings that have one of a few values."""
DEVICE = re.compile(r"cpu(:\d+)?|cuda(:\d+)?")


@dataclass(frozen=True)
class Config:
    """The daemon's settings. Paths may begin with ~."""

    listen: str = LOCAL
    """Address of the control socket; the bulk socket has the next port, or the same path with `.bulk`."""
    spool: Path = CACHE / "spool"
    """Received frames, jobs and results."""
    devices: tuple[str, ...] = ("auto",)
    """One worker each: `cpu`, `cpu:1`, `cuda:0`, ...; `auto` is every NVIDIA card, or else `cpu`."""
    devices_per_job: int = 1
    """Devices that one job may use at a time, if the others are idle."""
    ray: str = ""
    """The Ray cluster whose cards are devices too: `auto`, or HOST:PORT; empty: none."""
    ray_resource: str = "GPU"
    """The resource of Ray of which each unit is a device."""
    ray_cache: str = "~/.cache/voidbridge/node"
    """The folder for frames on each node's own disk."""
    ray_cache_gb: int = 100
    """Gigabytes of that folder above which the least recently used frames are deleted."""
    ray_by_path: bool = True
    """Nodes that see the spool's disk read frames there by themselves."""
    ray_lost_s: int = 10
    """Seconds without an answer after which a node counts as lost."""
    models: Path = CACHE / "models"
    """The folder with the weights of the engine `void`."""
    ocio: str = ""
    """An OpenColorIO config; empty: the one in the variable OCIO, else the built-in ACES config."""
    window_mb: int = 16
    """Megabytes that one client may have in flight to the daemon."""
    max_frames: int = 20_000
    """Maximum frames of one job."""
    max_file_mb: int = 2048
    """Maximum megabytes of one frame's file."""
    keep_days: int = 14
    """Days without use after which fetched results and received frames are deleted."""
    unfetched_days: int = 0
    """Days after which unfetched results are deleted; 0: never."""
    spool_gb: int = 0
    """Gigabytes of the spool above which unneeded files are deleted sooner; 0: the whole disk."""
    keep_free_mb: int = 1024
    """Megabytes of the spool's disk that stay free; with less, no new files are accepted."""
    shares: tuple[str, ...] = ()
    """Folders from which clients may import files by path: "FOLDER", or "PREFIX=FOLDER"."""
    keys: Path = Path("~/.config/voidbridge/keys")
    """The folder with secret keys, and with the list of keys that the daemon allows."""
    server_key: str = ""
    """For clients: the public key of their daemon; empty for a daemon without keys."""
    require_keys: bool = False
    """Require keys for local addresses too."""
    max_upload_mb_s: int = 0
    """Maximum upload rate of one user in megabytes per second; 0: no limit."""
    max_megapixels: int = 300
    """Maximum pixels of one picture, in millions."""
    decode_memory_mb: int = 4096
    """Megabytes by which a worker may grow while it decodes a file."""
    max_clients: int = 64
    """Maximum number of connected clients of one user."""
    max_jobs: int = 1000
    """Maximum number of unfinished jobs of one user."""
    max_priority: int = 0
    """Highest priority of a user whose key is no admin's; a lower one only puts own jobs behind."""
    user_share: int = 80
    """Percent of the free space that frames to come of one user may take."""
    http_port: int = 0
    """Port on 127.0.0.1 for /health/live, /health/ready and /metrics; 0: none."""
    drain_s: int = 30
    """Seconds that running jobs may continue after SIGTERM."""
    sandbox: str = "auto"
    """Restrict workers to their own files: `auto` as far as the system can, `required`, or `off`."""
    bills: bool = False
    """Users are charged for jobs here; engines whose weights forbid that refuse."""
    stall_s: int = 30
    """Seconds that an engine may be silent between two steps, unless its steps are long."""
    load_s: int = 1800
    """Seconds that an engine may take to load or compile its model."""


@dataclass(frozen=True)
class Setting:
    """A value and its origin."""

    name: str
    value: object
    origin: str


def resolve(
    file: Mapping[str, object], environ: Mapping[str, str], flags: Mapping[str, object]
) -> tuple[Config, list[Setting]]:
    """Combines defaults, file, VOIDBRIDGE_* variables and flags; later ones override earlier ones.

    It reads nothing itself; the command line passes the values. Raises `BadSetting` for an unknown name or a
    value of the wrong type.
    """
    names = {field.name for field in fields(Config)}
    environment = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(PREFIX)
    }
    given: dict[str, tuple[object, str]] = {}
    for source, origin in ((file, "file"), (environment, "environment"), (flags, "command line")):
        for name, value in source.items():
            if name not in names:
                near = difflib.get_close_matches(name, names, 1)
                raise BadSetting(
                    f"there is no setting {name!r} (from the {origin})"
                    + (f"; did you mean {near[0]}?" if near else ""),
                    f"The settings are {', '.join(sorted(names))}.",
                )
            given[name] = (value, origin)
    settings = []
    for field in fields(Config):
        value, origin = given.get(field.name, (field.default, "default"))
        settings.append(Setting(field.name, _parsed(field.name, field.default, value), origin))
    return Config(**{s.name: s.value for s in settings}), settings  # type: ignore[arg-type]


def as_environment(config: Config) -> dict[str, str]:
    """Returns the variables from which `resolve` makes this very config, whatever the file says."""
    return {
        PREFIX + field.name.upper(): _as_text(getattr(config, field.name))
        for field in fields(config)
    }


def _as_text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def devices(config: Config, cards: int) -> tuple[str, ...]:
    """Returns the devices to start workers for, on a machine with `cards` NVIDIA cards."""
    if config.devices != ("auto",):
        return config.devices
    if config.ray:
        return ()  # the cards of this machine may be the cluster's
    return tuple(f"cuda:{i}" for i in range(cards)) or ("cpu",)


def count_cards() -> int:
    """Counts the NVIDIA cards that this process may use, without loading NVIDIA's libraries.

    CUDA_VISIBLE_DEVICES, which Slurm sets too, names them by number or UUID; the list ends at the first one that
    is none (CUDA C++ Programming Guide, environment variables). WSL has one device file for all cards: nvidia-smi
    counts them there.
    """
    if sys.platform != "linux":
        return 0
    there = sum(path.name[6:].isdigit() for path in Path("/dev").glob("nvidia[0-9]*"))
    if not there and Path("/dev/dxg").exists():
        there = _counted_by_nvidia_smi()
    visible = os.environ.get(VISIBLE)
    return there if visible is None else min(there, len(visible_cards(visible, there)))


def visible_cards(listed: str, count: int = sys.maxsize) -> list[str]:
    """Returns the entries of CUDA_VISIBLE_DEVICES up to the first that is no card, of `count` cards."""
    cards: list[str] = []
    for entry in listed.split(","):
        name = entry.strip()
        is_number = name.isdecimal() and int(name) < count
        if not (is_number or name.startswith(("GPU-", "MIG-"))):
            break
        cards.append(name)
    return cards


def without_own(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of a child that gets its settings another way. Voidbridge's own may hold keys of clients."""
    return {name: value for name, value in environ.items() if not name.startswith(PREFIX)}


def only_card(device: str, environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Returns the name of `device` and the changed variables in a process that sees no other card.

    All workers of the CPU, `cpu`, `cpu:1` and so on, call it `cpu`.

    Such a process makes no context on another card, and its libraries cannot take the wrong one. A device that
    is no card, or not among the visible ones, keeps its name and changes nothing.
    """
    kind, _, number = device.partition(":")
    if kind == "cpu":
        return kind, {}
    if kind != "cuda" or not number.isdecimal():
        return device, {}
    visible = environ.get(VISIBLE)
    cards = [number] if visible is None else visible_cards(visible)[int(number) : int(number) + 1]
    # CUDA's own order of numbers is kept; CUDA_DEVICE_ORDER stays the administrator's.
    return ("cuda:0", {VISIBLE: cards[0]}) if cards else (device, {})


def launched(environ: Mapping[str, str]) -> tuple[str, int]:
    """Returns the number of processes that a launcher started of this one, and its variable; 1 without launcher."""
    for name in LAUNCHED:
        count = environ.get(name, "")
        if count.isdecimal() and int(count) > 1:
            return name, int(count)
    return "", 1


def check_one_process(environ: Mapping[str, str], work: str) -> None:
    """Raises `BadSetting` if a launcher started several processes of this one, which `work` cannot use."""
    name, count = launched(environ)
    if count > 1:
        raise BadSetting(
            f"{work} runs in one process, and a launcher started {count} ({name})",
            "Start the daemon and this command without torchrun, accelerate launch or mpirun. "
            "docs/lora.md describes a training on several cards.",
        )


def allocator_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables that let torch grow its blocks of device memory instead of leaving gaps between them.

    A setting of the administrator's own is kept. torch ignores it where the system cannot (WSL).
    """
    if environ.keys() & {ALLOCATOR, "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF"}:
        return {}
    return {ALLOCATOR: "expandable_segments:True"}


def _counted_by_nvidia_smi() -> int:
    try:
        done = subprocess.run(
            ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())


def _parsed(name: str, default: object, value: object) -> object:
    try:
        match default:
            case bool():
                if str(value).lower() not in ("true", "false", "1", "0"):
                    raise ValueError("use true or false")
                return str(value).lower() in ("true", "1")
            case int():
                least = min(default, 1)  # 0 means "off" for settings with that default
                if int(str(value)) < least:
                    raise ValueError(f"it must be {least} or more")
                return int(str(value))
            case Path():
                return Path(str(value)).expanduser()
            case tuple():
                items = value.split(",") if value and isinstance(value, str) else value or ()
                words = tuple(str(item).strip() for item in items)  # type: ignore[attr-defined]
                return _checked_devices(words) if name == "devices" else words
            case _:
                if name in CHOICES and str(value) not in CHOICES[name]:
                    raise ValueError(f"it is one of {', '.join(CHOICES[name])}")
                return str(value)
    except (TypeError, ValueError) as error:
        raise BadSetting(f"the setting {name} cannot be {value!r}: {error}") from error


def _checked_devices(names: tuple[str, ...]) -> tuple[str, ...]:
    """Raises `ValueError` for a name that is not a device; no engine would use a GPU by it."""
    if wrong := [name for name in names if name != "auto" and not DEVICE.fullmatch(name)]:
        raise ValueError(f"{wrong[0]!r} is not a device; use auto, or cpu, cuda:0, cuda:1 ...")
    if "auto" in names and len(names) > 1:
        raise ValueError("auto stands alone, for every card or else the cpu")
    return names
