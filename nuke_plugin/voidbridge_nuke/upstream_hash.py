"""A hash of a node's upstream: every node with the knobs that decide its picture.

Nuke's own hash differs at every frame, and does not exist before a node was evaluated. This hash is the same
for every shown frame, with a GUI and without, and on a machine that has the files elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Callable, Iterable, Sequence, Tuple

LOOKS = frozenset(
    "name xpos ypos selected label note_font note_font_size note_font_color tile_color gl_color hide_input "
    "postage_stamp postage_stamp_frame bookmark icon indicators dope_sheet help autolabel cached lifetimeStart "
    "lifetimeEnd useLifetime localizationPolicy knobChanged onCreate onDestroy updateUI display selectable".split()
)
"""Knobs that affect only a node's look or its description, never its picture."""
PASSING = frozenset(["Dot", "PostageStamp"])
"""Classes that pass on their input, as does a Write that does not read its file."""

Described = Tuple[str, Sequence[Tuple[str, str]]]
"""The class of a node, and name and value of every changed knob."""


def digest(
    top: Any,
    sources: Callable[[Any], Iterable[Any]],
    described: Callable[[Any], Described],
    variables: str = "",
) -> str:
    """Hashes `top` and all that `sources` finds above it, in their order but without their names and positions.

    `variables`, the values of the variables that the nodes may use, count whether they are used or not.
    """
    numbers: dict[str, int] = {}
    found: list[Any] = []
    first = _seen(top, sources)
    order = [first]
    numbers[first.fullName()] = 0
    for node in order:  # grows during the iteration
        fed = []
        for source in sources(node):
            source = _seen(source, sources)
            name = source.fullName()
            if name not in numbers:
                numbers[name] = len(order)
                order.append(source)
            fed.append(numbers[name])
        kind, knobs = described(node)
        found.append([kind, sorted(pair for pair in knobs if pair[0] not in LOOKS), fed])
    text = json.dumps([*found, variables] if variables else found, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def is_known(one: str, other: str) -> bool:
    """Returns True if two results of `marked` can be compared: the same release of Nuke made both."""
    return bool(one and other) and one.partition(" ")[0] == other.partition(" ")[0]


def marked(nuke: str, text: str) -> str:
    """Adds the release of Nuke to a hash, as `17.0v3`: another release may write knobs differently."""
    return "{} {}".format(nuke.partition("v")[0], text)


def _seen(node: Any, sources: Callable[[Any], Iterable[Any]]) -> Any:
    """Returns the node behind those that only pass on."""
    passed = set()
    while _hands_on(node) and node.fullName() not in passed:
        passed.add(node.fullName())
        node = next(iter(sources(node)), node)
    return node


def _hands_on(node: Any) -> bool:
    if node.Class() == "Write":  # a new script version only renders to another name
        knobs = node.knobs()
        return not ("reading" in knobs and knobs["reading"].value())
    return node.Class() in PASSING
