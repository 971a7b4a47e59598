"""The terms of CorridorKey's weights, and the record that a user accepted them. Standard library only."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path

from voidbridge_protocol.errors import ModelMissing, TermsNotAccepted
from voidbridge_protocol.transfer.atomic_files import write_whole

NAME = "CorridorKey"
RECORD = "CorridorKey.terms.json"
TERMS = """\
CorridorKey, by Niko Pueringer. https://github.com/nikopueringer/CorridorKey
Its licence is the "Corridor Key Licence" 1.0. Read it there; this is a summary.

- You may key any pictures with it, those of commercial projects included.
- You may not sell, sublicense or repackage it, alone or in a product that competes with it.
- Nobody may be charged for its use: no paid inference, subscription or billing by use.
- Who has a commercial software package and wants to build it in needs a written agreement.
- The name CorridorKey stays in every attribution. Released derivatives keep the same terms.

Voidbridge has none of its code and does not ship, fetch or convert its weights unasked.
"""


def sha256() -> str:
    """Identifies the text that was accepted."""
    return hashlib.sha256(TERMS.encode()).hexdigest()


def accept(folder: Path, today: date) -> Path:
    """Records the consent in a models folder. Raises `ModelMissing` if it cannot be written."""
    path = folder / RECORD
    record = {"name": NAME, "accepted": today.isoformat(), "terms_sha256": sha256()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, (json.dumps(record, indent=1) + "\n").encode())
    except OSError as error:
        raise ModelMissing(
            f"the consent cannot be written to {path}: {error.strerror}",
            "Name a models folder that you may write, or run the command as the daemon's user.",
        ) from error
    return path


def require(folder: Path) -> None:
    """Raises `TermsNotAccepted` unless these very terms were accepted for this folder."""
    try:
        record = json.loads((folder / RECORD).read_text())
        accepted = record["terms_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        accepted = None
    if accepted == sha256():
        return
    found = "other terms of" if accepted else "nobody has accepted the terms of"
    text = f"{found} {NAME}'s weights for {folder}"
    if accepted:
        text = f"{found} {NAME}'s weights were accepted for {folder}; they have changed since"
    raise TermsNotAccepted(
        text, "Read and accept them there with: voidbridge models accept corridorkey"
    )
