"""Access to sockets whose descriptor belongs to other code in this process."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def borrowed(descriptor: int) -> Iterator[socket.socket]:
    """Yields the socket behind a descriptor that its owner may close at any moment.

    Raises `OSError` if it is closed, or if the number now belongs to something else. That may be the pipe to a
    worker: if it stayed open here, the worker would wait for commands forever.
    """
    own = os.dup(descriptor)
    try:
        end = socket.socket(fileno=own)
    except OSError:
        os.close(own)  # a socket that was not made closes nothing
        raise
    with end:
        yield end
