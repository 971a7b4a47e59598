"""Finds the hole in each frame of a shot, from its mattes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.exr import reader
from voidbridge_backend.exr.header import Header, Window
from voidbridge_backend.exr.layers import Selection
from voidbridge_backend.exr.matte_channels import Candidate, candidates
from voidbridge_backend.formats.synthetic import is_lossy
from voidbridge_backend.imaging.matte import Evidence, Verdict, hole_of, kind_of, undone
from voidbridge_backend.imaging.matte_choice import (
    ChannelStats,
    Choice,
    choose,
    decided,
    empty_beside,
    first_look,
)
from voidbridge_backend.imaging.quadmask import AFFECTED, KEEP, Hole, on_window
from voidbridge_backend.parallel import Pool
from voidbridge_protocol.errors import BadMatte, FullMatte
from voidbridge_protocol.operations.remove import RemoveSettings

from .inputs import InputFiles, LruCache

HOLES_BYTES = 256 << 20
NEAR_GRAY = 4 / 255
"""R, G and B of a gray picture differ by this at most after a lossy codec: one step of 8-bit chroma (BT.709)."""
FULL = 0.98
"""A matte that covers this share of the picture in every frame leaves nothing to fill from."""

Look = Callable[[tuple[Candidate, ...]], tuple[Candidate, ...]]


@dataclass(frozen=True)
class FrameFacts:
    """The content of a channel in one frame. `covered` and `not_kept` are shares of the plate's picture."""

    least: float
    most: float
    covered: float
    not_kept: float


