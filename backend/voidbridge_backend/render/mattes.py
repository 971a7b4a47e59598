"""Finds the hole in each frame of a shot, from its mattes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.exr.header import Header, Window
from voidbridge_backend.exr.matte_channels import Candidate
from voidbridge_backend.exr.seal import is_sealed
from voidbridge_backend.imaging.mattes.matte import Verdict, hole_of, kind_of, undone
from voidbridge_backend.imaging.mattes.quadmask import AFFECTED, KEEP, Hole, on_window
from voidbridge_protocol.errors import FullMatte
from voidbridge_protocol.operations.remove import RemoveSettings

from .inputs import InputFiles, LruCache
from .matte_survey import MatteSurvey

HOLES_BYTES = 256 << 20
FULL = 0.98
"""A matte that covers this share of the picture in every frame leaves nothing to fill from."""


class Mattes:
    """The hole in each frame, from the matte and the optional affected matte."""

    def __init__(self, source: InputFiles, settings: RemoveSettings, canvas: Window) -> None:
        self._source = source
        self._settings = settings
        self._canvas = canvas
        self._channels = MatteSurvey(source, canvas, settings.threshold)
        self._chosen: dict[str, Candidate] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._holes: LruCache[Hole] = LruCache(
            HOLES_BYTES, lambda h: h.codes.nbytes + h.alpha.nbytes
        )

    def survey(self, on_frame: Callable[[], None]) -> Verdict:
        """Looks at every frame once to say what kind of matte this is, and which channel.

        Raises `BadMatte`, `FullMatte` or `UnclearLayer`.
        """
        for role in ("matte", "affected"):
            if role in self._source.paths:
                self._verdicts[role] = self._survey(role, on_frame)
        self._require_something_kept()
        return self._verdicts["matte"]

    def described(self) -> dict[str, str]:
        """The channels that are taken, as the provenance of a result names them."""
        names = {"matte": "channel", "affected": "affected_channel"}
        return {names[role]: candidate.channel for role, candidate in self._chosen.items()}

    def hole(self, frame: int) -> Hole:
        return self._holes.get(frame, self._make)

    def has_hole(self, frame: int) -> bool:
        """From what `survey` saw; nothing is decoded."""
        return any(self._is_set(role, verdict, frame) for role, verdict in self._verdicts.items())

    def _is_set(self, role: str, verdict: Verdict, frame: int) -> bool:
        facts = self._channels.facts[role, self._chosen[role], frame]
        if verdict.kind == "quadmask":
            darkest = float(undone(np.array([facts.least]), verdict)[0])
            return darkest * 255 / verdict.unit < (AFFECTED + KEEP) / 2
        return facts.most >= verdict.threshold * verdict.unit

    def _survey(self, role: str, on_frame: Callable[[], None]) -> Verdict:
        settings = self._settings
        asked = settings.matte_kind if role == "matte" else "matte"
        if asked == "auto" and self._is_own_quadmask(role):
            asked = "quadmask"
        choice, seen = self._channels.choice(role, self._named(role), on_frame)
        self._chosen[role] = choice.candidate
        undo = settings.matte_color == "undo"
        verdict = kind_of(seen[choice.candidate].evidence, asked, settings.threshold, undo)
        return replace(verdict, warnings=(*verdict.warnings, *choice.warnings))

    def _is_own_quadmask(self, role: str) -> bool:
        """Whether `mask` wrote the files, unchanged since: such a quadmask may have the levels 0 and 255 only."""
        paths = self._source.paths[role]
        headers = (self._source.header(role, frame) for frame in sorted(paths))
        return all(map(_names_mask, headers)) and is_sealed(paths[min(paths)])

    def _named(self, role: str) -> str:
        settings = self._settings
        return settings.matte_channel if role == "matte" else settings.affected_channel

    def _values(self, role: str, frame: int) -> NDArray[Any]:
        verdict, candidate = self._verdicts[role], self._chosen[role]
        decoded = self._channels.read(role, frame, candidate)
        values = decoded.channels[candidate.channel]
        return on_window(values, decoded.window, self._canvas, verdict.outside)

    def _require_something_kept(self) -> None:
        """Raises `FullMatte`: no engine can make a picture of nothing."""
        verdict, chosen = self._verdicts["matte"], self._chosen["matte"]
        facts = {
            frame: self._channels.facts["matte", chosen, frame] for frame in self._source.frames
        }
        plain = verdict.kind == "matte"
        shares = {frame: f.covered if plain else f.not_kept for frame, f in facts.items()}
        frame = min(shares, key=lambda frame: shares[frame])
        if shares[frame] < FULL or self._settings.allow_full_matte:
            return
        raise FullMatte(
            f"the matte covers {shares[frame]:.1%} of the picture or more in every frame (channel "
            f"{chosen.channel}, frame {frame} is the least): nothing is left to fill it from"
        )

    def _make(self, frame: int) -> Hole:
        settings = self._settings
        affected = self._verdicts.get("affected")
        return hole_of(
            self._values("matte", frame),
            self._verdicts["matte"],
            (self._values("affected", frame), affected) if affected else None,
            threshold=max(verdict.threshold for verdict in self._verdicts.values()) or 1.0,
            grow=settings.grow,
            soften=settings.soften,
        )


def _names_mask(header: Header) -> bool:
    """Whether the header is that of a quadmask of the operation `mask`."""
    part = header.parts[0]
    if [channel.name for channel in part.channels] != ["Y"]:
        return False
    try:
        found = json.loads(part.text("voidbridge/provenance") or "{}")
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("operation") == "mask"
