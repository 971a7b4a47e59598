"""The command `keys`: what is made, shown, allowed and revoked, and with which keys a client speaks."""

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
from voidbridge_protocol import keys
from voidbridge_protocol.errors import BadKey
from voidbridge_protocol.keys import CLIENT, DAEMON, KEY_FILES, Keys

ACTIONS_HELP = """\
actions: list (default)     whom this machine's daemon lets in
         make               your own key; `make daemon` is the daemon's
         show               your own public key; `show daemon` is the daemon's
         allow USER KEY     let in who has this key, as that user
         revoke USER|KEY    let this key, or any of this user, in no more

Public keys may be shown to anybody. Put quotes around them: they have all kinds of characters.
"""


@dataclass(frozen=True)
class KeyCommand:
    """What was typed."""

    action: str
    name: str = ""
    key: str = ""
    admin: bool = False
    replace: bool = False


def parsed(options: argparse.Namespace) -> KeyCommand:
    return KeyCommand(options.action, options.name, options.key, options.admin, options.replace)


def execute(order: KeyCommand, folder: Path, as_json: bool) -> None:
    """Does it to the keys in `folder`; keys go to standard output, words to standard error. Raises `BadKey`."""
    match order:
        case KeyCommand("make", "" | "client" | "daemon" as whose, ""):
            _make(whose or CLIENT, folder, order.replace)
            _show(whose or CLIENT, folder, as_json)
        case KeyCommand("show", "" | "client" | "daemon" as whose, ""):
            _show(whose or CLIENT, folder, as_json)
        case KeyCommand("allow", user, key) if user and key:
            identity = Identity(user, keys.checked(key, "KEY"), order.admin)
            allowed_keys.allow(folder / allowed_keys.FILE, identity)
            _say(f"{user} is let in with this key{', as an admin' if identity.admin else ''}")
        case KeyCommand("revoke", who, "") if who:
            for identity in allowed_keys.revoke(folder / allowed_keys.FILE, who):
                _say(f"{identity.user} is not let in any more with {identity.key}")
        case KeyCommand("list", "", ""):
            _list(folder, as_json)
        case _:
            typed = " ".join(word for word in (order.action, order.name, order.key) if word)
            raise BadKey(
                f"keys cannot {typed[:60]!r}", "`voidbridge keys --help` lists the actions."
            )


def client_keys(config: Config, address: str) -> Keys | None:
    """What a client needs at this address; None for a Unix socket, and where no daemon's key is named."""
    if not config.server_key or not address.startswith("tcp://"):
        return None
    daemon = keys.checked(
        config.server_key, "the daemon's key, --server-key or the setting server_key,"
    )
    return Keys(keys.read(config.keys / KEY_FILES[CLIENT]), daemon)


def _make(whose: str, folder: Path, replace: bool) -> None:
    path = folder / KEY_FILES[whose]
    keys.write(path, keys.make(), replace=replace)
    _say(f"the secret key is {path}; it never leaves this machine")
    if whose == DAEMON:
        _say(
            "clients name it with --server-key; let each of them in: voidbridge keys allow USER KEY"
        )
    else:
        _say("show the public key to whoever runs the daemon:")


def _show(whose: str, folder: Path, as_json: bool) -> None:
    public = keys.read(folder / KEY_FILES[whose]).public
    if as_json:
        print(json.dumps({"whose": whose, "key": public}))
        return
    print(public)
    if public != shlex.quote(public):
        _say(f"in a shell: {shlex.quote(public)}")


def _list(folder: Path, as_json: bool) -> None:
    found = list(allowed_keys.identities(folder / allowed_keys.FILE))
    for identity in found:
        what = {"user": identity.user, "key": identity.key, "admin": identity.admin}
        print(json.dumps(what) if as_json else identity)
    if not found:
        _say(f"{folder / allowed_keys.FILE} lets nobody in")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
