"""Keys: who a client is, and how it knows its daemon. CURVE of ZeroMQ (RFC 26), as 40 characters of Z85 (RFC 32).

A secret key lies in a file that only its owner can read, and is never part of a command line, a message or a log;
the public key is made from it and may be shown to anybody.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from .errors import BadKey

CLIENT, DAEMON = "client", "daemon"
KEY_FILES = {CLIENT: "client.key", DAEMON: "daemon.key"}
"""The names of secret keys below a folder of keys."""

ADDED = 33
"""Bytes by which CURVE makes each frame longer (RFC 26, the command MESSAGE): sockets have to let them pass."""

Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
LINE = re.compile(r'secret-key = "(.*)"')
TEXT = """\
# A secret key of Voidbridge. Who can read this file can act in the name of its owner: do not copy it.
secret-key = "{secret}"
"""


@dataclass(frozen=True)
class Pair:
    """A public key and its secret one."""

    public: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Keys:
    """What a client needs for a daemon that asks for keys."""

    own: Pair
    daemon: str
    """The daemon's public key: whoever else answers at its address is not spoken to."""


def make() -> Pair:
    """A new pair. Its public key begins with a letter or digit, so that no command takes it for an option."""
    while True:
        public, secret = (key.decode() for key in zmq.curve_keypair())
        if public[0].isalnum():
            return Pair(public, secret)


def checked(text: str, what: str) -> str:
    """A public key as it was typed. Raises `BadKey`, calling it `what`."""
    if not Z85.fullmatch(text):
        # What was pasted by mistake may be a secret: it is not repeated.
        raise BadKey(f"{what} is no key: {len(text)} characters where there should be 40 of Z85")
    return text


def read(path: Path) -> Pair:
    """The pair in this file. Raises `BadKey` for one that is missing, damaged, or open to others."""
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
    """A new file for a pair, 0600 in a folder that is made 0700.

    Raises `BadKey` where one is already, unless it is to `replace` that.
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
            "`voidbridge keys show` shows its public key; --replace makes another.",
        ) from error
    except OSError as error:
        raise BadKey(f"the key {path} cannot be written: {error.strerror}") from error


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it. A name is trusted only if it is `localhost`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def are_needed(address: str) -> bool:
    """Whether what is said to this address passes a network, where it goes with keys or not at all."""
    host = address.removeprefix("tcp://").rpartition(":")[0]
    return address.startswith("tcp://") and bool(host) and not is_loopback(host)


def _must_be_private(path: Path, status: os.stat_result) -> None:
    if os.name != "posix":
        return  # its folder is below the user's own, and its rights are not told in these bits
    if not stat.S_ISREG(status.st_mode):
        raise BadKey(f"the secret key {path} is no file")
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
