"""The command `key-report`, and the consent to the terms of a keyer's weights."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from pathlib import Path

from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.errors import BadSetting, JobCancelled

from . import commands, outputs
from .progress import JsonView


def key_report(
    result: str, plate: str, truth: str, picture: str, as_json: bool, overwrite: bool = False
) -> None:
    """Measures a key from its files; the numbers go to standard output.

    Raises `OverwritesSource` or, without `overwrite`, `OutputExists` before anything is measured.
    """
    from voidbridge_backend.quality import key_report as report

    named = [Sequence.parse(text) for text in (result, plate, truth) if text]
    target = Path(picture) if picture else None
    if target:
        outputs.check_picture(target, named, overwrite)
    with commands.watched(as_json) as (to, cancelled):

        def on_frame(done: int, of: int) -> None:
            if cancelled.is_set():
                raise JobCancelled("cancelled while the frames were being measured")
            to.stage("measuring", done, of)

        found = report.review(named[0], named[1], named[2] if truth else None, target, on_frame)
        to.event("key-quality", **asdict(found))
    if not as_json:
        print("\n".join(found.lines()))


def accept_terms(name: str, folder: Path, as_json: bool) -> None:
    """Shows the terms of an engine's weights and records for a models folder that the user accepts them."""
    from voidbridge_backend.engines.corridorkey import terms

    if name != "corridorkey":
        raise BadSetting(
            f"there are no terms to accept for {name or 'no name'!r}",
            "Name an engine whose weights have terms: voidbridge models accept corridorkey",
        )
    if not as_json:
        print(terms.TERMS)
    path, digest = terms.accept(folder, date.today()), terms.sha256()
    if as_json:
        JsonView().event("accepted-terms", network=terms.NAME, path=str(path), sha256=digest)
    else:
        print(f"You accepted these terms for {folder}. The record is {path}")
