"""Puts the tools into their hosts, and takes them away again. It imports nothing of them: it copies their files.

Nuke gets a folder of its own. Fusion has one folder for everybody's macros and scripts; a list there says which are
ours.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import shutil
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from voidbridge_protocol.atomic_files import disk_error, write_whole
from voidbridge_protocol.errors import BadSetting

MARK = "voidbridge.json"
"""Says that a folder is ours, and where the command is."""
LUA = Path("Modules/Lua/voidbridge")
"""Of the module, in Fusion's folder."""
LIST = LUA / "installed.txt"
TIMELINE = Path("Scripts/Edit/Voidbridge timeline (Studio).py")
SIZE = 24
"""Pixels of an icon, as Nuke's menus have them."""
SAMPLES = 4
"""Of each pixel, in each direction."""


def install_nuke(to: Path) -> list[Path]:
    """The files of a self-contained plug-in, all below `to`. Deleting that folder uninstalls it.

    What an earlier installation wrote there is replaced. Raises `BadSetting` where the folder holds something else,
    `DiskFull`.
    """
    if to.exists() and not (to.is_dir() and ((to / MARK).is_file() or not any(to.iterdir()))):
        raise BadSetting(
            f"{to} is there already and is no folder of Voidbridge",
            "Name an empty or a new folder with --to.",
        )
    package = _package("voidbridge_nuke")
    files = {to / MARK: json.dumps({"command": command()}, indent=1).encode() + b"\n"}
    files[to / "icons/voidbridge.png"] = icon()
    for path in sorted(package.rglob("*")):
        if path.suffix in (".py", ".nk"):
            inside = path.relative_to(package)
            startup = inside.parts[0] == "nuke_path"
            target = Path(*inside.parts[1:]) if startup else Path("python", package.name, inside)
            files[to / target] = path.read_bytes()
    try:
        if (to / "python" / package.name).is_dir():
            shutil.rmtree(to / "python" / package.name)
    except OSError as error:
        raise disk_error(to, error) from error
    for path, data in files.items():
        write_whole(path, data)
    return sorted(files)


def fusion_folder(platform: str, home: Path, appdata: str) -> Path:
    """Where Resolve looks for a user's macros and scripts. `platform` as `sys.platform`; `appdata`: of Windows."""
    if platform == "win32":
        within = Path(appdata) if appdata else home / "AppData/Roaming"
        return within / "Blackmagic Design/DaVinci Resolve/Support/Fusion"
    if platform == "darwin":
        return home / "Library/Application Support/Blackmagic Design/DaVinci Resolve/Fusion"
    return home / ".local/share/DaVinciResolve/Fusion"


def install_resolve(to: Path) -> list[Path]:
    """Macro, module and scripts in Fusion's folder `to`, among the files of others.

    What an earlier installation wrote is replaced. Raises `BadSetting` where a file of somebody else is in the way,
    `DiskFull`.
    """
    package = _package("voidbridge_resolve")
    files = {to / LUA / MARK: json.dumps({"command": command()}, indent=1).encode() + b"\n"}
    for path in sorted(package.rglob("*")):
        if path.suffix in (".lua", ".setting"):
            files[to / path.relative_to(package)] = path.read_bytes()
    files[to / TIMELINE] = (package / "timeline.py").read_bytes()
    ours = set(installed(to))
    for path in files:
        if path.exists() and path not in ours:
            raise BadSetting(
                f"{path} is there already and is none of Voidbridge's",
                "Move it away, or name another folder with --to.",
            )
    uninstall_resolve(to)
    names = sorted(path.relative_to(to).as_posix() for path in [*files, to / LIST])
    write_whole(to / LIST, "".join(f"{name}\n" for name in names).encode())
    for path, data in files.items():
        write_whole(path, data)
    return [to / name for name in names]


def installed(to: Path) -> list[Path]:
    """The files in Fusion's folder that are ours."""
    try:
        names = (to / LIST).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{to / LIST} cannot be read: {error}") from error
    return [to / name for name in names if ".." not in Path(name).parts and not os.path.isabs(name)]


def uninstall_resolve(to: Path) -> list[Path]:
    """Deletes our files in Fusion's folder, and folders that are empty then. What was deleted."""
    gone = [path for path in installed(to) if path.exists()]
    for path in gone:
        _delete(path)
        for folder in path.relative_to(to).parents:
            with contextlib.suppress(OSError):  # others have files there
                (to / folder).rmdir()
    return gone


def uninstall_nuke(to: Path) -> list[Path]:
    """Deletes our folder. Raises `BadSetting` where it is none of ours."""
    if not to.exists():
        return []
    if not (to / MARK).is_file():
        raise BadSetting(f"{to} is no folder of Voidbridge", "Name the right one with --to.")
    gone = [path for path in to.rglob("*") if path.is_file()]
    try:
        shutil.rmtree(to)
    except OSError as error:
        raise disk_error(to, error) from error
    return gone


def _delete(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise disk_error(path, error) from error


@dataclass(frozen=True)
class Host:
    """What can be done for one host."""

    folder: Callable[[str, Path, str], Path]
    """Where its plug-in goes unless one says otherwise: from the platform, the home folder and Windows' APPDATA."""
    install: Callable[[Path], list[Path]]
    remove: Callable[[Path], list[Path]]
    next_step: Callable[[Path], str]
    """What is left to do for a person."""


def _nuke_folder(platform: str, home: Path, appdata: str) -> Path:
    return home / ".nuke/voidbridge"


def _nuke_next(to: Path) -> str:
    line = f"    nuke.pluginAddPath({to.as_posix()!r})"
    return (
        f"Tell Nuke with the variable NUKE_PATH={to}\nor with one line in ~/.nuke/init.py:\n{line}"
    )


def _resolve_next(to: Path) -> str:
    return (
        "Start Resolve or Fusion again; the macro is Voidbridge, under Tools > Macros > Voidbridge."
    )


HOSTS = {
    "nuke": Host(_nuke_folder, install_nuke, uninstall_nuke, _nuke_next),
    "resolve": Host(fusion_folder, install_resolve, uninstall_resolve, _resolve_next),
}


def command() -> list[str]:
    """What a host is to start: the command beside this Python, else this Python itself."""
    beside = Path(sys.executable).with_name(
        "voidbridge.exe" if sys.platform == "win32" else "voidbridge"
    )
    return [str(beside)] if beside.is_file() else [sys.executable, "-m", "voidbridge_backend"]


def icon() -> bytes:
    """A PNG: a ring around nothing, RGBA."""
    rows = (
        b"\0" + b"".join(bytes((226, 120, 64, _coverage(x, y))) for x in range(SIZE))
        for y in range(SIZE)
    )
    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 6, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def _coverage(x: int, y: int) -> int:
    """How much of a pixel the ring covers, 0 to 255."""
    steps = [(i + 0.5) / SAMPLES - SIZE / 2 for i in range(SAMPLES)]
    radii = [math.hypot(x + i, y + j) / SIZE for i in steps for j in steps]
    return 255 * sum(0.26 < radius < 0.46 for radius in radii) // len(radii)


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise BadSetting(f"the package {name} is not installed", "Install Voidbridge again.")
    return Path(next(iter(found.submodule_search_locations)))
