"""Makes the dataset of a show: pastes, reads approved shots, encodes, holds some out, and writes list and sheet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voidbridge_backend.client.training.dataset_list import (
    FILE,
    SHEET,
    ListedPair,
    list_bytes,
    pair_name,
)
from voidbridge_backend.client.training.show_file import Approved, CleanPlate, CutOut, Show
from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.void_lora.pairs import PairRecord, pair_bytes
from voidbridge_backend.quality.contact_sheet import write_png
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.transfer.atomic_files import write_whole

from .clips import MemoryClip, read_approved, read_cut_out, read_plate
from .encode import PairEncoder
from .paste import CutOutClip, blob, pasted
from .sheet import SheetRow, sheet

HELD_SHARE = 10
"""One clip of so many is held out, and at least one if there are two."""
MOST_ON_SHEET = 40

OnStep = Callable[[str, int, int], None]


@dataclass(frozen=True)
class _Made:
    """A pair before it is encoded. `clip` is the place of the clip that its target comes from."""

    clip: int
    shown: MemoryClip
    target: list[Pixels]
    record: PairRecord


def build(show: Show, models: Path, folder: Path, device: str, on_step: OnStep) -> list[ListedPair]:
    """Writes pairs, `dataset.json` and `dataset.png` to `folder`, and returns the list.

    The same show and models give the same bytes on one device. Raises `BadSetting` for a clip without rights or
    consent, `ModelMissing`, and the `RequestError` of a clip that cannot be read.
    """
    _check_rights(show)
    encoder = PairEncoder(models, device, show.settings.pass_number)
    clips = len(show.plates) + len(show.approved)
    held_clips = held_out(clips, show.seed)
    total = show.pairs
    pairs: list[ListedPair] = []
    rows: list[SheetRow] = []
    on_step("making pairs", 0, total)
    for number, made in enumerate(_made(show, encoder)):
        seed = _seed(show, f"encode {number}")
        data = pair_bytes(encoder.encoded(made.shown, made.target, made.record, seed))
        file = pair_name(number + 1)
        write_whole(folder / file, data)
        held = made.clip in held_clips
        pairs.append(
            ListedPair(
                file,
                held,
                hashlib.sha256(data).hexdigest(),
                made.record.name,
                made.record.kind,
                len(made.target),
                made.record.rights,
                made.record.consent,
            )
        )
        if len(rows) < MOST_ON_SHEET:
            rows.append(_row(made, held))
        on_step("making pairs", number + 1, total)
    write_png(folder / SHEET, sheet(rows))
    write_whole(folder / FILE, list_bytes(show.name, pairs))
    return pairs


def held_out(clips: int, seed: int) -> set[int]:
    """Returns the clips that are held out, whole clips, so that no picture is on both sides."""
    if clips < 2:
        return set()
    count = max(1, clips // HELD_SHARE)
    order = np.random.default_rng(seed).permutation(clips)
    return {int(clip) for clip in order[:count]}


def _check_rights(show: Show) -> None:
    if not show.plates and not show.approved:
        raise BadSetting(
            f"the show {show.name} names no clip to learn from",
            "Add a [[plate]] or an [[approved]].",
        )
    tables: list[CleanPlate | CutOut | Approved] = [*show.plates, *show.cut_outs, *show.approved]
    for table in tables:
        for name in ("rights", "consent"):
            if not (getattr(table, name) or getattr(show, name)):
                raise BadSetting(
                    f"{table.clip} has no {name}",
                    f'State it: {name} = "..." for the show or the clip. The LoRA\'s record names it.',
                )


def _made(show: Show, encoder: PairEncoder) -> Iterator[_Made]:
    """Yields every pair, one in memory at a time."""
    cuts = [
        read_cut_out(
            show.path(cut.clip),
            show.path(cut.matte),
            show.path(cut.belongings) if cut.belongings else "",
            cut.color_space or show.color_space,
            encoder.size,
            encoder.frames,
        )
        for cut in show.cut_outs
    ]
    for place, plate in enumerate(show.plates):
        yield from _pasted(show, encoder, place, plate, cuts)
    for index, approved in enumerate(show.approved):
        shown, target, sha256, clean = read_approved(
            show.path(approved.clip),
            show.path(approved.matte),
            show.path(approved.affected) if approved.affected else "",
            show.path(approved.clean),
            approved.color_space or show.color_space,
            encoder.size,
            encoder.frames,
        )
        sources = {approved.clip: sha256, approved.clean: clean}
        record = _record(show, approved, approved.prompt, "approved", 0, sources)
        yield _Made(len(show.plates) + index, shown, target, record)


def _pasted(
    show: Show,
    encoder: PairEncoder,
    place: int,
    plate: CleanPlate,
    cuts: list[tuple[CutOutClip, str]],
) -> Iterator[_Made]:
    read = read_plate(
        show.path(plate.clip), plate.color_space or show.color_space, encoder.size, encoder.frames
    )
    for variation in range(show.variations):
        seed = _seed(show, f"paste {place} {variation}")
        sources = {plate.clip: read.sha256}
        if cuts:
            chosen = (place * show.variations + variation) % len(cuts)
            cut, sha256 = cuts[chosen]
            sources[show.cut_outs[chosen].clip] = sha256
        else:
            cut = blob(read.pictures, seed)
        made = pasted(read.pictures, cut, seed)
        record = _record(show, plate, plate.prompt, "pasted", variation + 1, sources)
        yield _Made(place, MemoryClip(made.pictures, made.codes), read.pictures, record)


def _record(
    show: Show,
    table: CleanPlate | Approved,
    prompt: str,
    kind: str,
    variation: int,
    sources: dict[str, str],
) -> PairRecord:
    name = table.clip + (f" {variation}" if variation else "")
    return PairRecord(
        name,
        kind,
        sources,
        prompt or show.name,
        table.rights or show.rights,
        table.consent or show.consent,
    )


def _seed(show: Show, purpose: str) -> int:
    key = hashlib.sha256(f"{purpose} {show.seed}".encode()).digest()
    return int.from_bytes(key[:4], "little")


def _row(made: _Made, held: bool) -> SheetRow:
    middle = len(made.target) // 2
    title = f"{made.record.name}  {made.record.kind}" + ("  held out" if held else "")
    return SheetRow(
        title, made.shown.pictures[middle], made.shown.quadmask(middle), made.target[middle]
    )
