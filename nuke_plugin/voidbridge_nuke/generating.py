"""The modes of the node that generates: which inputs each has, and where its frames lie. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Mapping

from .knobs import Value
from .node_error import NodeError
from .operations import HostOperation
from .scene import Scene


def used(operation: HostOperation, mode: str, scene: Scene) -> Scene:
    """Returns the scene without the inputs that a mode has no use for: no change of theirs counts."""
    unused = {spec.role for spec in operation.inputs if not spec.is_used(mode)}
    if not unused:
        return scene
    return replace(
        scene,
        sources={role: text for role, text in scene.sources.items() if role not in unused},
        trees={role: text for role, text in scene.trees.items() if role not in unused},
    )


def check_beside(
    operation: HostOperation, mode: str, wanted: tuple[int, int], plate: tuple[int, int]
) -> None:
    """Raises `NodeError` if the new frames do not lie beside frames of the plate as the mode needs them."""
    first, last = wanted
    if mode in operation.beyond:
        fits = first == plate[1] + 1 or (mode == "extend" and last == plate[0] - 1)
        hint = f"Choose a custom range that begins at {plate[1] + 1}."
    else:
        room = 0 if mode == "hdr" else 1
        fits = plate[0] + room <= first and last <= plate[1] - room
        hint = "Choose a custom range that leaves plate on both sides."
    if not fits:
        raise NodeError(
            f"{mode} cannot make frames {first}-{last} of a plate that has {plate[0]}-{plate[1]}.",
            hint,
        )


def firsts(
    operation: HostOperation, scene: Scene, listed: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Returns the frames of inputs that have frames of their own: as many as the mode sees, from their first.

    Raises `NodeError` for a frame that such an input does not have.
    """
    found = {}
    for spec in operation.inputs:
        if not spec.from_first or spec.role not in scene.sources:
            continue
        first, last = scene.ranges[spec.role]
        named = listed.get(spec.role, ())
        for frame in named:
            if not first <= frame <= last:
                raise NodeError(
                    f"The input {spec.role} has no frame {frame}.", f"It has {first}-{last}."
                )
        found[spec.role] = named[:1] or tuple(
            range(first, min(first + spec.from_first - 1, last) + 1)
        )
    return found


def range_word(
    operation: HostOperation, settings: Mapping[str, Value], wanted: tuple[int, int]
) -> str:
    """Returns the option that tells the frames: a mode between two clips takes their number."""
    first, last = wanted
    if settings.get(operation.leading) in operation.by_length:
        return f"--length={last - first + 1}"
    return f"--frames={first}-{last}"
