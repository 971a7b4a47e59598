"""The list of a dataset's pairs, `dataset.json` beside them. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from voidbridge_backend.client.outputs import check_foreign
from voidbridge_backend.quality.png_mark import is_marked
from voidbridge_protocol.errors import BadPair
from voidbridge_protocol.request import FrameFile

FILE = "dataset.json"
SHEET = "dataset.png"
RECORD = "voidbridge"
"""Entry of a safetensors file's metadata with the record of a pair or a LoRA."""
MOST_HEADER = 1 << 26
"""Bytes of a safetensors header that are read at most."""
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


def pair_name(number: int) -> str:
    """Returns the name of a pair's file; `number` counts from 1."""
    return f"pair-{number:04d}.safetensors"


def check_free(folder: Path, pairs: int) -> None:
    """Raises `OutputExists` if a file is in the way of a dataset that no dataset has."""
    check_foreign(
        [
            *((folder / pair_name(number), _is_pair) for number in range(1, pairs + 1)),
            (folder / SHEET, is_marked),
            (folder / FILE, _is_list),
        ],
        "Choose another folder with -o.",
    )


def record_of(path: Path) -> Any:
    """Returns the record of this tool in a safetensors file, as JSON text; None without one."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, MOST_HEADER)))
        return header["__metadata__"][RECORD]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def is_pair_record(record: Any) -> bool:
    """Returns True if a record, from `record_of`, is that of a pair."""
    return isinstance(record, str) and '"kind":' in record


def _is_pair(path: Path) -> bool:
    return is_pair_record(record_of(path))


def _is_list(path: Path) -> bool:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.keys() == {"version", "show", "pairs"}


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


def check_unchanged(folder: Path, pairs: Iterable[ListedPair], files: Iterable[FrameFile]) -> None:
    """Raises `BadPair` if one of `files`, the pairs of a job, is not as the list says."""
    hashes = {pair.sha256 for pair in pairs}
    changed = [f for f in files if f.role in ("pair", "held") and f.sha256 not in hashes]
    if changed:
        raise BadPair(
            f"the {changed[0].role} {changed[0].frame} of {folder} changed since it was made",
            "Make the dataset again with: voidbridge dataset SHOW.toml",
        )


def _is_there(folder: Path, name: str) -> bool:
    return name == PureWindowsPath(name).name and (folder / name).is_file()  # both kinds of slashes
