"""Opens one of the daemon's two sockets."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import zmq

from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.wire import keys
from voidbridge_protocol.wire.codec import MAX_HEADER
from voidbridge_protocol.wire.messages import MAX_CHUNK

from .allowed_keys import Auth

ZAP_DOMAIN = b"voidbridge"


def listening_socket(
    context: zmq.Context[zmq.Socket[bytes]], address: str, largest: int, auth: Auth | None
) -> zmq.Socket[bytes]:
    """Binds a ROUTER socket for messages of at most `largest` bytes; with `auth` clients need a key.

    Raises `BadSetting` if the address is in use or unavailable.
    """
    router = context.socket(zmq.ROUTER)
    router.linger = 0
    router.ipv6 = "[" in address
    router.router_mandatory = True  # otherwise a message without space is dropped silently
    router.maxmsgsize = max(largest, MAX_HEADER) + keys.ADDED
    router.sndhwm = router.rcvhwm = 1000 if largest > MAX_CHUNK else 256
    router.handshake_ivl = 5000
    _enable_keepalive(router)
    if auth:
        router.curve_server = True
        router.curve_secretkey = auth.own.secret.encode()
        router.zap_domain = ZAP_DOMAIN
    try:
        if address.startswith("ipc://"):
            _bind_privately(router, Path(address.removeprefix("ipc://")))
        else:
            router.bind(address)
    except zmq.ZMQError as error:
        raise BadSetting(
            f"cannot listen on {address}: {error}",
            "Stop the daemon that has this address, or choose another with --listen.",
        ) from error
    return router


def _enable_keepalive(router: zmq.Socket[bytes]) -> None:
    """Enables TCP keepalive: a machine without power closes no connection, so it would stay forever.

    It uses the system's own probes, because ZMTP's fail behind a long frame.
    """
    router.tcp_keepalive = 1
    router.tcp_keepalive_idle, router.tcp_keepalive_intvl, router.tcp_keepalive_cnt = 30, 10, 3
    router.tcp_maxrt = 60_000


def _bind_privately(router: zmq.Socket[bytes], path: Path) -> None:
    """Binds a Unix socket that only its user can open, from the first moment, in an equally private folder."""
    if str(path).startswith("@"):
        raise BadSetting(
            "an abstract Unix socket has no permissions: every user of the machine could open it",
            "Use a path, as ipc:///run/user/1000/voidbridge/ctl.",
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = path.parent.stat()
    except OSError as error:
        raise BadSetting(
            f"cannot listen on ipc://{path}: {error.strerror}", "Choose another folder."
        ) from error
    if folder.st_uid != os.geteuid() or stat.S_IMODE(folder.st_mode) & 0o077:
        raise BadSetting(
            f"{path.parent} can be entered by other users of this machine, and a daemon without keys "
            "accepts every client that reaches its socket",
            f"Run: chmod 700 {path.parent}, or choose a private folder.",
        )
    if _is_served(path):
        raise zmq.ZMQError(errno.EADDRINUSE)  # libzmq would take it from its daemon
    before = os.umask(0o177)
    try:
        router.bind(f"ipc://{path}")
    finally:
        os.umask(before)


def _is_served(path: Path) -> bool:
    """Returns True if a daemon listens on this Unix socket, rather than a killed one having left it."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
