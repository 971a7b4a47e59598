"""The list of a dataset's pairs, `dataset.json` beside them. Standard library only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from voidbridge_protocol.errors import BadPair

FILE = "dataset.json"
VERSION = 1


@dataclass(frozen=True)
class ListedPair:
    """One pair: its file in the folder, and whether it is held out to measure the training."""

    file: str
    held: bool
    sha256: str
    name: str
    kind: str
    frames: int
    rights: str = ""
    consent: str = ""


def list_bytes(show: str, pairs: list[ListedPair]) -> bytes:
    """Returns the content of `dataset.json`."""
    found = {"version": VERSION, "show": show, "pairs": [asdict(pair) for pair in pairs]}
    return json.dumps(found, indent=1, ensure_ascii=False).encode() + b"\n"


def read_list(folder: Path) -> list[ListedPair]:
    """Reads the list of a dataset. Raises `BadPair` if there is none, or a file of it is missing."""
    try:
        found: Any = json.loads((folder / FILE).read_bytes())
        pairs = [ListedPair(**one) for one in found["pairs"]]
        absent = [pair.file for pair in pairs if not _is_there(folder, pair.file)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadPair(
            f"{folder} has no list of pairs: {error}", "Make it with: voidbridge dataset SHOW.toml"
        ) from error
    if absent:
        raise BadPair(f"{folder} lacks the pair {absent[0]}")
    if not [pair for pair in pairs if not pair.held]:
        raise BadPair(f"{folder} has no pair to train on")
    return pairs


def _is_there(folder: Path, name: str) -> bool:
    return "/" not in name and (folder / name).is_file()
