"""The folders that were named at the start. The page reads and writes nowhere else."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from voidbridge_backend.sequences.found import find
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.errors import PathNotAllowed, VoidbridgeError
from voidbridge_protocol.transfer.shared_files import is_text

MAX_SHOWN = 80
"""Characters of a word that an error shows."""
MAX_ENTRIES = 2000
"""Entries of a folder that a listing tells of."""


class Folders:
    """Paths below the named folders. Links are followed before a path is judged."""

    def __init__(self, named: Iterable[Path]) -> None:
        self.named = tuple(dict.fromkeys(Path(os.path.realpath(folder)) for folder in named))

    def allowed(self, text: str | Path) -> Path:
        """The absolute path, whether or not it is there. Raises `PathNotAllowed`."""
        shown = str(text)
        if not os.path.isabs(shown):
            found = f"{shown[:MAX_SHOWN]!a} is not a whole path" if shown else "no path is given"
            top = self.named[0] if self.named else "/FOLDER"
            raise PathNotAllowed(found, f"Write it from the slash on, as {top}/NAME.")
        if "\0" in shown or not is_text(shown):
            raise PathNotAllowed(f"{shown[:MAX_SHOWN]!a} cannot be the name of a file")
        real = Path(os.path.realpath(shown))
        if not any(real.is_relative_to(folder) for folder in self.named):
            listed = ", ".join(map(str, self.named)) or "none"
            raise PathNotAllowed(f"{shown} lies below none of the named folders: {listed}")
        return Path(os.path.normpath(shown)) if ".." not in Path(shown).parts else real

    def sequence(self, text: str) -> Sequence:
        """The frames that a pattern, a file or a folder names. Raises `PathNotAllowed`, `BadPattern`."""
        self.allowed(text)
        found = find(text)
        self.allowed(found.folder)
        return found

    def check_frames(self, text: str) -> None:
        """Looks at links among the frames, too. Names that `find` refuses are left to the command.

        Raises `PathNotAllowed`.
        """
        self.allowed(text)
        try:
            found = self.sequence(text)
            with os.scandir(found.folder) as entries:
                links = {entry.name for entry in entries if entry.is_symlink()}
        except PathNotAllowed:
            raise
        except (VoidbridgeError, OSError):
            return
        for frame in found.scan() if links else ():
            if found.path(frame).name in links:
                self.file(found, frame)

    def file(self, sequence: Sequence, frame: int) -> Path:
        """The file of a frame, which may itself be a link. Raises `PathNotAllowed`, `MissingFrames`."""
        return self.allowed(sequence.path(frame))

    def inside(self, text: str) -> tuple[list[str], list[str]]:
        """The names of folders and of files in a folder, sorted; hidden ones are left out.

        Raises `PathNotAllowed`.
        """
        folder = self.allowed(text)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)[:MAX_ENTRIES]
        except OSError as error:
            raise PathNotAllowed(f"the folder {folder} cannot be read: {error.strerror}") from error
        seen = [e for e in entries if not e.name.startswith(".") and is_text(e.name)]
        return (
            [e.name for e in seen if os.path.isdir(e.path)],
            [e.name for e in seen if os.path.isfile(e.path)],
        )
