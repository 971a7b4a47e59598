"""Writes the self-test of a host: one script that a site runs once in its own Nuke or Resolve.

The script holds its own tiny shot. It answers the questions that no stand-in can answer, in one report.
"""

from __future__ import annotations

import base64
import importlib.util
from pathlib import Path

import numpy as np

from voidbridge_backend.exr.new.file import new_file
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.transfer.atomic_files import temporary, write_whole

SCRIPTS = {
    "nuke": ("voidbridge_nuke", "nuke_path/voidbridge_selftest.py"),
    "resolve": ("voidbridge_resolve", "voidbridge_selftest.lua.in"),
}
"""Package and file of each host's script, without its shot."""
NEXT = {
    "nuke": "Run it in a Nuke that has the plug-in: nuke -t {}",
    "resolve": "Type in the Console of a Resolve that has the plug-in, with a comp open: dofile([[{}]])",
}
MARK, MARK_WITHIN = b"self-test of", 200
"""Words in the first bytes of each script."""
FRAMES = range(1001, 1004)
WIDTH, HEIGHT, HALF = 48, 32, 6
"""Of the pictures and of half the object, in pixels."""


def shot() -> dict[str, bytes]:
    """Returns plate and matte by file name: a bright square that covers the center and moves to the right.

    It moves by 8 pixels a frame, so the other frames show most of what it hides.
    """
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    ramp = ((rows * 3 + columns * 5) % 64 / 128).astype(np.float16)
    files = {}
    for frame in FRAMES:
        left = WIDTH // 2 - HALF + 14 * (frame - FRAMES[1])
        hole = (
            (abs(rows + 0.5 - HEIGHT / 2) < HALF) & (columns >= left) & (columns < left + 2 * HALF)
        )
        plate = {
            name: np.where(hole, np.float16(4), ramp / np.float16(share))
            for share, name in enumerate("RGB", 1)
        }
        files[f"plate.{frame}.exr"] = new_file(plate)
        files[f"matte.{frame}.exr"] = new_file({"A": hole.astype(np.float16)})
    return files


def write_selftest(host: str, path: Path | None) -> str:
    """Writes the script of a host and returns the next step. Raises `BadSetting`, `DiskFull`.

    Replaces an earlier script, and no other file.
    """
    if host not in SCRIPTS:
        raise BadSetting(
            f"there is no self-test for {host!r}", f"There is one for: {', '.join(SCRIPTS)}"
        )
    package, name = SCRIPTS[host]
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise BadSetting(f"the package {package} is not installed", "Install Voidbridge again.")
    path = path or Path.cwd() / Path(name).name.removesuffix(".in")
    for place in (path, temporary(path)):
        if place.exists() and MARK not in place.read_bytes()[:MARK_WITHIN]:
            raise BadSetting(
                f"{place} exists and is not a self-test", "Choose another file with --to."
            )
    text = (Path(next(iter(found.submodule_search_locations))) / name).read_text(encoding="utf-8")
    write_whole(path, _with_shot(text, host).encode())
    return NEXT[host].format(path.as_posix())


def _with_shot(text: str, host: str) -> str:
    """Returns a script with the shot in its empty table."""
    if host == "nuke":
        lines = [f'    "{n}": "{base64.b64encode(data).decode()}",\n' for n, data in shot().items()]
        return text.replace("= {}  # name", "= {\n" + "".join(lines) + "}  # name", 1)
    escaped = {name: "".join(f"\\{byte:03d}" for byte in data) for name, data in shot().items()}
    lines = [f'    ["{name}"] = "{data}",\n' for name, data in escaped.items()]
    return text.replace("= {} -- name", "= {\n" + "".join(lines) + "} -- name", 1)
