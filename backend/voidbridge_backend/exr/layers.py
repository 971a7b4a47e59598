"""Which channels of a file are the plate's picture. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from voidbridge_protocol.errors import UnclearLayer, UnsupportedFrame

from .header import Header
from .part import LAYER, Part, PixelType, flat_refusal

SPELLINGS = (
    ("R", "G", "B"),
    ("r", "g", "b"),
    ("red", "green", "blue"),
    ("Red", "Green", "Blue"),
)
PREFERRED = ("combined", "beauty", "rgba", "c")
"""Last words of the layers that hold the finished picture: Blender, Arnold and V-Ray, Nuke, Houdini."""
MANIFEST = "crypto"
"""Layers of Cryptomatte begin so, in every renderer: their numbers are hashes, not light."""


@dataclass(frozen=True)
class Selection:
    """Channels of one part: the three of a picture, the one of a gray picture, or those of a matte."""

    part: int
    channels: tuple[str, ...]
    layer: str = ""
    """How an artist names it; empty for the channels R, G and B of a file of one part."""


def pictures(header: Header) -> list[Selection]:
    """Every color picture of the file: root channels first, then layers, each in the file's order."""
    found = [
        Selection(index, channels, layer)
        for index, part in enumerate(header.parts)
        for layer, channels in _color_layers(part)
    ]
    return sorted(found, key=lambda picture: "." in picture.channels[0].lstrip("."))


def choose_picture(header: Header, layer: str = "") -> Selection:
    """The plate's picture: `layer` when it is named, else the only one that can be meant.

    Unnamed: root R, G and B; else a layer called Combined, beauty, rgba or C; else the only layer; else a gray Y.
    Of a multi-view file that is the default view. Cryptomatte is never a picture. Raises `UnclearLayer` when
    several could be meant or none has that name, `UnsupportedFrame` when the picture cannot be given back.
    """
    found = pictures(header)
    if layer:
        return _usable(header, _named(header, found, layer))
    if not found:
        return _usable(header, _gray(header))
    usable = [picture for picture in found if _refusal(header, picture) is None]
    if not usable:
        return _usable(header, found[0])
    root = [picture for picture in usable if _is_root(picture)]
    return _only(header, root or usable)


def is_crypto(name: str) -> bool:
    """Whether a layer or a part with this name holds the IDs of Cryptomatte."""
    return any(word.lower().lstrip("u").startswith(MANIFEST) for word in name.split("."))


def layer_of(channel: str) -> str:
    """`ViewLayer.AO` of `ViewLayer.AO.R`; empty for a root channel, and for `.R` as V-Ray writes it."""
    return channel.rpartition(".")[0]


def _color_layers(part: Part) -> Iterator[tuple[str, tuple[str, ...]]]:
    if is_crypto(part.name):
        return
    names = [channel.name for channel in part.channels]
    for prefix in dict.fromkeys(name[: name.rfind(".") + 1] for name in names):
        layer = prefix.rstrip(".")
        if layer == LAYER or is_crypto(layer):
            continue
        for spelling in SPELLINGS:
            chosen = tuple(prefix + color for color in spelling)
            if set(chosen) <= set(names):
                yield layer or part.name, chosen
                break


def _is_root(picture: Selection) -> bool:
    return "." not in picture.channels[0].lstrip(".")


def _only(header: Header, found: list[Selection]) -> Selection:
    if len(found) == 1:
        return found[0]
    by_word = [[p for p in found if _last_word(p.layer) == word] for word in PREFERRED]
    for preferred in (_default_view(header, found), *by_word):
        if len(preferred) == 1:
            return preferred[0]
        if preferred:
            found = preferred
            break
    views = {header.parts[picture.part].view for picture in found}
    if len(views) == len(found) and _is_root(found[0]):
        return found[0]  # one part for each view, the default one first
    raise UnclearLayer(
        f"the plate has {len(found)} pictures: {listed(found)}",
        "Name the layer to work on with --layer.",
    )


