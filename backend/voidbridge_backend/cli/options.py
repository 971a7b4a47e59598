"""Turns CLI arguments, environment variables and the config file into option objects.

Only this module reads the environment.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from pathlib import Path
from typing import Any

from voidbridge_backend.config import Config, Setting, resolve
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.shared_files import is_text

from . import commands
from . import keys as key_commands

CONFIG_FILE = Path("~/.config/voidbridge/config.toml")


def review(options: argparse.Namespace) -> commands.ReportOptions:
    names = ("color_space", "matte_kind", "threshold", "grow", "soften")
    chosen = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return commands.ReportOptions(
        options.result, options.plate, options.matte, options.affected, options.truth, chosen
    )


def shot(options: argparse.Namespace) -> commands.ShotOptions:
    """Raises `BadSetting`."""
    for name in ("prompt", "color_space", "engine"):
        _check_text(f"--{name.replace('_', '-')}", getattr(options, name))
    return commands.ShotOptions(
        plate=options.plate,
        matte=options.matte,
        affected=options.affected,
        frames=options.frames,
        handles=_handles(options),
        settings=RemoveSettings(
            engine=options.engine,
            prompt=options.prompt,
            seed=options.seed,
            quality=options.quality,
            steps=options.steps,
            passes=options.passes,
            matte_kind=options.matte_kind,
            matte_color=options.matte_color,
            threshold=options.threshold,
            grow=options.grow,
            soften=options.soften,
            color_space=options.color_space,
            region=options.region,
            detail=options.detail,
            grain=options.grain,
            grain_amount=options.grain_amount,
            result_layer=options.result_layer,
            layer=options.layer,
            matte_channel=options.matte_channel,
            affected_channel=options.affected_channel,
            allow_full_matte=options.allow_full_matte,
        ),
        priority=options.priority,
        force=options.force,
    )


def _user(options: argparse.Namespace) -> str:
    name: str = options.user or getpass.getuser()
    _check_text("--user", name)
    return name


def _check_text(option: str, text: str) -> None:
    """Raises `BadSetting` for bytes that are no UTF-8: a message cannot carry them."""
    if not is_text(text):
        shown = text.encode("utf-8", "backslashreplace").decode()
        raise BadSetting(f"{option} is no UTF-8 text: {shown}", "Type it in a UTF-8 terminal.")


def _handles(options: argparse.Namespace) -> int | None:
    """None for `auto`. Frames from standard input have no other frames beside them. Raises `BadSetting`."""
    text = options.handles.strip()
    if text == "auto":
        return 0 if getattr(options, "frames_from_stdin", False) else None
    if not text.isdecimal():
        raise BadSetting(
            f"the handles {text!r} are neither auto nor a number of frames",
            "Write --handles auto, or a number from 0 on.",
        )
    return int(text)


def client(options: argparse.Namespace) -> commands.ClientOptions:
    found, embedded = config(options)[0], hasattr(options, "spool")
    address = options.daemon or os.environ.get("VOIDBRIDGE_DAEMON", "")
    return commands.ClientOptions(
        address=address,
        user=_user(options),
        config=found if embedded else None,
        keys=key_commands.client_keys(
            found, address or ("" if embedded else commands.DEFAULT_DAEMON)
        ),
    )


def config(options: argparse.Namespace) -> tuple[Config, list[Setting]]:
    """Returns the settings: defaults, the file, VOIDBRIDGE_* variables, the command line."""
    file: dict[str, Any] = {}
    named = getattr(options, "config", None)
    path = Path(named) if named else CONFIG_FILE.expanduser()
    if named or path.is_file():
        file = toml(path)
    environ = {name: value for name, value in os.environ.items() if name != "VOIDBRIDGE_DAEMON"}
    names = Config.__dataclass_fields__
    flags = {
        name: value for name, value in vars(options).items() if name in names and value is not None
    }
    found, listed = resolve(file, environ, flags)
    if not found.ocio and os.environ.get("OCIO"):
        return resolve({**file, "ocio": os.environ["OCIO"]}, environ, flags)
    return found, listed


def variable(name: str) -> str:
    """Returns an environment variable; empty if it is not set."""
    return os.environ.get(name, "")


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
