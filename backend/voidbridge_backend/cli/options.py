"""Turns CLI arguments, environment variables and the config file into option objects.

Only this module reads the environment.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from voidbridge_backend.client.daemon_client import DEFAULT_DAEMON, ClientOptions
from voidbridge_backend.client.submission import Submission
from voidbridge_backend.config import Config, Setting, resolve
from voidbridge_backend.engines import registry
from voidbridge_backend.sequences.found import find, numbered_from, paired
from voidbridge_backend.sequences.patterns import FrameRange, ListedFiles, Sequence
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.remove import RemoveSettings

from . import keys as key_commands
from . import painted
from .setting_options import check_text, settings_of

HOLE_SETTINGS = ("color_space", "matte_kind", "threshold", "grow", "soften")
"""Settings that shape the hole; `report` takes them too."""
ALL_FRAMES = 1_000_000
"""A number of handles that reaches over every plate."""
CONFIG_FILE = Path("~/.config/voidbridge/config.toml")

CLIENT_VARIABLES = {
    "VOIDBRIDGE_DAEMON",
    "VOIDBRIDGE_ASK_URL",
    "VOIDBRIDGE_ASK_MODEL",
    "VOIDBRIDGE_ASK_KEY",
    "VOIDBRIDGE_C2PA_KEY",
    "VOIDBRIDGE_C2PA_CERTIFICATES",
}
"""Variables of clients, not settings: the daemon's address, a language model's endpoint, signing keys."""


def config(options: argparse.Namespace) -> tuple[Config, list[Setting]]:
    """Returns the settings: defaults, the file, VOIDBRIDGE_* variables, the command line."""
    file: dict[str, Any] = {}
    named = getattr(options, "config", None)
    path = Path(named) if named else CONFIG_FILE.expanduser()
    if named or path.is_file():
        file = toml(path)
    environ = {name: value for name, value in os.environ.items() if name not in CLIENT_VARIABLES}
    names = Config.__dataclass_fields__
    flags = {
        name: value for name, value in vars(options).items() if name in names and value is not None
    }
    found, listed = resolve(file, environ, flags)
    if not found.ocio and os.environ.get("OCIO"):
        return resolve({**file, "ocio": os.environ["OCIO"]}, environ, flags)
    return found, listed


def toml(path: Path) -> dict[str, Any]:
    """Reads a settings file. Raises `BadSetting`."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise BadSetting(f"the settings in {path} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"the settings in {path} are not valid TOML: {error}") from error


def variable(name: str) -> str:
    """Returns an environment variable; empty if it is not set."""
    return os.environ.get(name, "")


def client(options: argparse.Namespace) -> ClientOptions:
    """Returns the daemon, user and keys of a client. Without an address it may start a local daemon."""
    found, local = config(options)[0], hasattr(options, "spool")
    address = options.daemon or os.environ.get("VOIDBRIDGE_DAEMON", "")
    return ClientOptions(
        address=address,
        user=_user(options),
        config=found if local else None,
        keys=key_commands.client_keys(found, address or ("" if local else DEFAULT_DAEMON)),
    )


def _user(options: argparse.Namespace) -> str:
    name: str = options.user or getpass.getuser()
    check_text("--user", name)
    return name


def removal(options: argparse.Namespace) -> Submission:
    """The job of `run` and `submit`. Raises `BadPattern`, `BadSetting`."""
    plate = plate_of(options)
    mattes = {
        role: beside(find(text), plate, options.matte_start)
        for role in ("matte", "affected")
        if (text := getattr(options, role))
    }
    settings, loras = sent_loras(removal_settings(options))
    return Submission(
        {
            "plate": plate,
            **mattes,
            **painted.clean_files(options.clean or []),
            **loras,
            **_survey_file(options),
        },
        settings,
        frames=FrameRange.parse(options.frames) if options.frames else None,
        handles=handles_of(options),
        priority=getattr(options, "priority", 0),
        force=getattr(options, "force", False),
    )


def removal_settings(options: argparse.Namespace) -> RemoveSettings:
    """The settings of `run` and `farm`. Raises `BadSetting`."""
    return settings_of(options, RemoveSettings)


def plate_of(options: argparse.Namespace) -> Sequence:
    """The plate under the numbers that --plate-start gives it. Raises `BadPattern`."""
    plate = find(options.plate)
    return plate if options.plate_start is None else numbered_from(plate, options.plate_start)


def beside(found: Sequence, plate: Sequence, first: int | None) -> Sequence:
    """A matte or a hint under the plate's numbers, or from `first` on."""
    return paired(found, plate) if first is None else numbered_from(found, first)


def handles_of(options: argparse.Namespace) -> int | None:
    """Returns the typed number of handles; None for `auto`, and all frames with a survey.

    Frames from standard input have no other frames beside them. Raises `BadSetting`.
    """
    text = options.handles.strip()
    if text == "auto":
        if getattr(options, "frames_from_stdin", False):
            return 0
        return ALL_FRAMES if getattr(options, "survey", None) else None
    if not text.isdecimal():
        raise BadSetting(
            f"the handles {text!r} are neither auto nor a number of frames",
            "Write --handles auto, or a number from 0 on.",
        )
    return int(text)


def sent_loras(settings: RemoveSettings) -> tuple[RemoveSettings, dict[str, Sequence]]:
    """Returns `settings` with `@1` in place of the first LoRA file, and the files by their role.

    A name of a LoRA in the daemon's folder stays.

    Raises `BadSetting` for a file that does not exist, or that the engine has no use for.
    """
    paths: list[Path] = []
    words = []
    for name, strength in settings.loras:
        path = Path(name).expanduser()
        if path.suffix or len(path.parts) > 1:
            if not path.is_file():
                raise BadSetting(f"there is no LoRA file {path}", "Check the name after --lora.")
            paths.append(path)
            name = f"@{len(paths)}"
        words.append(f"{name}:{strength:g}")
    engine = registry.available().get(("remove", settings.engine)) if paths else None
    if engine and not engine.takes_loras:
        raise BadSetting(
            f"the engine {settings.engine} takes no LoRA, so {paths[0]} is not sent",
            "Choose the engine void, or leave --lora out.",
        )
    files: dict[str, Sequence] = (
        {"lora": ListedFiles.of(dict(enumerate(paths, 1)))} if paths else {}
    )
    return replace(settings, lora=",".join(words)), files


def _survey_file(options: argparse.Namespace) -> dict[str, Sequence]:
    text = getattr(options, "survey", None)
    if not text:
        return {}
    path = Path(text).expanduser()
    if not path.is_file():
        raise BadSetting(f"there is no survey {path}", "Make it with `voidbridge survey`.")
    return {"survey": ListedFiles.of({1: path})}


def report_files(options: argparse.Namespace) -> dict[str, Sequence]:
    """The sequences that `report` measures, by name, under the numbers of the plate. Raises `BadPattern`."""
    plate = plate_of(options)
    starts = {"matte": options.matte_start, "affected": options.matte_start}
    others = {
        name: beside(find(text), plate, starts.get(name))
        for name in ("result", "matte", "affected", "truth")
        if (text := getattr(options, name))
    }
    return {"plate": plate, **others}


def report_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that were typed. The others are those with which the result was made."""
    return {name: value for name in HOLE_SETTINGS if (value := getattr(options, name)) is not None}
