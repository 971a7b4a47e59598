"""Serves the page on a port of this machine, until it is stopped."""

from __future__ import annotations

import asyncio
import html
import socket
import webbrowser
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from voidbridge_backend.temporary_folders import temporary_folder
from voidbridge_protocol.client import Client
from voidbridge_protocol.errors import BadSetting

from .access import Access
from .app import application
from .child_commands import ChildCommands
from .context import PageContext
from .daemon_link import DaemonLink
from .folders import Folders
from .forms import JobForms, OptionInfo
from .player.pictures import Pictures
from .player.shots import ShotReader

LOOPBACK = "127.0.0.1"
KEEP_ALIVE_S = 30
MAX_CONNECTIONS = 128
"""Connections at once; the oldest idle one makes room, or the oldest of all if none is idle."""
STOP_S = 2
"""Seconds that open streams may take to end."""


@dataclass(frozen=True)
class PageOptions:
    """How the page is served."""

    address: str
    """The daemon's."""
    daemon_words: Sequence[str]
    """Options of the command line that name the daemon and the user."""
    folders: Iterable[Path]
    forms: Mapping[str, Iterable[OptionInfo]]
    """Words and options of each command that the page starts."""
    port: int = 0
    """0: any free one."""
    is_opened: bool = False
    """Whether a browser is opened."""
    page: str = "/"
    """The page that the link leads to."""
    ocio: str = ""
    """The OpenColorIO config for the player; empty: the built-in one."""
    endpoint: str = ""
    """The language model that can be asked, for people; empty without one."""


def serve(
    options: PageOptions, connect: Callable[[], Client], on_link: Callable[[str], None]
) -> None:
    """Serves until SIGINT or SIGTERM. `on_link` gets each link, which works once.

    Raises `BadSetting` if the port is taken.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(_listener(options.port))
        port = listener.getsockname()[1]

        def announce() -> None:
            token = access.token()
            on_link(f"http://{LOOPBACK}:{port}/enter?token={token}&to={quote(options.page)}")

        access = Access(on_used=announce)
        folders = Folders(options.folders)
        context = PageContext(
            access,
            f"voidbridge-{port}",
            DaemonLink(connect),
            folders,
            ChildCommands(options.daemon_words),
            Pictures(ShotReader(folders, options.ocio)),
            options.address,
            JobForms(options.forms),
            options.endpoint,
        )
        server = uvicorn.Server(
            uvicorn.Config(
                application(context, port),
                log_level="error",
                access_log=False,
                ws="none",
                loop="asyncio",
                http=BoundedConnection,
                lifespan="on",
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_S,
            )
        )
        announce()
        if options.is_opened:
            _open(stack, f"http://{LOOPBACK}:{port}/enter?token={access.token()}&to={options.page}")
        server.run(sockets=[listener])


class BoundedConnection(H11Protocol):
    """A connection that makes room for new ones, the oldest first, idle ones before busy ones.

    Any program of this machine can connect and say nothing. Without a bound it would use up all open files.
    """

    _count = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        BoundedConnection._count += 1
        self.number = BoundedConnection._count
        if len(self.connections) > MAX_CONNECTIONS:
            others = [
                one
                for one in self.connections
                if isinstance(one, BoundedConnection) and one is not self
            ]
            oldest = min(others, key=lambda one: (one.is_busy, one.number))
            self.connections.discard(oldest)  # it is told of its end only later
            oldest.transport.abort()

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete


def _listener(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((LOOPBACK, port))
    except (OSError, OverflowError) as error:
        made.close()
        raise BadSetting(
            f"the port {port} of {LOOPBACK} cannot be used: {error}",
            "Choose another with --port, or leave --port out for any free one.",
        ) from error
    made.listen(128)
    return made


def _open(stack: ExitStack, link: str) -> None:
    """Opens a browser by a private file: the command line of a browser is visible to other users."""
    file = stack.enter_context(temporary_folder("web")) / "open.html"
    file.touch(0o600)
    to = html.escape(link, quote=True)
    file.write_text(
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={to}">'
        f'<a href="{to}">Voidbridge</a>\n'
    )
    webbrowser.open(file.as_uri())