class Mattes:
    """The hole in each frame, from the matte and the optional affected matte."""

    def __init__(self, source: InputFiles, settings: RemoveSettings, canvas: Window) -> None:
        self._source = source
        self._settings = settings
        self._canvas = canvas
        self._facts: dict[tuple[str, Candidate, int], FrameFacts] = {}
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
        facts = self._facts[role, self._chosen[role], frame]
        if verdict.kind == "quadmask":
            darkest = float(undone(np.array([facts.least]), verdict)[0])
            return darkest * 255 / verdict.unit < (AFFECTED + KEEP) / 2
        return facts.most >= verdict.threshold * verdict.unit

    def _survey(self, role: str, on_frame: Callable[[], None]) -> Verdict:
        settings = self._settings
        asked = settings.matte_kind if role == "matte" else "matte"
        choice, seen = self._choice(role, on_frame)
        self._chosen[role] = choice.candidate
        for frame in self._source.frames:
            if (role, choice.candidate, frame) not in self._facts:
                raise BadMatte(
                    f"{role} frame {frame} lacks the channel {choice.candidate.channel}, which other "
                    "frames of this clip have",
                    "Write every frame of a matte with the same channels.",
                )
        undo = settings.matte_color == "undo"
        verdict = kind_of(seen[choice.candidate].evidence, asked, settings.threshold, undo)
        return replace(verdict, warnings=(*verdict.warnings, *choice.warnings))

    def _choice(
        self, role: str, on_frame: Callable[[], None]
    ) -> tuple[Choice, dict[Candidate, ChannelStats]]:
        threshold, named = self._settings.threshold, self._named(role)
        seen = self._look(role, named, first_look, on_frame)
        candidate = decided(seen, threshold)
        if candidate is not None:
            return Choice(candidate), seen
        if not named:
            seen = self._look(role, "", tuple, lambda: None)
            return choose(seen, threshold), seen
        candidate = next(iter(seen))
        if seen[candidate].holds_something(threshold):
            return Choice(candidate), seen
        text = empty_beside(candidate, self._look(role, "", tuple, lambda: None), threshold)
        return Choice(candidate, (text,) if text else ()), seen

    def _named(self, role: str) -> str:
        settings = self._settings
        return settings.matte_channel if role == "matte" else settings.affected_channel

    def _look(
        self, role: str, named: str, look: Look, on_frame: Callable[[], None]
    ) -> dict[Candidate, ChannelStats]:
        """Returns the content, over the clip, of each candidate that `look` lets through."""
        seen: dict[Candidate, ChannelStats] = {}
        frames, threshold = self._source.frames, self._settings.threshold
        with Pool() as pool:
            found = pool.each(partial(self._found, role, named, look), frames)
            for frame, stats in zip(frames, found, strict=True):
                on_frame()
                for candidate, one in stats.items():
                    evidence = one.evidence
                    self._facts[role, candidate, frame] = FrameFacts(
                        *(evidence.least, evidence.most),
                        *(evidence.covered(threshold), evidence.not_kept()),
                    )
                    if candidate in seen:
                        seen[candidate].merge(one)
                    else:
                        seen[candidate] = one
        return seen

    def _found(
        self, role: str, named: str, look: Look, frame: int
    ) -> dict[Candidate, ChannelStats]:
        """Returns the content of one frame's candidates on the plate's picture."""
        wanted: tuple[Candidate, ...] = ()

        def first(header: Header) -> Selection:
            nonlocal wanted
            wanted = look(candidates(header, named))
            return Selection(wanted[0].part, (wanted[0].channel,))

        decoded = self._source.read(role, frame, first)
        parts = {wanted[0].part: decoded}
        stats = {}
        for candidate in wanted:
            if candidate.part not in parts:
                parts[candidate.part] = self._read(role, frame, candidate)
            decoded = parts[candidate.part]
            stats[candidate] = self._stats(
                decoded, candidate, f"{role} frame {frame}", alone=len(wanted) == 1
            )
        return stats

    def _stats(
        self, decoded: reader.Frame, candidate: Candidate, name: str, *, alone: bool
    ) -> ChannelStats:
        """`alone` is a candidate that is compared with no other."""
        values = decoded.channels[candidate.channel]
        picture = _overlap(values, decoded.window, self._canvas)
        evidence = Evidence(candidate.channel, is_lossy=is_lossy(decoded.part))
        whole = self._canvas.width * self._canvas.height
        evidence.add(picture, name, outside=whole - picture.size)
        beside = (decoded.channels[other] for other in candidate.beside)
        near = NEAR_GRAY if evidence.is_lossy else 0.0
        is_gray = all(_alike(values, other, near) for other in beside)
        if alone:
            return ChannelStats(evidence, is_gray)
        return ChannelStats.of(evidence, picture, is_gray)

    def _read(self, role: str, frame: int, candidate: Candidate) -> reader.Frame:
        selection = Selection(candidate.part, (candidate.channel,))
        return self._source.read(role, frame, lambda header: selection)

    def _values(self, role: str, frame: int) -> NDArray[Any]:
        verdict, candidate = self._verdicts[role], self._chosen[role]
        decoded = self._read(role, frame, candidate)
        values = decoded.channels[candidate.channel]
        return on_window(values, decoded.window, self._canvas, verdict.outside)

    def _require_something_kept(self) -> None:
        """Raises `FullMatte`: no engine can make a picture of nothing."""
        verdict, chosen = self._verdicts["matte"], self._chosen["matte"]
        facts = {frame: self._facts["matte", chosen, frame] for frame in self._source.frames}
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


def _alike(one: NDArray[Any], two: NDArray[Any], near: float) -> bool:
    if not near:
        return np.array_equal(one, two)
    return not one.size or float(cv2.norm(one, two, cv2.NORM_INF)) <= near


def _overlap(values: NDArray[Any], window: Window, canvas: Window) -> NDArray[Any]:
    """The part of `values`, which lie at `window`, that is on the canvas; may be of no size."""
    top, left = max(canvas.ymin - window.ymin, 0), max(canvas.xmin - window.xmin, 0)
    bottom = max(min(canvas.ymax, window.ymax) - window.ymin + 1, top)
    right = max(min(canvas.xmax, window.xmax) - window.xmin + 1, left)
    return values[top:bottom, left:right]
