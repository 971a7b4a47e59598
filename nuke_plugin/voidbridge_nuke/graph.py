"""The script around a node: its inputs, everything upstream of them, and the variables in scope. Asks Nuke only.

Evaluating the tree in a callback loses connections while a script loads, so `scene` is never called in one.
"""

from __future__ import annotations

from typing import Any

import nuke

from . import upstream_hash
from .host import is_group, is_ours, operation, version, views
from .scene import Scene

SHOWN = frozenset(["output", "result_files", "result_first", "result_last", "disable"])
"""Knobs of a Voidbridge node that affect its output, besides those that make its result."""


def scene(node: Any) -> Scene:
    inputs = {spec.role: node.input(i) for i, spec in enumerate(operation(node).inputs)}
    plate = inputs["plate"]
    root = nuke.root()
    return Scene(
        plate=(int(plate.firstFrame()), int(plate.lastFrame())) if plate is not None else (0, 0),
        sources={role: _file_of(fed, plate) for role, fed in inputs.items() if fed is not None},
        views=tuple(views()),
        working_space=_working_space(root),
        channels={
            role: tuple(str(name) for name in fed.channels())
            for role, fed in inputs.items()
            if fed is not None
        },
        trees={role: _tree_of(fed, _variables(node)) for role, fed in inputs.items()},
        ranges={
            role: (int(fed.firstFrame()), int(fed.lastFrame()))
            for role, fed in inputs.items()
            if fed is not None
        },
    )


def size(node: Any) -> tuple[int, int]:
    """Returns width and height of the plate's format; the caller has made sure that there is a plate."""
    plate = node.input(0)
    return int(plate.width()), int(plate.height())


def _working_space(root: Any) -> str:
    """Returns the script's working space. A role is completed to its menu label, scene_linear (ACES - ACEScg)."""
    if "workingSpaceLUT" not in root.knobs():
        return ""
    knob = root["workingSpaceLUT"]
    space = str(knob.value())
    for entry in knob.values() if hasattr(knob, "values") else ():
        name, _, label = str(entry).partition("\t")
        if name == space and "(" in label:
            return label
    return space


def _file_of(node: Any, plate: Any) -> str:
    """Returns the file name at the plate's first frame, without its folder, which differs between machines."""
    if plate is None:
        return ""
    name = node.metadata("input/filename", int(plate.firstFrame()))
    return str(name or "").replace("\\", "/").rpartition("/")[2]


def _tree_of(node: Any, variables: str) -> str:
    """Returns the upstream hash of an input; empty if it is not connected."""
    if node is None:
        return ""
    text = upstream_hash.digest(node, _sources, _described, variables)
    return upstream_hash.marked(version(), text)


def _variables(node: Any) -> str:
    """Returns the graph-scope variables (Nuke 16 and later) of the script and of the groups around a node."""
    scopes = [nuke.root()]
    outer = node.parent()
    while outer is not None and outer.Class() != "Root":
        scopes.append(outer)
        outer = outer.parent()
    found = [str(scope["gsv"].toScript()) for scope in scopes if "gsv" in scope.knobs()]
    return "\n".join(text for text in found if text)


def _sources(node: Any) -> list[Any]:
    """Returns the sources of a node's picture: inputs, a group's inside, and nodes in its expressions."""
    if is_ours(node):
        return _feeding(node)  # its inside follows from its knobs
    inside = node.nodes() if is_group(node) else []
    ends = [inner for inner in inside if inner.Class() == "Output"]
    named = sorted(node.dependencies(nuke.EXPRESSIONS), key=lambda other: str(other.fullName()))
    return [*_feeding(node), *ends, *named]


def _described(node: Any) -> upstream_hash.Described:
    names = str(node.writeKnobs(nuke.WRITE_NON_DEFAULT_ONLY)).split()
    if is_ours(node):
        counts = {knob.name for knob in operation(node).knobs if knob.makes_result} | SHOWN
        names = [name for name in names if name in counts]
    there = node.knobs()
    return node.Class(), [(name, _spelled(there[name])) for name in names if name in there]


def _spelled(knob: Any) -> str:
    text = str(knob.toScript())
    return text.replace("\\", "/").rpartition("/")[2] if knob.Class() == "File_Knob" else text


def upstream(node: Any) -> list[Any]:
    """Returns the Voidbridge nodes that feed a node, through groups and out of them."""
    found: list[Any] = []
    seen = set()
    waiting = _feeding(node)
    while waiting:
        other = waiting.pop()
        if other.fullName() in seen:
            continue
        seen.add(other.fullName())
        if is_ours(other):
            found.append(other)
        elif is_group(other):
            waiting += other.nodes()
        waiting += _feeding(other)
    return found


def _feeding(node: Any) -> list[Any]:
    if node.Class() == "Input":
        return _outside(node)
    inputs = [node.input(i) for i in range(node.inputs())]
    return [other for other in inputs if other is not None]


def _outside(inner: Any) -> list[Any]:
    """Returns the node that feeds an Input from outside of its group, if one is connected."""
    group = inner.parent()
    number = int(inner["number"].value())
    fed = group.input(number) if group is not None and number < group.inputs() else None
    return [fed] if fed is not None else []
