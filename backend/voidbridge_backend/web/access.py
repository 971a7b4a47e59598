"""Who may open the page: one-time links, and the sessions that they become. Thread-safe, without a clock."""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable

BYTES = 32
"""Random bytes of a token; nobody guesses 256 bits."""
MAX_SESSIONS = 32
"""Browsers at once; the oldest makes room."""


class Access:
    """Hands out links with a token that works once, and remembers the sessions that came of them."""

    def __init__(self, on_used: Callable[[], None] = lambda: None) -> None:
        """`on_used` is called after a token was used, so that another link can be shown."""
        self._lock = threading.Lock()
        self._tokens: set[str] = set()
        self._sessions: list[str] = []
        self._on_used = on_used

    def token(self) -> str:
        """Returns a new token, which works once."""
        made = secrets.token_urlsafe(BYTES)
        with self._lock:
            self._tokens.add(made)
        return made

    def enter(self, token: str) -> str | None:
        """Returns a new session for this token; None if it was used before or never given out."""
        with self._lock:
            known = [held for held in self._tokens if _is_same(held, token)]
            if not known:
                return None
            self._tokens.discard(known[0])
            session = secrets.token_urlsafe(BYTES)
            self._sessions = [*self._sessions[1 - MAX_SESSIONS :], session]
        self._on_used()
        return session

    def is_known(self, session: str) -> bool:
        """Whether this is the session of a browser that came in with a token."""
        with self._lock:
            return any([_is_same(held, session) for held in self._sessions])


def _is_same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode("utf-8", "surrogateescape"))
