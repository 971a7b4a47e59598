"""The functions of Nuke, as types-nuke lists them, and the threads that may call them."""

from __future__ import annotations

import ast
import functools
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

STUBS = Path(sysconfig.get_paths()["purelib"]) / "nuke-stubs"


def _surface() -> tuple[set[str], dict[str, set[str]]]:
    """Names of Nuke's functions and constants; methods by class, those of its bases included."""
    names: set[str] = set()
    classes: dict[str, tuple[set[str], list[str]]] = {}
    for path in sorted(STUBS.glob("*.pyi")):
        for item in ast.parse(path.read_text()).body:
            if isinstance(item, ast.FunctionDef):
                names.add(item.name)
            elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                names.add(item.target.id)
            elif isinstance(item, ast.ClassDef):
                names.add(item.name)
                methods = {part.name for part in item.body if isinstance(part, ast.FunctionDef)}
                classes[item.name] = methods, [b.id for b in item.bases if isinstance(b, ast.Name)]

    def methods(name: str) -> set[str]:
        own, bases = classes.get(name, (set(), []))
        return own.union(*(methods(base) for base in bases))

    return names, {name: methods(name) for name in classes}


NAMES, METHODS = _surface()
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
