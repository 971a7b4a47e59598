"""Terms of an engine's weights, and the record that a user accepted them. Standard library only."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from voidbridge_protocol.errors import ModelMissing, TermsNotAccepted
from voidbridge_protocol.transfer.atomic_files import write_whole


@dataclass(frozen=True)
class Terms:
    """The text that a user accepts, once for each models folder."""

    name: str
    """Of the network, as its authors write it."""
    engine: str
    record: str
    """File of a models folder that records the consent."""
    text: str
    licences: str = "*.licence.txt"
    """Pattern of files in a models folder that hold the whole licence, as it came with the weights."""

    def sha256(self) -> str:
        """Identifies the text that was accepted."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def accept(self, folder: Path, today: date) -> Path:
        """Records the consent in a models folder. Raises `ModelMissing` if it cannot be written."""
        path = folder / self.record
        record = {
            "name": self.name,
            "accepted": today.isoformat(),
            "terms_sha256": self.sha256(),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, (json.dumps(record, indent=1) + "\n").encode())
        except OSError as error:
            raise ModelMissing(
                f"the consent cannot be written to {path}: {error.strerror}",
                "Name a models folder that you may write, or run the command as the daemon's user.",
            ) from error
        return path

    def require(self, folder: Path) -> None:
        """Raises `TermsNotAccepted` unless these very terms were accepted for this folder."""
        try:
            accepted = json.loads((folder / self.record).read_text())["terms_sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            accepted = None
        if accepted == self.sha256():
            return
        text = f"nobody has accepted the terms of {self.name}'s weights for {folder}"
        if accepted:
            text = f"other terms of {self.name}'s weights were accepted for {folder}; they have changed since"
        raise TermsNotAccepted(
            text,
            f"Read and accept them with: voidbridge models accept {self.engine} --models {folder}",
        )
