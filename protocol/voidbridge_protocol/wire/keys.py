"""Keys that identify clients and daemons: CURVE of ZeroMQ (RFC 26), as 40 characters of Z85 (RFC 32).

A secret key is stored in a file that only its owner can read. It never appears in a command line, message or log.
The public key is derived from it and may be shown to anyone.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from voidbridge_protocol.errors import BadKey

CLIENT, DAEMON = "client", "daemon"
KEY_FILES = {CLIENT: "client.key", DAEMON: "daemon.key"}
"""File names of secret keys inside a folder of keys."""

ADDED = 33
"""Bytes that CURVE adds to each frame (RFC 26, the command MESSAGE). Socket limits have to allow for them."""

Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
LINE = re.compile(r'secret-key = "(.*)"')
TEXT = """\
# A secret key of Voidbridge. Anyone who can read this file can act as its owner: do not copy it.
secret-key = "{secret}"
"""


@dataclass(frozen=True)
class Pair:
    """A public key and its secret key."""

    public: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Keys:
    """The keys that a client needs for a daemon with authentication."""

    own: Pair
    daemon: str
    """The daemon's public key. The client connects to no other daemon at this address."""


def make() -> Pair:
    """Returns a new pair. Its public key begins with a letter or digit, so no command reads it as an option."""
    while True:
        public, secret = (key.decode() for key in zmq.curve_keypair())
        if public[0].isalnum():
            return Pair(public, secret)


def checked(text: str, name: str) -> str:
    """Checks a public key from the command line. Raises `BadKey`, which calls the key `what`."""
    if not Z85.fullmatch(text):
        # The text may be a secret, pasted by mistake, so the error does not repeat it.
        raise BadKey(f"{name} is not a key: {len(text)} characters where there should be 40 of Z85")
    return text


def read(path: Path) -> Pair:
    """Reads a key pair. Raises `BadKey` if the file is missing, damaged or readable by others."""
    try:
        with path.open("rb") as file:
            _must_be_private(path, os.fstat(file.fileno()))
            text = file.read(4096).decode("ascii", "replace")
    except FileNotFoundError as error:
        who = f" {DAEMON}" if path.name == KEY_FILES[DAEMON] else ""
        raise BadKey(
            f"there is no secret key {path}", f"Make one with: voidbridge keys make{who}"
        ) from error
    except OSError as error:
        raise BadKey(f"the secret key {path} cannot be read: {error.strerror}") from error
    found = [match for line in text.splitlines() if (match := LINE.fullmatch(line.strip()))]
    if len(found) != 1 or not Z85.fullmatch(secret := found[0][1]):
        raise BadKey(f"{path} holds no secret key", "Move it away and make a new one.")
    return Pair(zmq.curve_public(secret.encode()).decode(), secret)


def write(path: Path, pair: Pair, *, replace: bool = False) -> None:
    """Writes a new key file with mode 0600 in a folder with mode 0700.

    Raises `BadKey` if the file exists, unless `replace` is on.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if replace:
            path.unlink(missing_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(file, "w", encoding="ascii") as text:
            text.write(TEXT.format(secret=pair.secret))
            text.flush()
            os.fsync(file)
    except FileExistsError as error:
        raise BadKey(
            f"there is a secret key in {path} already",
            "`voidbridge keys show` shows its public key; --replace creates a new key.",
        ) from error
    except OSError as error:
        raise BadKey(f"the key {path} cannot be written: {error.strerror}") from error


def is_loopback(host: str) -> bool:
    """Returns True if only this machine can reach the host. The only trusted name is `localhost`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def are_needed(address: str) -> bool:
    """Returns True if messages to this address cross a network and therefore need keys."""
    host = address.removeprefix("tcp://").rpartition(":")[0]
    return address.startswith("tcp://") and bool(host) and not is_loopback(host)


def _must_be_private(path: Path, status: os.stat_result) -> None:
    if os.name != "posix":
        return  # Windows: the folder is in the user's profile, and these mode bits do not show its permissions
    if not stat.S_ISREG(status.st_mode):
        raise BadKey(f"the secret key {path} is not a file")
    if status.st_uid not in (os.geteuid(), 0):
        raise BadKey(
            f"the secret key {path} belongs to another user", f"Run: chown {os.geteuid()} {path}"
        )
    if open_to := stat.S_IMODE(status.st_mode) & 0o077:
        raise BadKey(
            f"the secret key {path} can be reached by other users of this machine "
            f"(its mode is {stat.S_IMODE(status.st_mode):04o}, {open_to:03o} too much)",
            f"Run: chmod 600 {path}. If others may have read it, make a new one.",
        )
