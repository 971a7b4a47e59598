"""The folder of a shot's takes: their numbers, their records, and the next free number. Standard library only."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from voidbridge_backend.client.small_files import read_small
from voidbridge_backend.client.submission import SIDECAR
from voidbridge_backend.sequences import patterns
from voidbridge_protocol.wire.messages import Request

TAKE = re.compile(r"take_(\d{3,})")
TOLD = {"engine": str, "mode": str, "seed": int, "prompt": str}
"""The settings that a list of takes shows, with their types."""


@dataclass(frozen=True)
class TakeRecord:
    """One take as the record beside its frames tells it."""

    number: int
    frames: tuple[int, int]
    settings: Mapping[str, Any]
    sources: Mapping[str, Any]
    """The SHA-256 of each source, by "role/frame"."""

    def is_of(self, request: Request) -> bool:
        """Whether the take was made from the same files with the same settings."""
        sources = {f"{file.role}/{file.frame}": file.sha256 for file in request.files}
        return (
            self.frames == (request.pictures[0], request.pictures[-1])
            and self.settings == asdict(request.settings)
            and self.sources == sources
        )


@dataclass(frozen=True)
class TakeFolder:
    """`path` need not exist."""

    path: Path
    name: str
    """The shot's."""

    def sequence(self, number: int) -> patterns.Sequence:
        """The files of a take."""
        return patterns.Sequence(self.path / f"take_{number:03d}", f"{self.name}.", ".exr", 4)

    def last(self) -> int:
        """The largest number of a take that is there; 0 without any."""
        if not self.path.is_dir():
            return 0
        matches = (TAKE.fullmatch(path.name) for path in self.path.iterdir())
        return max((int(match[1]) for match in matches if match), default=0)

    def records(self) -> tuple[list[TakeRecord], list[Path]]:
        """The record of each take, by number, and the files that cannot be read as records."""
        found, damaged = [], []
        for number in range(1, self.last() + 1):
            for path in sorted(self.sequence(number).folder.glob(f"*{SIDECAR}")):
                try:
                    found.append(_record(number, path))
                except (OSError, ValueError, KeyError, TypeError, RecursionError):
                    damaged.append(path)
        return found, damaged

    def claim(self) -> int:
        """Makes the folder of the next take, which no other run can take then. Returns its number."""
        while True:
            number = self.last() + 1
            try:
                self.sequence(number).folder.mkdir(parents=True)
            except FileExistsError:
                continue
            return number


def _record(number: int, path: Path) -> TakeRecord:
    """Raises `OSError`, `ValueError`, `KeyError` or `TypeError` for a file that is no record of a take."""
    found = json.loads(read_small(path))
    first, last = found["frames"]
    settings, sources = found["settings"], found["sources"]
    told = {word: type(settings[word]) for word in TOLD}
    if told != TOLD or (type(first), type(last)) != (int, int) or type(sources) is not dict:
        raise ValueError(f"{path} is not a record of a take")
    return TakeRecord(number, (first, last), settings, sources)
