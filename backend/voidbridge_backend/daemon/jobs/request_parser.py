"""Parses requests on a thread of its own, users in turn: others are answered while a large one is read."""

from __future__ import annotations

import traceback
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from voidbridge_backend.daemon.store.spool import Spool
from voidbridge_protocol.errors import BadMessage, TooMany, VoidbridgeError
from voidbridge_protocol.wire.codec import Frame, decode_request

from .prepared import Prepared

SMALL = 32 * 1024
"""Bytes of a request that is parsed at once, in a few milliseconds."""
USER_BYTES = 64 << 20
"""Bytes of requests of one user that wait at most."""

Callback = Callable[["Prepared | VoidbridgeError"], None]


class _Waiting(NamedTuple):
    payload: Frame
    callback: Callback


class RequestParser:
    """Used on the daemon's own thread; `notify` has something done there, from any other."""

    def __init__(self, spool: Spool, notify: Callable[[Callable[[], None]], None]) -> None:
        self._spool = spool
        self._notify = notify
        self._thread = ThreadPoolExecutor(1, "parses")
        self._waiting: OrderedDict[str, deque[_Waiting]] = OrderedDict()
        self._is_busy = False

    def parse(self, user: str, payload: Frame, callback: Callback) -> None:
        """Calls `callback` with the request or with the error, at once or later. Raises `TooMany`."""
        if len(payload) <= SMALL:
            callback(_parsed(user, payload, self._spool))
            return
        queue = self._waiting.get(user, ())
        if sum(len(waiting.payload) for waiting in queue) + len(payload) > USER_BYTES:
            raise TooMany(f"{len(queue)} large requests of {user} wait to be read")
        self._waiting.setdefault(user, deque()).append(_Waiting(payload, callback))
        self._next()

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _next(self) -> None:
        if self._is_busy or not self._waiting:
            return
        self._is_busy = True
        user, queue = self._waiting.popitem(last=False)
        payload, then = queue.popleft()
        if queue:
            self._waiting[user] = queue  # behind all other users
        self._thread.submit(self._work, user, payload, then)

    def _work(self, user: str, payload: Frame, callback: Callback) -> None:
        found = _parsed(user, payload, self._spool)
        self._notify(lambda: self._finish(found, callback))

    def _finish(self, found: Prepared | VoidbridgeError, callback: Callback) -> None:
        self._is_busy = False
        self._next()
        callback(found)


def _parsed(user: str, payload: Frame, spool: Spool) -> Prepared | VoidbridgeError:
    try:
        return Prepared.of(user, decode_request(payload), spool)
    except VoidbridgeError as error:
        return error
    except Exception as error:
        # A fault of this program; it must cost neither the daemon nor the turn of the other users.
        place = traceback.extract_tb(error.__traceback__)[-1]
        return BadMessage(f"the request cannot be read: {type(error).__name__} in {place.name}")
