"""Descriptors that belong to somebody else, who may have closed them."""

import os
import socket

import pytest

from voidbridge_backend.daemon.net.descriptors import borrowed


def test_a_socket_is_seen_under_another_descriptor_and_stays_open() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with borrowed(theirs.fileno()) as end:
            assert end.fileno() != theirs.fileno()
            end.sendall(b"hello")
        assert ours.recv(5) == b"hello"
        theirs.sendall(b"still open")
        assert ours.recv(10) == b"still open"


def test_a_pipe_that_has_the_number_now_is_not_kept_open() -> None:
    read, write = os.pipe()
    with pytest.raises(OSError, match="socket"), borrowed(write):
        pass
    os.close(write)
    os.set_blocking(read, False)  # what is kept open fails here, and does not wait for ever
    assert os.read(read, 1) == b""
    os.close(read)


def test_nothing_there_is_said() -> None:
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    with pytest.raises(OSError, match="descriptor"), borrowed(read):
        pass
