"""Which channels of a file can be a matte. Standard library only; which one is, the values decide."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from voidbridge_protocol.errors import UnclearLayer, UnsupportedFrame

from .header import Header
from .layers import SPELLINGS, channels_of, is_crypto, layer_of
from .part import LAYER, Part, PixelType, flat_refusal

ALPHAS = ("a", "alpha")
GRAYS = ("y", "v", "r", "red", *ALPHAS)
"""Last words of a layer's single channel that say nothing of what it holds."""
DATA = (
    "z",
    "depth",
    "zback",
    "id",
    "u",
    "v",
    "x",
    "n",
    "p",
    "uv",
    "motion",
    "vector",
    "normal",
    "normals",
)
"""Names of passes that are measured, not drawn: never a matte unless they are named or alone."""


class Rank(IntEnum):
    ALPHA = 0
    """The root's alpha."""
    DRAWN = 1
    """A channel beside the picture: of roto, of an object."""
    GRAY = 2
    """The root's R, G and B, when they are one gray picture."""
    COLOR = 3
    """One of R, G and B on its own: never taken, only listed."""


@dataclass(frozen=True)
class Candidate:
    """One channel that may be the matte."""

    part: int
    channel: str
    rank: Rank
    beside: tuple[str, ...] = ()
    """Channels that have to hold the same for it to be one: G and B beside R."""


def candidates(header: Header, asked: str = "") -> tuple[Candidate, ...]:
    """The channels that may be this file's matte, the likeliest first; only the one that was asked for.

    Raises `UnclearLayer` where there is none or none of that name, `UnsupportedFrame` for one that cannot be read.
    """
    if asked:
        return (_readable(header, _asked(header, asked)),)
    flat = [(i, part) for i, part in enumerate(header.parts) if flat_refusal(part) is None]
    every = [(i, channel.name) for i, part in flat for channel in part.channels]
    if len(every) == 1:
        index, name = every[0]
        rank = Rank.ALPHA if _is_root_alpha(name) else Rank.DRAWN
        return (Candidate(index, name, rank),)
    found = [candidate for index, part in flat for candidate in _of_part(index, part)]
    if found:
        return tuple(sorted(found, key=lambda candidate: candidate.rank))
    refused = [reason for part in header.parts if (reason := flat_refusal(part)) is not None]
    if refused:
        raise UnsupportedFrame(f"the matte cannot be read: {refused[0]}", READ_HINT)
    raise UnclearLayer(
        f"the matte has no alpha, no gray and no channel of a roto, only: {channels_of(header) or 'none'}",
        NAME_HINT,
    )


NAME_HINT = (
    "Name the channel that is the matte with --matte-channel (--affected-channel for the other)."
)
READ_HINT = "Write the matte as a flat OpenEXR of one level, all channels at one size."


def _of_part(index: int, part: Part) -> list[Candidate]:
    if is_crypto(part.name):
        return []
    names = [c.name for c in part.channels if layer_of(c.name) != LAYER]
    layers = [layer for layer in dict.fromkeys(map(layer_of, names)) if not is_crypto(layer)]
    root = "" if "" in layers or len(layers) != 1 else layers[0]
    found: list[Candidate] = []
    for layer in layers:
        own = [name for name in names if layer_of(name) == layer]
        find = _of_root if layer == root else _of_layer
        found += find(index, part, own)
    return found


def _of_root(index: int, part: Part, own: list[str]) -> list[Candidate]:
    """A file's own channels, or those of its only layer."""
    colors = _colors(own)
    alphas = [name for name in own if _last(name) in ALPHAS]
    grays = [name for name in own if _last(name) == "y"]
    if not colors:
        grays += [name for name in own if _last(name) in ("r", "red")]
    found = [Candidate(index, name, Rank.ALPHA) for name in alphas]
    found += [Candidate(index, name, Rank.GRAY) for name in grays]
    if colors:
        found.append(Candidate(index, colors[0], Rank.GRAY, colors[1:]))
        found += [Candidate(index, name, Rank.COLOR) for name in colors]
    others = set(own) - {*alphas, *grays, *colors}
    return found + [
        Candidate(index, name, Rank.DRAWN) for name in own if name in others and _drawn(part, name)
    ]


def _of_layer(index: int, part: Part, own: list[str]) -> list[Candidate]:
    """The alpha of a layer that is no picture, or its only channel."""
    alphas = [name for name in own if _last(name) in ALPHAS]
    if alphas and not _colors(own):
        return [Candidate(index, name, Rank.DRAWN) for name in alphas]
    if len(own) == 1 and _drawn(part, own[0]):
        return [Candidate(index, own[0], Rank.DRAWN)]
    return []


def _drawn(part: Part, name: str) -> bool:
    """Whether a channel may have been drawn: not a number of objects, not a depth or a vector."""
    kind = next(channel.type for channel in part.channels if channel.name == name)
    words = [word.lower() for word in name.split(".")]
    if len(words) > 1 and words[-1] in GRAYS:
        words.pop()
    return kind is not PixelType.UINT and words[-1] not in DATA and not is_crypto(name)


def _colors(own: list[str]) -> tuple[str, ...]:
    prefix = own[0].removesuffix(own[0].rpartition(".")[2])
    for spelling in SPELLINGS:
        chosen = tuple(prefix + color for color in spelling)
        if set(chosen) <= set(own):
            return chosen
    return ()


def _asked(header: Header, asked: str) -> Candidate:
    """By the channel's name, with its part's name before it, or by a layer that has just one or an alpha."""
    wanted = asked.strip()
    for fold in (str, str.lower):
        for index, part in enumerate(header.parts):
            for channel in part.channels:
                if fold(wanted) in (fold(channel.name), fold(f"{part.name}.{channel.name}")):
                    return _checked(index, channel.name)
        for index, part in enumerate(header.parts):
            own = [c.name for c in part.channels if fold(layer_of(c.name)) == fold(wanted)]
            own = [name for name in own if _last(name) in ALPHAS] or own
            if len(own) == 1:
                return _checked(index, own[0])
    raise UnclearLayer(
        f"the matte has no channel {wanted!r}; it has {channels_of(header) or 'none'}", NAME_HINT
    )


def _checked(index: int, name: str) -> Candidate:
    if is_crypto(layer_of(name)):
        raise UnclearLayer(
            f"the channel {name} holds Cryptomatte's IDs, which are not a matte", NAME_HINT
        )
    return Candidate(index, name, Rank.DRAWN)


def _readable(header: Header, candidate: Candidate) -> Candidate:
    reason = flat_refusal(header.parts[candidate.part])
    if reason is not None:
        raise UnsupportedFrame(f"the matte cannot be read: {reason}", READ_HINT)
    return candidate


def _is_root_alpha(name: str) -> bool:
    return not layer_of(name) and _last(name) in ALPHAS


def _last(name: str) -> str:
    return name.rpartition(".")[2].lower()
