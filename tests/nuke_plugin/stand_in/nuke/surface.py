"""The threads that may call the functions of Nuke."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from types_of_nuke import METHODS

ITEMS = {"__getitem__", "__getattr__", "__init__", "__contains__", "__enter__", "__exit__"}


def on_main(call: Callable[..., Any]) -> Callable[..., Any]:
    """Everything of Nuke's belongs to its main thread."""

    @functools.wraps(call)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(f"nuke.{call.__qualname__} was called outside of the main thread")
        return call(*args, **kwargs)

    return checked


def as_nuke(name: str, *, any_thread: bool = False) -> Callable[[type], type]:
    """A class of Nuke's: every public method is one of the stub's, and stays on the main thread."""

    def check(made: type) -> type:
        for attribute, value in list(vars(made).items()):
            if (attribute.startswith("_") and attribute not in ITEMS) or not callable(value):
                continue
            assert attribute in METHODS[name] | ITEMS, f"no Nuke has {name}.{attribute}"
            if not any_thread and attribute not in ("__getattr__", "__init__"):
                setattr(made, attribute, on_main(value))
        return made

    return check
