"""Opens a client of the chosen daemon, or of a temporary one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from voidbridge_backend.config import Config
from voidbridge_protocol import __version__
from voidbridge_protocol.client import Client
from voidbridge_protocol.transfer.shared_files import is_text
from voidbridge_protocol.wire.keys import Keys

from . import local_daemon

DEFAULT_DAEMON = Config().listen


@dataclass(frozen=True)
class ClientOptions:
    """The daemon to use, and the client's identity."""

    address: str
    """Empty: a local daemon if there is a `config` for it, otherwise the default address."""
    user: str
    config: Config | None = None
    keys: Keys | None = None

    @property
    def is_local(self) -> bool:
        """True for a temporary local daemon."""
        return not self.address and self.config is not None

    def sharing(self, folders: Iterable[Path]) -> ClientOptions:
        """Shares these folders with a local daemon, which has only this user's rights."""
        if self.config is None or not self.is_local or os.name != "posix":
            return self
        paths = (os.path.abspath(folder) for folder in folders)
        ours = (path for path in paths if "=" not in path and is_text(path))
        shares = dict.fromkeys((*self.config.shares, *ours))
        listable = tuple(
            share for share in shares if "," not in share
        )  # a comma would split the list
        return replace(self, config=replace(self.config, shares=listable))


@contextlib.contextmanager
def open_client(client_options: ClientOptions) -> Iterator[Client]:
    software = f"voidbridge {__version__}"
    if client_options.address or client_options.config is None:
        address = client_options.address or DEFAULT_DAEMON
        with Client(
            address, user=client_options.user, software=software, keys=client_options.keys
        ) as client:
            yield client
        return
    with (
        local_daemon.daemon(client_options.config) as address,
        Client(address, user=client_options.user, software=software, reconnect=5.0) as client,
    ):
        yield client
