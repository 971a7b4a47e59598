"""A small Nuke for tests. Everything in it is in types-nuke too. Names of types-nuke that it lacks raise an
error that says so; other names are no attributes.

Writes write real OpenEXR files, Reads read them, expressions are evaluated, threads are kept apart.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from types_of_nuke import NAMES

from .graph import EXPRESSIONS, WRITE_NON_DEFAULT_ONLY, Group, Node
from .hand import BEFORE_RENDER, stage
from .pictures import picture, write
from .surface import as_nuke, on_main
from .values import (
    BBox_Knob,
    Boolean_Knob,
    Color_Knob,
    Double_Knob,
    Enumeration_Knob,
    File_Knob,
    Int_Knob,
    Knob,
    PyScript_Knob,
    String_Knob,
    XY_Knob,
)

__all__ = [
    "EXE_PATH",
    "EXPRESSIONS",
    "GUI",
    "NAMES",
    "NUKE_VERSION_STRING",
    "WRITE_NON_DEFAULT_ONLY",
    "BBox_Knob",
    "Boolean_Knob",
    "Color_Knob",
    "Double_Knob",
    "Enumeration_Knob",
    "File_Knob",
    "Group",
    "Int_Knob",
    "Knob",
    "PyScript_Knob",
    "String_Knob",
    "XY_Knob",
    "picture",
    "stage",
]

GUI = True
EXE_PATH = sys.executable
env: dict[str, Any] = {"nc": False, "indie": False, "NukeVersionMajor": 13}
NUKE_VERSION_STRING = "13.2v8 (stand-in)"


def __getattr__(name: str) -> Any:
    if name in NAMES:
        raise NotImplementedError(f"the stand-in has no nuke.{name}")
    raise AttributeError(f"no Nuke has nuke.{name}")


class Undo:
    @staticmethod
    @on_main
    def disable() -> None:
        stage.undo_level += 1

    @staticmethod
    @on_main
    def enable() -> None:
        stage.undo_level -= 1


@as_nuke("ProgressTask", any_thread=True)
class ProgressTask:
    def __init__(self, title: str) -> None:
        assert type(title) is str
        stage.said.append(title)

    def setMessage(self, text: str) -> None:
        assert type(text) is str
        stage.said.append(text)

    def setProgress(self, percent: int) -> None:
        assert type(percent) is int
        assert 0 <= percent <= 100

    def isCancelled(self) -> bool:
        return stage.cancel_progress


@as_nuke("Menu")
class Menu:
    def addMenu(self, name: str, icon: str = "") -> Menu:
        return self

    def addCommand(self, name: str, command: str = "", icon: str = "") -> None:
        stage.commands[name] = command


# -- functions ------------------------------------------------------------------------------------


@on_main
def root() -> Node:
    return stage.root


@on_main
def modified() -> bool:
    return stage.modified


@on_main
def menu(name: str) -> Menu:
    if not GUI:
        raise RuntimeError("there are no menus without a GUI")
    return Menu()


def here() -> Node:
    return stage.context[-1] if stage.context else stage.root


@on_main
def filenameFilter(filename: str) -> str:
    """Asks every filter in turn, as nuke/callbacks.py does."""
    for change in () if stage.wrong == "filename filters" else stage.filters:
        filename = change(filename) or filename
    return filename


@on_main
def addFilenameFilter(call: Callable[[str], str | None]) -> None:
    stage.filters.append(call)


@on_main
def warning(text: str) -> None:
    stage.said.append(text)


@on_main
def views() -> list[str]:
    return list(stage.views)


@on_main
def allNodes(kind: str = "", group: Node | None = None, recurseGroups: bool = False) -> list[Node]:
    found = []
    for node in (group or here())._nodes:
        found += [node] if kind in ("", node._kind) else []
        found += allNodes(kind, node, True) if recurseGroups else []
    return found


@on_main
def toNode(name: str) -> Node | None:
    """Looks in the group that the code runs in. Buttons and callbacks of a Group run inside it.

    AutoCropTool and ColorSampler of NukeSurvivalToolkit look inner nodes up that way, and need `with nuke.root()`
    for outer ones; ComfyUI-for-Nuke prefixes "root.".
    """
    is_absolute = name.partition(".")[0] == "root" or stage.wrong == "names in groups"
    found: Node | None = stage.root if is_absolute else here()
    for part in [part for part in name.split(".") if part != "root"]:
        found = found.node(part) if found else None
    return found


@on_main
def thisNode() -> Node:
    return stage.this[-1][0]


@on_main
def thisKnob() -> Knob:
    return stage.this[-1][1]


@on_main
def delete(node: Node) -> None:
    node._parent._nodes.remove(node)


@on_main
def nodePaste(path: str) -> None:
    """The selected node is on the stack, as text that Nuke copies expects: set cut_paste_input [stack 0]."""
    selected = None if stage.wrong == "cut paste input" else stage.selected
    stage.load(Path(path).read_text(encoding="utf-8"), selected)


@on_main
def scriptOpen(path: str) -> None:
    if not Path(path).is_file():
        raise RuntimeError(f"{path}: No such file or directory")
    stage.clear()
    stage.root._knobs["name"]._value = path
    stage.load(Path(path).read_text(encoding="utf-8"))
    for call in stage.on_load:
        call()


@on_main
def selectedNodes() -> list[Node]:
    return list(stage.selection)


@on_main
def frame() -> int:
    return stage.frame


@on_main
def ask(prompt: str) -> bool:
    stage.messages.append(prompt)
    return stage.says_yes


@on_main
def message(text: str) -> None:
    if not GUI:
        raise RuntimeError("nuke.message needs a GUI")
    stage.messages.append(text)


@on_main
def tprint(text: str) -> None:
    stage.said.append(text)


@on_main
def addOnScriptLoad(call: Callable[[], None]) -> None:
    stage.on_load.append(call)


@on_main
def addBeforeRender(call: Callable[[], None]) -> None:
    stage.before_render.append(call)


@on_main
def pluginAddPath(path: str, addToSysPath: bool = True) -> None:
    sys.path.insert(0, str((stage.plugin / path).resolve()))


def executeInMainThread(call: Callable[..., None], args: Any = ()) -> None:
    if threading.current_thread() is threading.main_thread():
        raise RuntimeError("Nuke would hang: this is the main thread")
    assert type(args) is tuple
    stage.waiting.put((call, args))


@on_main
def execute(node: Node, first: int, last: int, step: int = 1, views: Any = None) -> None:
    executeMultiple((node,), ((first, last, step),), views or list(stage.views))


@on_main
def executeMultiple(nodes: Any, ranges: Any, views: Any) -> None:
    assert type(views) is list
    for node in nodes:
        assert node._kind == "Write"
        if node["disable"].value():
            raise RuntimeError(f"{node.fullName()} is disabled")
        for call in () if stage.wrong == "callbacks" else stage.before_render:
            stage.this.append((node, BEFORE_RENDER))
            try:
                call()
            finally:
                stage.this.pop()
    for first, last, step in ranges:
        for frame in range(first, last + 1, step):
            stage.before_frame(frame)
            for node in nodes:
                for view in views:
                    write(node, frame, view)
            if frame == stage.cancel_render_at:
                raise RuntimeError("Cancelled")
