"""The figures and the sheet of an evaluation, from its removals."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from voidbridge_backend.engines.base import Pixels
from voidbridge_backend.engines.evaluate_base import EvaluatedRemoval, HeldPair
from voidbridge_backend.quality.pair_scores import PairMeter, PairScores, mean
from voidbridge_backend.quality.strength_sheet import Cell, SheetPair
from voidbridge_protocol.operations.evaluate import EvaluateSettings

MOST_ON_SHEET = 12
"""Pairs that the sheet shows. All are measured."""


@dataclass
class Measured:
    """One removal of one pair, measured; `middle` is its middle frame."""

    scores: PairScores
    middle: Pixels


@dataclass
class Comparison:
    """Collects the removals, and words them as figures and as a sheet."""

    settings: EvaluateSettings
    _pairs: dict[int, HeldPair] = field(default_factory=dict)
    _found: dict[int, dict[float | None, Measured]] = field(default_factory=dict)
    _wanted: dict[int, PairScores] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.settings.show}   held-out pairs, pass {self.settings.pass_number}   dB and SSIM in the hole"

    def add(self, removal: EvaluatedRemoval) -> None:
        """Measures a removal. A pair's pictures are dropped, but for the middle frame."""
        pair = removal.pair
        middle = len(pair.wanted) // 2
        if pair.number not in self._pairs:
            self._wanted[pair.number] = _measured(iter(pair.wanted), pair, middle).scores
            self._pairs[pair.number] = replace(
                pair, wanted=[pair.wanted[middle]], holes=[pair.holes[middle]]
            )
        found = self._found.setdefault(pair.number, {})
        found[removal.strength] = _measured(removal.frames, pair, middle)

    def described(self) -> dict[str, Any]:
        """Returns the figures as JSON values: means over the pairs, and each pair's own."""
        strengths = (None, *self.settings.values)
        rows = [self._row("wanted", None, mean(self._wanted.values()))]
        for strength in strengths:
            scores = mean(found[strength].scores for found in self._found.values())
            rows.append(self._row(_name(strength), strength, scores))
        return {
            "rows": rows,
            "pairs": [
                {
                    "name": self._pairs[number].name,
                    "rows": [
                        self._row("wanted", None, self._wanted[number]),
                        *(self._row(_name(s), s, found[s].scores) for s in strengths),
                    ],
                }
                for number, found in self._found.items()
            ],
        }

    def _row(self, name: str, strength: float | None, scores: PairScores) -> dict[str, Any]:
        return {"name": name, "strength": strength, **scores.described()}

    def rows(self) -> list[SheetPair]:
        """Returns the rows of the sheet."""
        rows = []
        for number, pair in list(self._pairs.items())[:MOST_ON_SHEET]:
            cells = [Cell("shown", pair.shown, pair.holes[0]), Cell("wanted", pair.wanted[0])]
            for strength, found in self._found[number].items():
                words = f"{_name(strength)}: {_figures(found.scores)}"
                cells.append(Cell(words, found.middle))
            rows.append(SheetPair(pair.name, cells))
        return rows


def _measured(frames: Iterator[Pixels], pair: HeldPair, middle: int) -> Measured:
    meter, kept = PairMeter(), None
    for index, (frame, wanted, hole) in enumerate(
        zip(frames, pair.wanted, pair.holes, strict=True)
    ):
        meter.add(frame, wanted, hole)
        kept = frame if index == middle else kept
    assert kept is not None
    return Measured(meter.scores(), kept)


def _name(strength: float | None) -> str:
    return "base" if strength is None else f"{strength:g}"


def _figures(scores: PairScores) -> str:
    psnr = scores.hole_psnr_db
    return f"{psnr:.1f} dB {scores.hole_ssim:.3f}" if math.isfinite(psnr) else "no error"
