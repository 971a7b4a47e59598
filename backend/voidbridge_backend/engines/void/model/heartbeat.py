"""Calls back during a network's work, so that a slow step can be watched and stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def with_heartbeat(parts: Sequence[Any], heartbeat: Callable[[], None]) -> Iterator[None]:
    """Within it, `heartbeat` is called before each of these modules runs. Its exceptions reach the caller."""

    def before(*_: object) -> None:
        heartbeat()

    hooks = [part.register_forward_pre_hook(before) for part in parts]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
