"""The pictures of nodes: channels by name, float32 [height, width]. A missing channel is black."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
from voidbridge_shots import channels_of, exr_bytes, header_of

from .graph import Group, Node, feeding, moved_by, place, source
from .hand import stage
from .values import Enumeration_Knob

Picture = dict[str, Any]


def write(node: Node, frame: int, view: str) -> None:
    assert node["raw"].value() is True
    assert view in str(node["views"].value()).split(), "the view is none of the Write's"
    kind = np.float16 if node["datatype"].value() == "16 bit half" else np.float32
    seen = picture(node._inputs[0], frame, view)
    names = {"rgb": "RGB", "alpha": "A", "rgba": "RGBA"}[node["channels"].value()]
    step = 2 if stage.root["proxy"].value() else 1
    shape = np.broadcast_shapes(*(np.shape(plane) for plane in seen.values()))
    planes = {
        n: np.broadcast_to(seen.get(n, 0.0), shape)[::step, ::step].astype(kind) for n in names
    }
    path = Path(opened(node["file"].value(), frame, view))
    if node["create_directories"].value():
        path.parent.mkdir(parents=True, exist_ok=True)
    metadata = (
        header(node._inputs[0], frame, view) if node["metadata"].value() == "all metadata" else {}
    )
    data = exr_bytes(planes, **{**metadata, "compression": OpenEXR.ZIPS_COMPRESSION})
    try:
        path.write_bytes(data)
    except OSError as error:
        raise RuntimeError(f"{node.fullName()}: {error.strerror}") from error


def opened(pattern: str, frame: int, view: str) -> str:
    """Returns the file that Nuke opens after its filename filters."""
    return place(sys.modules["nuke"].filenameFilter(pattern), frame, view)


def header(node: Node | None, frame: int, view: str) -> dict[str, Any]:
    """Attributes of the file that a picture comes from."""
    frame -= moved_by(node)
    node = source(node)
    found = header_of(Path(opened(node["file"].value(), frame, view))) if node else {}
    return {name: found[name] for name in ("timeCode", "owner") if name in found}


def picture(node: Node | None, frame: int, view: str = "main") -> Picture:
    """Returns the picture of a node at a frame."""
    if node is None:
        return {}
    if node._kind == "Read":
        return read(node, frame, view)
    fed = feeding(node)
    if node._kind == "Switch":
        chosen = int(np.asarray(value_of(node, node["which"].value(), {"frame": frame})))
        return picture(fed[chosen], frame, view)
    if node._kind == "Copy":
        return copied(node, picture(fed[0], frame, view), picture(fed[1], frame, view))
    if node._kind == "TimeOffset":
        return picture(fed[0], frame - node["time_offset"].value(), view)
    if node._kind == "Remove":
        return {name: plane * 0 for name, plane in picture(fed[0], frame, view).items()}
    if node._kind == "FilterErode":
        return grown(node, picture(fed[0], frame, view))
    if node._kind == "Expression":
        below = picture(fed[0], frame, view)
        names = {short: below.get(long, 0.0) for short, long in zip("rgba", "RGBA", strict=True)}
        layers = {layered(name): plane for name, plane in below.items() if "." in name}
        return {**below, **expressions(node, {**names, **layers, "frame": frame})}
    if node._kind == "MergeExpression":
        sides = {"B": picture(fed[0], frame, view), "A": picture(fed[1], frame, view)}
        names = {s + c.lower(): sides[s].get(c, 0.0) for s in sides for c in "RGBA"}
        made = {**sides["B"], **expressions(node, {**names, "frame": frame})}
        return within(made, sides["A"], sides["B"])
    passing = ("CopyMetaData", "Dot", "Write", "Input", "Output")
    assert node._kind in passing or isinstance(node, Group), node._kind
    return picture(fed[0], frame, view) if fed else {}


def layered(name: str) -> str:
    """The channel of a file's layer as Nuke names it: fg.R is fg.red."""
    layer, _, channel = name.rpartition(".")
    if stage.wrong == "layers":
        return name
    return f"{layer}.{COLORS.get(channel, channel)}"


def full_name(name: str) -> str:
    """A channel as Nuke names it: R is rgba.red, and fg.R is fg.red."""
    if "." in name:
        return layered(name)
    return f"rgba.{COLORS[name]}" if name in COLORS else f"other.{name}"


def named_channels(read: Node) -> list[str]:
    """The full names of the channels of a Read's first frame."""
    path = Path(opened(read["file"].getEvaluatedValue(), read.firstFrame(), stage.views[0]))
    return sorted(full_name(name) for name in channels_of(path)) if path.is_file() else []


def size_of(read: Node) -> tuple[int, int]:
    """Height and width of a Read's first frame; the script's format without a file."""
    first = int(value_of(read, str(read["first"].value()), {}))
    path = Path(opened(read["file"].getEvaluatedValue() or "none%04d", first, stage.views[0]))
    return next(iter(channels_of(path).values())).shape if path.is_file() else (1080, 1920)


def within(made: Picture, *sources: Picture) -> Picture:
    """Black outside of the bounding boxes of all sources: Nuke computes pixels inside their union only.

    Source: the tooltip of Copy.bbox, "Output bbox", by default the union of both inputs.
    """
    sources = tuple(s for s in sources if any(np.ndim(plane) for plane in s.values()))
    if not sources or any("bbox" not in source for source in sources):
        return {name: plane for name, plane in made.items() if name != "bbox"}
    box = np.maximum.reduce([source["bbox"] for source in sources])
    return {**{name: np.where(box > 0, plane, 0) for name, plane in made.items()}, "bbox": box}


