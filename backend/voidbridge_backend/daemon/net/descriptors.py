"""Sockets of which somebody else in this process has the descriptor."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def borrowed(descriptor: int) -> Iterator[socket.socket]:
    """The socket behind a descriptor that its owner may close at any moment.

    Raises `OSError` when nothing is there any more, or what has the number now is no socket: the pipe to a worker,
    say, which must not stay open because of us, or the worker would wait for orders for ever.
    """
    own = os.dup(descriptor)
    try:
        end = socket.socket(fileno=own)
    except OSError:
        os.close(own)  # a socket that was not made closes nothing
        raise
    with end:
        yield end
