"""Nodes and what feeds them.

Rules of a real Nuke, each with its evidence:

- Metadata and frame ranges evaluate the tree. Done in a callback while a script loads or nodes are pasted, that
  loses the connections of the node (Psyop/Cryptomatte #18; its utilities guard with `screenHeight() == 0`).
- LiveGroup, VariableGroup and gizmos are Groups by inheritance, not by `Class()` (types-nuke: LiveGroup, Precomp,
  Gizmo; Foundry, Nuke 16: VariableGroup and the knob `gsv` of Root and groups).
"""

from __future__ import annotations

import re

from .hand import stage
from .surface import as_nuke
from .values import Knob

WRITE_NON_DEFAULT_ONLY, EXPRESSIONS = 4, 1


@as_nuke("Group")
class Node:
    def __init__(self, kind: str, parent: Node | None) -> None:
        self._kind, self._parent = kind, parent
        self._inputs: list[Node | None] = []
        self._nodes: list[Node] = []
        self._knobs: dict[str, Knob] = {}
        self._format: tuple[int, int] | None = None

    def __getitem__(self, name: str) -> Knob:
        if name not in self._knobs:
            raise NameError(f"knob {name} does not exist")
        return self._knobs[name]

    def Class(self) -> str:
        return self._kind

    def name(self) -> str:
        return str(self._knobs["name"]._value)

    def fullName(self) -> str:
        outer = self._parent
        return (
            self.name()
            if outer is None or outer._kind == "Root"
            else f"{outer.fullName()}.{self.name()}"
        )

    def knobs(self) -> dict[str, Knob]:
        return dict(self._knobs)

    def addKnob(self, knob: Knob) -> None:
        knob._node = self
        self._knobs[knob._name] = knob

    def parent(self) -> Node | None:
        return self._parent

    def setSelected(self, is_selected: bool) -> None:
        others = [node for node in stage.selection if node is not self]
        stage.selection = [*others, self] if is_selected else others
        stage.selected = stage.selection[-1] if stage.selection else None

    def input(self, number: int) -> Node | None:
        return self._inputs[number] if number < len(self._inputs) else None

    def inputs(self) -> int:
        return len(self._inputs)

    def setInput(self, number: int, node: Node | None) -> bool:
        self._inputs += [None] * (number + 1 - len(self._inputs))
        self._inputs[number] = node
        stage.connected(self)
        return True

    def node(self, name: str) -> Node | None:
        return next((node for node in self._nodes if node.name() == name), None)

    def nodes(self) -> list[Node]:
        return list(self._nodes)

    def writeKnobs(self, flags: int) -> str:
        assert flags == WRITE_NON_DEFAULT_ONLY
        if stage.wrong == "written knobs":
            return ""
        return " ".join(n for n, k in self._knobs.items() if k._value != k._default)

    def dependencies(self, mask: int) -> list[Node]:
        assert mask == EXPRESSIONS
        texts = [k._value for k in self._knobs.values() if str(k._value).startswith("{")]
        named = {name for text in texts for name in re.findall(r"(\w+)\.\w+", text)}
        return [node for node in self._parent._nodes if node.name() in named]

    def sample(self, channel: str, x: float, y: float, dx: float, dy: float, frame: int) -> float:
        """The value of a pixel; 0 where there is none. Rows count from the bottom."""
        from .pictures import picture

        plane = picture(self, frame).get({"alpha": "A"}.get(channel, channel[0].upper()))
        if plane is None or not plane.ndim:
            return 0.0
        return float(plane[len(plane) - 1 - int(y), int(x)])

    def channels(self) -> list[str]:
        """Full names, as rgba.red and beauty.red; none of a missing file. A group has those of its output."""
        from .pictures import full_name, named_channels, picture

        stage.evaluated()
        if isinstance(self, Group):
            there = picture(self, self.firstFrame())
            return sorted(full_name(name) for name in there if name != "bbox")
        found = source(self)
        return named_channels(found) if found else []

    def width(self) -> int:
        return self._size()[1]

    def height(self) -> int:
        return self._size()[0]

    def _size(self) -> tuple[int, int]:
        """A Read keeps the format that it was made with, until it is reloaded; without a file the script's."""
        from .pictures import size_of

        if self._kind == "Read" and self._format is None:
            self._format = size_of(self)
        return self._format if self._kind == "Read" else feeding(self)[0]._size()

    def metadata(self, key: str, time: int) -> str | None:
        assert key == "input/filename"
        stage.evaluated()
        node = source(self)
        return place(str(node["file"]._value), time, "main") if node else None

    def firstFrame(self) -> int:
        stage.evaluated()
        if self._kind == "Root":
            return int(self._knobs["first_frame"]._value)
        return (
            int(self._knobs["first"]._value)
            if self._kind == "Read"
            else self._inputs[0].firstFrame()
        )

    def lastFrame(self) -> int:
        stage.evaluated()
        if self._kind == "Root":
            return int(self._knobs["last_frame"]._value)
        return (
            int(self._knobs["last"]._value) if self._kind == "Read" else self._inputs[0].lastFrame()
        )


@as_nuke("Group")
class Group(Node):
    def __enter__(self) -> Group:
        stage.context.append(self)
        return self

    def __exit__(self, *problem: object) -> None:
        stage.context.pop()


GROUPS = ("Root", "Group", "LiveGroup", "VariableGroup")
"""Classes that are a `Group` for isinstance."""


def new_node(kind: str, parent: Node | None) -> Node:
    groups = ("Root", "Group") if stage.wrong == "classes" else GROUPS
    return (Group if kind in groups else Node)(kind, parent)


def source(node: Node | None) -> Node | None:
    """The Read that a picture comes from, along input 0."""
    while node is not None and node._kind != "Read":
        node = feeding(node)[0] if feeding(node) else None
    return node


def moved_by(node: Node | None) -> int:
    """Frames by which a picture is moved on its way, along input 0."""
    moved = 0
    while node is not None and node._kind != "Read":
        moved += int(node["time_offset"].value()) if node._kind == "TimeOffset" else 0
        node = feeding(node)[0] if feeding(node) else None
    return moved


def place(pattern: str, frame: int, view: str) -> str:
    return pattern.replace("%V", view) % frame


def feeding(node: Node) -> list[Node | None]:
    """Inputs, through the walls of a group."""
    if node._kind == "Input":
        return [node._parent.input(int(node["number"].value()))]
    if isinstance(node, Group):
        inside = next(inner for inner in node._nodes if inner._kind == "Output")
        return [node.input(0) if node["disable"].value() else inside]
    return list(node._inputs)
