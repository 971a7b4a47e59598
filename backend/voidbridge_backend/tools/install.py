"""Installs the plug-ins into their hosts, and removes them. It copies their files and imports none of them.

Nuke gets a separate folder. Fusion has one folder for everybody's macros and scripts, so a list there names the
installed files.
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

from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.transfer.atomic_files import disk_error, write_whole

MARK = "voidbridge.json"
"""Marks an installed folder and records the command."""
LUA = Path("Modules/Lua/voidbridge")
"""The module's folder, inside Fusion's folder."""
LIST = LUA / "installed.txt"
TIMELINE = Path("Scripts/Edit/Voidbridge timeline (Studio).py")
GENERATE = Path("Scripts/Edit/Voidbridge generate (Studio).py")
SELFTEST = "voidbridge_selftest.py"
"""A file of the package for Nuke that is no part of the plug-in: `voidbridge selftest nuke` writes it."""
SIZE = 24
"""Icon size in pixels, as in Nuke's menus."""
SAMPLES = 4
"""Samples per pixel, in each direction."""


def install_nuke(folder: Path) -> list[Path]:
    """Installs a self-contained plug-in below `folder`. Deleting that folder uninstalls it.

    Replaces the files of an earlier installation. Raises `BadSetting` if the folder holds other files,
    `DiskFull`.
    """
    if folder.exists() and not (
        folder.is_dir() and ((folder / MARK).is_file() or not any(folder.iterdir()))
    ):
        raise BadSetting(
            f"{folder} exists and is not a Voidbridge folder",
            "Choose an empty or new folder with --to.",
        )
    package = _package("voidbridge_nuke")
    files = {folder / MARK: json.dumps({"command": command()}, indent=1).encode() + b"\n"}
    files[folder / "icons/voidbridge.png"] = icon()
    for path in sorted(package.rglob("*")):
        if path.suffix in (".py", ".nk", ".json") and path.name != SELFTEST:
            inside = path.relative_to(package)
            startup = inside.parts[0] == "nuke_path"
            target = Path(*inside.parts[1:]) if startup else Path("python", package.name, inside)
            files[folder / target] = path.read_bytes()
    try:
        if (folder / "python" / package.name).is_dir():
            shutil.rmtree(folder / "python" / package.name)
    except OSError as error:
        raise disk_error(folder, error) from error
    for path, data in files.items():
        write_whole(path, data)
    return sorted(files)


def fusion_folder(platform: str, home: Path, appdata: str) -> Path:
    """Returns Resolve's folder for a user's macros and scripts. `platform` as `sys.platform`; `appdata`: of
    Windows.
    """
    if platform == "win32":
        within = Path(appdata) if appdata else home / "AppData/Roaming"
        return within / "Blackmagic Design/DaVinci Resolve/Support/Fusion"
    if platform == "darwin":
        return home / "Library/Application Support/Blackmagic Design/DaVinci Resolve/Fusion"
    return home / ".local/share/DaVinciResolve/Fusion"


def install_resolve(folder: Path) -> list[Path]:
    """Installs macro, module and scripts into Fusion's folder `folder`, beside other files.

    Replaces the files of an earlier installation. Raises `BadSetting` if another tool's file is in the way,
    `DiskFull`.
    """
    package = _package("voidbridge_resolve")
    files = {folder / LUA / MARK: json.dumps({"command": command()}, indent=1).encode() + b"\n"}
    for path in sorted(package.rglob("*")):
        if path.suffix in (".lua", ".setting", ".json"):
            files[folder / path.relative_to(package)] = path.read_bytes()
    script = (package / "timeline.py").read_text(encoding="utf-8")
    place = f"FUSION = {folder.absolute().as_posix()!r}"
    script = script.replace('FUSION = ""', place, 1)
    files[folder / TIMELINE] = script.encode()
    files[folder / GENERATE] = script.replace(
        'ACTION = "remove"', 'ACTION = "generate"', 1
    ).encode()
    ours = set(installed(folder))
    for path in files:
        if path.exists() and path not in ours:
            raise BadSetting(
                f"{path} exists and is not a Voidbridge file",
                "Move it away, or choose another folder with --to.",
            )
    uninstall_resolve(folder)
    names = sorted(path.relative_to(folder).as_posix() for path in [*files, folder / LIST])
    write_whole(folder / LIST, "".join(f"{name}\n" for name in names).encode())
    for path, data in files.items():
        write_whole(path, data)
    return [folder / name for name in names]


def installed(folder: Path) -> list[Path]:
    """Returns the installed files in Fusion's folder."""
    try:
        names = (folder / LIST).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{folder / LIST} cannot be read: {error}") from error
    return [
        folder / name for name in names if ".." not in Path(name).parts and not os.path.isabs(name)
    ]


def uninstall_resolve(folder: Path) -> list[Path]:
    """Deletes the installed files in Fusion's folder, and then empty folders. Returns the deleted files."""
    gone = [path for path in installed(folder) if path.exists()]
    for path in gone:
        _delete(path)
        for parent in path.relative_to(folder).parents:
            with contextlib.suppress(OSError):  # others have files there
                (folder / parent).rmdir()
    return gone


def uninstall_nuke(folder: Path) -> list[Path]:
    """Deletes the installed folder. Raises `BadSetting` if it is not Voidbridge's."""
    if not folder.exists():
        return []
    if not (folder / MARK).is_file():
        raise BadSetting(f"{folder} is not a Voidbridge folder", "Give the right one with --to.")
    gone = [path for path in folder.rglob("*") if path.is_file()]
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise disk_error(folder, error) from error
    return gone


def _delete(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise disk_error(path, error) from error


@dataclass(frozen=True)
class Host:
    """The install functions of one host."""

    folder: Callable[[str, Path, str], Path]
    """The default folder of its plug-in, from the platform, the home folder and Windows' APPDATA."""
    install: Callable[[Path], list[Path]]
    remove: Callable[[Path], list[Path]]
    next_step: Callable[[Path], str]
    """The next step for the user."""


def _nuke_folder(platform: str, home: Path, appdata: str) -> Path:
    return home / ".nuke/voidbridge"


def _nuke_next(folder: Path) -> str:
    line = f"    nuke.pluginAddPath({folder.as_posix()!r})"
    return f"Set the variable NUKE_PATH={folder}\nor add one line to ~/.nuke/init.py:\n{line}"


def _resolve_next(folder: Path) -> str:
    return "Restart Resolve or Fusion; the macro is Voidbridge, under Tools > Macros > Voidbridge."


HOSTS = {
    "nuke": Host(_nuke_folder, install_nuke, uninstall_nuke, _nuke_next),
    "resolve": Host(fusion_folder, install_resolve, uninstall_resolve, _resolve_next),
}


def command() -> list[str]:
    """Returns the command that a host starts: the one beside this Python, otherwise this Python itself."""
    beside = Path(sys.executable).with_name(
        "voidbridge.exe" if sys.platform == "win32" else "voidbridge"
    )
    return [str(beside)] if beside.is_file() else [sys.executable, "-m", "voidbridge_backend"]


def icon() -> bytes:
    """Returns a PNG: a ring around nothing, RGBA."""
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
    """Returns the ring's coverage of a pixel, 0 to 255."""
    steps = [(i + 0.5) / SAMPLES - SIZE / 2 for i in range(SAMPLES)]
    radii = [math.hypot(x + i, y + j) / SIZE for i in steps for j in steps]
    return 255 * sum(0.26 < radius < 0.46 for radius in radii) // len(radii)


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise BadSetting(f"the package {name} is not installed", "Install Voidbridge again.")
    return Path(next(iter(found.submodule_search_locations)))
