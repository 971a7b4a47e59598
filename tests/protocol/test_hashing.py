"""Hashing beside writing: the right hash, and never far behind."""

from __future__ import annotations

import hashlib
import threading

from voidbridge_protocol.transfer import hashing
from voidbridge_protocol.transfer.hashing import AHEAD, Digest

PIECE = b"0123456789" * 1000


def test_the_hash_is_that_of_all_pieces_in_order() -> None:
    pieces = [bytes([number]) * number for number in range(256)]
    one, other = Digest(), Digest()
    for piece in pieces:
        one.update(piece)
        other.update(memoryview(piece))
    expected = hashlib.sha256(b"".join(pieces)).hexdigest()
    assert one.hexdigest() == other.hexdigest() == expected


def test_who_writes_waits_for_who_hashes_when_that_is_far_behind() -> None:
    go_on = threading.Event()
    hashing._thread().submit(go_on.wait)
    one = Digest()
    for _ in range(AHEAD):
        one.update(PIECE)
    writer = threading.Thread(target=one.update, args=[PIECE])
    writer.start()
    try:
        writer.join(0.2)
        assert writer.is_alive()
    finally:
        go_on.set()
    writer.join(120)
    assert one.hexdigest() == hashlib.sha256(PIECE * (AHEAD + 1)).hexdigest()
