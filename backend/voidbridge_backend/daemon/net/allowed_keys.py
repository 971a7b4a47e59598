"""The daemon's own key, and the list of client keys that it allows, with their users.

The list is a file of lines `USER KEY` or `USER KEY admin`. It is checked for every message, so a change applies
from the next message on, on open connections too.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from voidbridge_protocol.errors import BadKey
from voidbridge_protocol.transfer.atomic_files import publish, temporary
from voidbridge_protocol.wire import keys
from voidbridge_protocol.wire.keys import DAEMON, KEY_FILES, Pair

from .endpoints import Endpoints

log = logging.getLogger(__name__)

FILE = "allowed"
"""Name of the list in the folder of keys."""
USER = re.compile(r"[\w.@+-]{1,64}")
MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Identity:
    """The user of a key. `admin` sees, fetches and cancels everybody's jobs."""

    user: str
    key: str
    admin: bool = False

    def __str__(self) -> str:
        return f"{self.user} {self.key}{' admin' if self.admin else ''}"


NO_KEY = Identity("", "", admin=True)
"""Identity of a client on an address without keys. Such a client names its user itself."""


class AllowList:
    """The current list in the file `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._identities: dict[str, Identity] = {}

    def identity(self, key: str) -> Identity | None:
        """Returns the user of this key; None for one that is not, or no longer, on the list."""
        self._refresh()
        return self._identities.get(key)

    def __len__(self) -> int:
        self._refresh()
        return len(self._identities)

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
            seen: tuple[int, ...] = (
                status.st_mtime_ns,
                status.st_size,
                status.st_ino,
                status.st_mode,
            )
        except OSError:
            seen = ()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._identities = {identity.key: identity for identity in identities(self._path)}
        except BadKey as error:  # nobody, rather than the users of a list that is no longer trusted
            self._identities = {}
            log.error("no key is allowed: %s", error.text)
        else:
            log.info("%d keys are allowed by %s", len(self._identities), self._path)


@dataclass(frozen=True)
class Auth:
    """The daemon's keys for authentication."""

    own: Pair
    allowed: AllowList


def auth_of(addresses: Endpoints, folder: Path, required: bool) -> Auth | None:
    """Returns the authentication; None if only this machine can reach the address and keys are not `required`.

    Raises `BadKey` if there is no key for an address that other machines can reach.
    """
    if not (addresses.is_open or (required and addresses.control.startswith("tcp://"))):
        return None
    try:
        own = keys.read(folder / KEY_FILES[DAEMON])
        allowed = AllowList(folder / FILE)
        list(identities(folder / FILE))
    except BadKey as error:
        raise BadKey(
            f"{addresses.control} needs keys, and {error.text}",
            f"{error.hint} Then allow each user's: voidbridge keys allow USER KEY. "
            "Without keys a daemon listens on 127.0.0.1 or ipc://PATH.",
        ) from error
    if not len(allowed):
        log.warning("no key is allowed yet; add one with: voidbridge keys allow USER KEY")
    return Auth(own, allowed)


def identities(path: Path) -> Iterator[Identity]:
    """Yields the keys of a list, each once; an absent list has none. Invalid lines are logged.

    Raises `BadKey` if the file cannot be read, or if others can write it.
    """
    seen: set[str] = set()
    for number, line in enumerate(_lines(path), 1):
        entry = _entry(line)
        if entry and entry.key not in seen:
            seen.add(entry.key)
            yield entry
        elif entry or line.split("#")[0].strip():
            log.warning("%s, line %d is skipped: %s", path, number,
                        "duplicate key" if entry else "it is not USER KEY")  # fmt: skip


def allow(path: Path, identity: Identity) -> None:
    """Adds a key. Raises `BadKey` if the name is invalid or the key is on the list."""
    if not USER.fullmatch(identity.user):
        raise BadKey(
            f"{identity.user[:80]!r} is not a valid user name",
            "Use up to 64 letters, digits, dots, dashes, @ and +.",
        )
    for known in identities(path):
        if known.key == identity.key:
            raise BadKey(
                f"this key is allowed already, as that of {known.user}",
                "To change that, revoke it first: voidbridge keys revoke KEY",
            )
    _write(path, [*_lines(path), str(identity)])


def revoke(path: Path, user_or_key: str) -> list[Identity]:
    """Removes a key, or all keys of a user, and returns them. Raises `BadKey` if there is none."""
    gone, kept = [], []
    for line in _lines(path):
        entry = _entry(line)
        if entry and user_or_key in (entry.key, entry.user):
            gone.append(entry)
        else:
            kept.append(line)
    if not gone:
        raise BadKey(
            f"no key of {user_or_key[:80]!r} is allowed",
            "`voidbridge keys list` shows all allowed keys.",
        )
    _write(path, kept)
    return gone


def _entry(line: str) -> Identity | None:
    words = line.split()
    if (len(words) == 3 and words[2] != "admin") or not 2 <= len(words) <= 3:
        return None
    if line.startswith("#") or not (USER.fullmatch(words[0]) and keys.Z85.fullmatch(words[1])):
        return None
    return Identity(words[0], words[1], len(words) == 3)


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            text = file.read(MOST_BYTES + 1).decode()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise BadKey(f"the list of allowed keys {path} cannot be read: {error}") from error
    if os.name == "posix" and (
        stat.S_IMODE(status.st_mode) & 0o022 or status.st_uid not in (os.geteuid(), 0)
    ):
        raise BadKey(
            f"other users of this machine can write the list of allowed keys {path}",
            f"Check it, then run: chown {os.geteuid()} {path}; chmod 600 {path}",
        )
    if len(text) > MOST_BYTES:
        raise BadKey(f"the list of allowed keys {path} is longer than {MOST_BYTES} bytes")
    return text.splitlines()


def _write(path: Path, lines: list[str]) -> None:
    """Writes atomically: a daemon that reads meanwhile sees the old list or the new one."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary(path).unlink(missing_ok=True)
        file = os.open(temporary(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(file, "w", encoding="utf-8") as text:
            text.writelines(f"{line}\n" for line in lines)
            text.flush()
            os.fsync(file)
    except OSError as error:
        raise BadKey(f"the list of allowed keys {path} cannot be written: {error}") from error
    publish(path)
