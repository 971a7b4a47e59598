"""The functions and classes of Nuke, as types-nuke lists them.

No part of the package `nuke`: tests load that once for every Nuke that starts, and reading the lists takes long.
"""

from __future__ import annotations

import ast
import sysconfig
from pathlib import Path

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
