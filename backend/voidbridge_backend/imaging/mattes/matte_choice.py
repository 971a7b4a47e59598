"""Which of a clip's candidate channels is its matte, from what each of them holds."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voidbridge_backend.exr.matte_channels import NAME_HINT, Candidate, Rank
from voidbridge_protocol.errors import UnclearLayer

from .matte import Evidence

Seen = Mapping[Candidate, "ChannelStats"]


@dataclass
class ChannelStats:
    """The content of one candidate over the clip, or in a frame of it."""

    evidence: Evidence
    is_gray: bool = True
    """Whether the channels beside it hold the same."""
    checksum: int = 0
    """Of its pixels as halves; frames are merged in their order."""

    @classmethod
    def of(cls, evidence: Evidence, picture: NDArray[Any], is_gray: bool = True) -> ChannelStats:
        """`picture` is what `evidence` has counted, [height, width]."""
        halves = np.clip(picture, -60_000, 60_000).astype(np.float16)
        return cls(evidence, is_gray, zlib.crc32(halves.tobytes()))

    def merge(self, other: ChannelStats) -> None:
        self.evidence.merge(other.evidence)
        self.checksum = zlib.crc32(other.checksum.to_bytes(4, "little"), self.checksum)
        self.is_gray &= other.is_gray

    def holds_something(self, threshold: float) -> bool:
        return self.evidence.covered(threshold) > 0


@dataclass(frozen=True)
class Choice:
    """The channel that is taken, and what an artist ought to know of it."""

    candidate: Candidate
    warnings: tuple[str, ...] = field(default=())


def first_look(found: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """The candidates that are enough to look at in most clips: the alphas, else all but single colors."""
    alphas = tuple(candidate for candidate in found if candidate.rank is Rank.ALPHA)
    return alphas or tuple(candidate for candidate in found if candidate.rank is not Rank.COLOR)


def decided(seen: Seen, threshold: float) -> Candidate | None:
    """The matte, if nothing else has to be looked at: one channel, which is set somewhere and not opaque."""
    if len(seen) != 1:
        return None
    ((candidate, stats),) = seen.items()
    if not stats.is_gray or not stats.holds_something(threshold):
        return None
    return None if stats.evidence.is_one_everywhere else candidate


def choose(seen: Seen, threshold: float) -> Choice:
    """The matte among all candidates of a clip.

    The alpha where it is one: neither opaque all over the picture nor empty beside other channels that hold
    something. Else the only other channel that holds something; a gray picture counts as one, a colored one never.
    Raises `UnclearLayer`, which lists each channel with the share of the picture that it covers.
    """
    drawn = {c: s for c, s in seen.items() if c.rank in (Rank.DRAWN, Rank.GRAY) and s.is_gray}
    held = _different({c: s for c, s in drawn.items() if s.holds_something(threshold)})
    alphas = {c: s for c, s in seen.items() if c.rank is Rank.ALPHA}
    matte = {c: s for c, s in alphas.items() if not s.evidence.is_one_everywhere}
    set_somewhere = _different({c: s for c, s in matte.items() if s.holds_something(threshold)})
    if len(set_somewhere) == 1:
        return Choice(set_somewhere[0])
    if set_somewhere:
        raise _several(seen, set_somewhere, threshold)
    if matte:
        if held:
            raise UnclearLayer(
                f"the matte's {next(iter(matte)).channel} is empty in every frame, but other channels hold "
                f"something: {_listed(seen, held, threshold)}",
                NAME_HINT,
            )
        return Choice(next(iter(matte)))
    if len(held) == 1:
        return Choice(held[0])
    if held:
        raise _several(seen, held, threshold)
    if drawn and not any(not s.is_gray for s in seen.values()):
        return Choice(next(iter(drawn)))
    if alphas and not drawn and all(s.is_gray for s in seen.values()):
        return Choice(next(iter(alphas)))
    colors = [c for c in seen if c.rank is Rank.COLOR]
    opaque = ", its alpha is opaque" if alphas else ""
    raise UnclearLayer(
        f"the file that is given as the matte holds a picture{opaque}; its channels cover "
        f"{_listed(seen, colors, threshold)}",
        NAME_HINT,
    )


def empty_beside(candidate: Candidate, seen: Seen, threshold: float) -> str | None:
    """A warning for a channel that was asked for and is empty while others hold something."""
    others = [
        c
        for c, s in seen.items()
        if c.channel != candidate.channel and s.holds_something(threshold)
    ]
    if not others:
        return None
    return (
        f"channel {candidate.channel} is empty in every frame; other channels hold something: "
        f"{_listed(seen, others, threshold)}"
    )


def _different(held: Seen) -> list[Candidate]:
    """Candidates of one content count once: R, G and B of a gray picture, A and Y of the same roto."""
    found: list[Candidate] = []
    for candidate, stats in held.items():
        if stats.checksum not in {held[other].checksum for other in found}:
            found.append(candidate)
    return found


def _several(seen: Seen, found: list[Candidate], threshold: float) -> UnclearLayer:
    return UnclearLayer(
        f"the matte's file has {len(found)} mattes; they cover {_listed(seen, found, threshold)} of the picture",
        NAME_HINT,
    )


def _listed(seen: Seen, found: list[Candidate], threshold: float, most: int = 12) -> str:
    named = {c.channel: f"{c.channel} {seen[c].evidence.covered(threshold):.1%}" for c in found}
    texts = list(named.values())
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
