"""The LoRAs of a models folder by name, and the users that may name them. No import is heavy: the daemon asks too.

`loras/users.toml` lists the users of a LoRA, as `harbour = ["ana", "ben"]`. Every user may name one without a list.
The same holds for the LoRAs of the engine `ltx` in their own folder.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from voidbridge_protocol.errors import BadLora

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = "loras"
LTX_FOLDER = "LTX-2-loras"
"""Folders in the models folder."""
ENDING = ".safetensors"
USERS = "users.toml"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MOST_BYTES = 1 << 20
"""Bytes of the list of users."""


def names(models: Path, folder: str = FOLDER) -> list[str]:
    """Returns the names of all LoRAs in a models folder. A file with another name than `NAME` is left out."""
    found = (path.stem for path in (models / folder).glob(f"*{ENDING}"))
    return sorted(name for name in found if NAME.fullmatch(name))


def users(models: Path, folder: str = FOLDER) -> dict[str, frozenset[str]]:
    """Returns the users of each LoRA that has a list. Raises `BadLora` if the file of lists cannot be read."""
    path = models / folder / USERS
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES} bytes")
        found: dict[str, Any] = tomllib.loads(data.decode())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(folder, str(error)) from error
    for name, listed in found.items():
        if not isinstance(listed, list) or not all(isinstance(user, str) for user in listed):
            raise _unreadable(folder, f"{name} has no list of users")
    return {name: frozenset(listed) for name, listed in found.items()}


def names_for(models: Path, user: str, folder: str = FOLDER) -> list[str]:
    """Returns the names that `user` may use. Raises `BadLora` if the lists of users cannot be read."""
    listed = users(models, folder)
    return [name for name in names(models, folder) if name not in listed or user in listed[name]]


def open_names(models: Path) -> list[str]:
    """Returns the names that every user may use. Raises `BadLora` if the lists of users cannot be read."""
    listed = users(models)
    return [name for name in names(models) if name not in listed]


def absent(name: str, known: Iterable[str], folder: str = FOLDER) -> BadLora:
    """Returns the error for a name that is not there, or not for its user: both read the same."""
    hint = "Ask the daemon's administrator for a name."
    if folder == FOLDER:
        hint = "Give a file of your own with --lora FILE, or ask the daemon's administrator for a name."
    return BadLora(
        f"the daemon's models folder has no LoRA {name[:80]!r}; it has {', '.join(known) or 'none'}",
        hint,
    )


def _unreadable(folder: str, reason: str) -> BadLora:
    return BadLora(
        f"nobody may use a LoRA by its name, because {folder}/{USERS} cannot be read: {reason}",
        'The administrator writes it as: NAME = ["USER", "USER"].',
    )