def _default_view(header: Header, found: list[Selection]) -> list[Selection]:
    """OpenEXR's `multiView` lists the views of a single part; the first is the default."""
    views = header.parts[found[0].part].strings("multiView")
    return [picture for picture in found if views and picture.layer == views[0]]


def _last_word(layer: str) -> str:
    return layer.rpartition(".")[2].lower()


def _named(header: Header, found: list[Selection], layer: str) -> Selection:
    wanted = layer.strip().rstrip(".")
    for fold in (str, str.lower):
        matching = [p for p in found if fold(wanted) in map(fold, _names(header, p))]
        if matching:
            return matching[0]
    for index, part in enumerate(header.parts):
        for channel in part.channels:
            if channel.name == wanted and not is_crypto(layer_of(channel.name)):
                return Selection(index, (channel.name,), wanted)
    if is_crypto(wanted):
        raise UnclearLayer(
            f"the layer {wanted} holds Cryptomatte's IDs, which are not a picture",
            "Name a layer of light with --layer.",
        )
    raise UnclearLayer(
        f"the plate has no layer {wanted!r}; it has {listed(found) or channels_of(header)}",
        "Name one of these with --layer, or leave it away.",
    )


def _names(header: Header, picture: Selection) -> tuple[str, ...]:
    part = header.parts[picture.part].name
    own = layer_of(picture.channels[0]).strip(".")
    names = [picture.layer, own, part if not own else f"{part}.{own}"]
    return tuple(name for name in names if name)


def _gray(header: Header) -> Selection:
    for index, part in enumerate(header.parts):
        names = {channel.name for channel in part.channels}
        if "Y" in names and not names & {"X", "RY", "BY"}:
            return Selection(index, ("Y",), part.name if len(header.parts) > 1 else "")
    raise UnsupportedFrame(*_no_picture(header))


def _no_picture(header: Header) -> tuple[str, str]:
    found = channels_of(header)
    every = [channel.name for part in header.parts for channel in part.channels]
    deep = [part for part in header.parts if part.deep]
    if deep:
        reason = flat_refusal(deep[0]) or ""
        return f"the plate cannot be worked on: {reason} (its channels: {found})", DEEP_HINT
    if set("RGB") <= set(every):
        return (
            "the plate's R, G and B are in different parts of the file",
            "Write them into one part.",
        )
    if {"RY", "BY"} & set(every):
        return f"the plate is luminance-chroma ({found}); it has no R, G and B", RGB_HINT
    if any(is_crypto(name) for name in every) or any(is_crypto(p.name) for p in header.parts):
        return (
            f"the plate has no picture, only Cryptomatte's IDs and data: {found}",
            "Render the picture into the file too, or give another file.",
        )
    return f"the plate has no channels R, G and B, only: {found or 'none'}", f"{RGB_HINT} {SWAPPED}"


RGB_HINT = "Write the plate with R, G and B, or with the gray channel Y."
SWAPPED = "If it is the matte: the plate goes first, then the matte."
DEEP_HINT = "Flatten it first (in Nuke: DeepToImage), and write a flat OpenEXR."


def _usable(header: Header, picture: Selection) -> Selection:
    reason = _refusal(header, picture)
    if reason is not None:
        hint = DEEP_HINT if header.parts[picture.part].deep else None
        raise UnsupportedFrame(f"the plate cannot be worked on: {reason}", hint)
    return picture


def _refusal(header: Header, picture: Selection) -> str | None:
    part = header.parts[picture.part]
    reason = flat_refusal(part)
    for channel in part.channels:
        if reason is None and channel.name in picture.channels and channel.type is PixelType.UINT:
            return f"its channel {channel.name} is uint; write half or float"
    return reason


def listed(found: list[Selection], most: int = 12) -> str:
    """Layers as an artist may name them."""
    names = [picture.layer or "R, G, B" for picture in found]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def channels_of(header: Header, most: int = 24) -> str:
    """The channels of the file, part by part."""
    names = [channel.name for part in header.parts for channel in part.channels]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
