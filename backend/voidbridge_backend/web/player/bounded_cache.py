"""The latest values, up to a number of bytes. Thread-safe."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class BoundedCache(Generic[Value]):
    """Forgets what was not asked for the longest. A value larger than the whole bound is not kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}
        self.size = 0
        """Bytes that are held now."""

    def get(self, key: Hashable) -> Value | None:
        with self._lock:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            return self._held[key][0]

    def once(self, key: Hashable, make: Callable[[], Value], size: Callable[[Value], int]) -> Value:
        """The held value, or a new one. Who asks for it meanwhile waits for the same one. Raises as `make`."""
        held = self.get(key)
        if held is not None:
            return held
        with self._lock:
            turn = self._making.setdefault(key, threading.Lock())
        try:
            with turn:
                held = self.get(key)
                if held is None:
                    held = make()
                    self.put(key, held, size(held))
                return held
        finally:
            with self._lock:
                self._making.pop(key, None)

    def put(self, key: Hashable, value: Value, size: int) -> None:
        """Keeps `value`, which takes `size` bytes."""
        if size > self._most:
            return
        with self._lock:
            if key in self._held:
                self.size -= self._held.pop(key)[1]
            self._held[key] = value, size
            self.size += size
            while self.size > self._most:
                self.size -= self._held.popitem(last=False)[1][1]
