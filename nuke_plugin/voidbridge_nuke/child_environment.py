"""The environment of child processes: the host's, without the parts that a host sets for itself.

A host points the loader, Python, Qt and TLS at its own libraries, which break another program. The rules are in
`child_environment.json`, the same file for both hosts. Libraries of other folders stay, as those of GPU drivers.
"""

from __future__ import annotations

import json
import os
from typing import Any, Mapping

KEEP = "HOST_VOIDBRIDGE_KEEP"
"""Environment variable of a site: names of variables, separated by commas, that reach the child as they are."""


def rules() -> dict[str, Any]:
    """Returns the rules that are installed beside this module."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "child_environment.json")
    with open(path, encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found


def host_folder(program: str) -> str:
    """Returns the folder of a host's installation from the path of its program; empty if it is not its own."""
    folder = os.path.dirname(os.path.realpath(program))
    if os.path.basename(folder) == "bin":
        folder = os.path.dirname(folder)
    return "" if folder in ("", "/", "/usr", "/usr/local") else folder


def child_environment(
    ours: Mapping[str, str], host: str, rules: Mapping[str, Any]
) -> dict[str, str]:
    """Returns the child's variables. `host`: the host's folder, or empty if it is not known."""
    kept = [name.strip() for name in ours.get(KEEP, "").split(",")]
    prefixes = tuple(rules["drop_prefixes"])
    found = {}
    for name, value in ours.items():
        if name in kept:
            found[name] = value
        elif name in rules["without_host_folders"]:
            parts = [part for part in value.split(os.pathsep) if part and not _is_below(part, host)]
            if parts:
                found[name] = os.pathsep.join(parts)
        elif name not in rules["drop"] and not name.startswith(prefixes):
            found[name] = value
    return {**found, **{name: found.get(name, value) for name, value in rules["set"].items()}}


def _is_below(path: str, folder: str) -> bool:
    return bool(folder) and (path.rstrip("/") + "/").startswith(folder.rstrip("/") + "/")
