"""The command `keys`: make, show, allow and revoke keys; and the keys of a client."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from voidbridge_backend.config import Config
from voidbridge_backend.daemon.net import allowed_keys
from voidbridge_backend.daemon.net.allowed_keys import Identity
from voidbridge_protocol.errors import BadKey
from voidbridge_protocol.wire import keys
from voidbridge_protocol.wire.keys import CLIENT, DAEMON, KEY_FILES, Keys

ACTIONS_HELP = """\
actions:
list               show the keys that this machine's daemon allows (default)
make               create your own key; `make daemon` creates the daemon's
show               print your own public key; `show daemon` prints the daemon's
allow USER KEY     allow this key, as that user
revoke USER|KEY    no longer allow this key, or any key of this user
Public keys may be shown to anybody. Quote them, because they contain special characters.
"""


@dataclass(frozen=True)
class KeyCommand:
    """The parsed arguments."""

    action: str
    name: str = ""
    key: str = ""
    admin: bool = False
    replace: bool = False


def parsed(options: argparse.Namespace) -> KeyCommand:
    return KeyCommand(options.action, options.name, options.key, options.admin, options.replace)


def execute(command: KeyCommand, folder: Path, as_json: bool) -> None:
    """Runs an action on the keys in `folder`. Prints keys on standard output, text on standard error. Raises
    `BadKey`.
    """
    match command:
        case KeyCommand("make", "" | "client" | "daemon" as whose, ""):
            _make(whose or CLIENT, folder, command.replace)
            _show(whose or CLIENT, folder, as_json)
        case KeyCommand("show", "" | "client" | "daemon" as whose, ""):
            _show(whose or CLIENT, folder, as_json)
        case KeyCommand("allow", user, key) if user and key:
            identity = Identity(user, keys.checked(key, "KEY"), command.admin)
            allowed_keys.allow(folder / allowed_keys.FILE, identity)
            _print_message(
                f"{user} is allowed with this key{', as an admin' if identity.admin else ''}"
            )
        case KeyCommand("revoke", who, "") if who:
            for identity in allowed_keys.revoke(folder / allowed_keys.FILE, who):
                _print_message(f"{identity.user} is no longer allowed with {identity.key}")
        case KeyCommand("list", "", ""):
            _list(folder, as_json)
        case _:
            typed = " ".join(word for word in (command.action, command.name, command.key) if word)
            raise BadKey(
                f"keys cannot {typed[:60]!r}", "`voidbridge keys --help` lists the actions."
            )


def client_keys(config: Config, address: str) -> Keys | None:
    """Returns a client's keys for this address; None for a Unix socket, or if no daemon key is given."""
    if not config.server_key or not address.startswith("tcp://"):
        return None
    daemon = keys.checked(
        config.server_key, "the daemon's key, --server-key or the setting server_key,"
    )
    return Keys(keys.read(config.keys / KEY_FILES[CLIENT]), daemon)


def _make(owner: str, folder: Path, replace: bool) -> None:
    path = folder / KEY_FILES[owner]
    keys.write(path, keys.make(), replace=replace)
    _print_message(f"the secret key is {path}; it never leaves this machine")
    if owner == DAEMON:
        _print_message(
            "clients give it with --server-key; allow each of them: voidbridge keys allow USER KEY"
        )
    else:
        _print_message("show the public key to the daemon's administrator:")


def _show(owner: str, folder: Path, as_json: bool) -> None:
    public = keys.read(folder / KEY_FILES[owner]).public
    if as_json:
        print(json.dumps({"whose": owner, "key": public}))
        return
    print(public)
    if public != shlex.quote(public):
        _print_message(f"in a shell: {shlex.quote(public)}")


def _list(folder: Path, as_json: bool) -> None:
    found = list(allowed_keys.identities(folder / allowed_keys.FILE))
    for identity in found:
        what = {"user": identity.user, "key": identity.key, "admin": identity.admin}
        print(json.dumps(what) if as_json else identity)
    if not found:
        _print_message(f"{folder / allowed_keys.FILE} allows no keys")


def _print_message(text: str) -> None:
    sys.stderr.write(f"{text}\n")