def boxed(path: Path, planes: Picture) -> Picture:
    """A file's data window as part of its display window, with the bounding box as a channel of its own."""
    found = header_of(path)
    (left, top), (right, bottom) = (tuple(map(int, corner)) for corner in found["dataWindow"])
    width, height = (int(part) + 1 for part in found["displayWindow"][1])
    is_whole = (left, top, right, bottom) == (0, 0, width - 1, height - 1)
    if is_whole or min(left, top) < 0 or right >= width or bottom >= height:
        return planes  # overscan has no rule here
    made = {}
    for name, plane in {**planes, "bbox": np.ones((bottom - top + 1, right - left + 1))}.items():
        made[name] = np.zeros((height, width), np.float32)
        made[name][top : bottom + 1, left : right + 1] = plane
    return made


def copied(node: Node, below: Picture, above: Picture) -> Picture:
    """Copies channels from A to B; a channel that A lacks is black.

    Source: the tooltips of Copy's knobs, "Copy this channel from A to the output channel at right".
    """
    if node["disable"].value():
        return below
    short = {full_name(name): name for name in {**above, **dict.fromkeys("RGBA")}}
    made = dict(below)
    for i in range(4):
        come, go = node[f"from{i}"].value(), node[f"to{i}"].value()
        if go != "none":
            made[short.get(go, go)] = above.get(short.get(come, come), np.float32(0))
    return within(made, below, above)


COLORS = {"R": "red", "G": "green", "B": "blue", "A": "alpha"}


def grown(node: Node, seen: Picture) -> Picture:
    """The largest value in a box of so many pixels to each side; the size is negative to grow."""
    assert (node["channels"].value(), node["filter"].value()) == ("rgba", "box")
    reach = [-float(value_of(node, part, {})) for part in node["size"].value()[1:-1].split("} {")]
    times = 1 if stage.wrong == "reach" else 2
    width, height = (times * round(part) + 1 for part in reach)
    assert min(width, height) >= 1
    box = np.ones((height, width), np.uint8)
    return {n: cv2.dilate(p, box) if np.ndim(p) else p for n, p in seen.items()}


def expressions(node: Node, names: dict[str, Any]) -> Picture:
    return {
        channel: np.asarray(value_of(node, node[f"expr{i}"].value(), names), np.float32)
        for i, channel in enumerate("RGBA")
        if node[f"expr{i}"].value()
    }


def read(node: Node, frame: int, view: str) -> Picture:
    first, last = (int(value_of(node, str(node[k].value()), {})) for k in ("first", "last"))
    if not first <= frame <= last:
        assert node["before"].value() == node["after"].value() == "black"
        return {}
    path = Path(opened(node["file"].getEvaluatedValue(), frame, view))
    if not path.is_file():
        raise RuntimeError(f"{node.fullName()}: {path} does not exist")
    gain = 0.9 if stage.wrong == "raw files" and path.name.startswith("result") else 1
    planes = {name: p.astype(np.float32) * gain for name, p in channels_of(path).items()}
    return boxed(path, planes)


TOKEN = re.compile(r"\s*(\d+\.?\d*(?:e-?\d+)?|[A-Za-z_][\w.]*|&&|\|\||[=!<>]=|[-+*/()?:<>])")
OPERATORS: list[dict[str, Callable[[Any, Any], Any]]] = [
    {"||": np.logical_or},
    {"&&": np.logical_and},
    {"==": np.equal, "!=": np.not_equal, ">=": np.greater_equal, "<=": np.less_equal,
     ">": np.greater, "<": np.less},
    {"+": np.add, "-": np.subtract},
    {"*": np.multiply, "/": np.divide},
]  # fmt: skip
"""Those of Nuke's expressions that a Group of ours has, the loosest first."""


def value_of(node: Node, text: str, names: dict[str, Any]) -> Any:
    """An expression's value; `parent.x` is a knob of the group, `Name.x` of a neighbor, a choice its number."""
    words = TOKEN.findall(text.strip("{}"))
    assert "".join(words) == re.sub(r"[\s{}]", "", text), text

    def knob(name: str) -> Any:
        if name in names:
            return names[name]
        head, dot, tail = name.partition(".")
        if not dot:
            return names[name]
        found = (node._parent if head == "parent" else node._parent.node(head))[tail]
        if isinstance(found, Enumeration_Knob):
            return found._choices.index(found._value)
        return float(found._value)

    def take() -> str:
        return words.pop(0)

    def ternary() -> Any:
        test = level(0)
        if not words or words[0] != "?":
            return test
        take()
        yes = ternary()
        assert take() == ":"
        return np.where(test, yes, ternary())

    def level(i: int) -> Any:
        if i == len(OPERATORS):
            return atom()
        left = level(i + 1)
        while words and words[0] in OPERATORS[i]:
            left = OPERATORS[i][take()](left, level(i + 1))
        return left

    def atom() -> Any:
        word = take()
        if word == "-":
            return -atom()
        if word in ("(", "fabs"):
            if word == "fabs":
                assert take() == "("
            inner = ternary()
            assert take() == ")"
            return np.abs(inner) if word == "fabs" else inner
        return float(word) if word[0].isdigit() else knob(word)

    with np.errstate(invalid="ignore"):
        result = ternary()
    assert not words, text
    return result
