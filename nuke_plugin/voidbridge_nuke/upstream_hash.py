"""What feeds a node, as a hash: every node upstream with the knobs that decide its picture.

Not Nuke's own hash of a node: that is another one at every frame, and none before a node was looked at. This one is
the same whatever frame is shown, with a GUI and without, and on a machine that has the files elsewhere.
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
"""Knobs that change how a node looks, or what is told about it, and never its picture."""
PASSING = frozenset(["Dot", "PostageStamp"])
"""Classes that hand on what they are given, as does a Write that does not read its file."""

Described = Tuple[str, Sequence[Tuple[str, str]]]
"""The class of a node, and name and value of every knob that is not as it comes."""


def digest(
    top: Any, sources: Callable[[Any], Iterable[Any]], described: Callable[[Any], Described]
) -> str:
    """Of `top` and all that `sources` finds above it. Names and places of nodes do not count, their order does."""
    numbers: dict[str, int] = {}
    found: list[Any] = []
    first = _seen(top, sources)
    order = [first]
    numbers[first.fullName()] = 0
    for node in order:  # grows while it is gone through
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
    text = json.dumps(found, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def is_known(one: str, other: str) -> bool:
    """Whether two that `marked` made can be compared: the same release of Nuke spelled both."""
    return bool(one and other) and one.partition(" ")[0] == other.partition(" ")[0]


def marked(nuke: str, text: str) -> str:
    """A digest with the release of Nuke that spelled the knobs, as `17.0v3`: another may spell them otherwise."""
    return "{} {}".format(nuke.partition("v")[0], text)


def _seen(node: Any, sources: Callable[[Any], Iterable[Any]]) -> Any:
    """The node behind those that only hand on."""
    passed = set()
    while _hands_on(node) and node.fullName() not in passed:
        passed.add(node.fullName())
        node = next(iter(sources(node)), node)
    return node


def _hands_on(node: Any) -> bool:
    if (
        node.Class() == "Write"
    ):  # a new version of a script renders to another name, and that is all
        knobs = node.knobs()
        return not ("reading" in knobs and knobs["reading"].value())
    return node.Class() in PASSING
