"""A small Nuke for tests. What it has, types-nuke has too; what types-nuke has besides, says so; all else is
no attribute. Writes write real OpenEXR files, Reads read them, expressions are evaluated, threads are kept apart.

`stage` is the hand that holds it: it belongs to the tests and is nothing of Nuke's.
"""

from __future__ import annotations

import ast
import functools
import queue
import re
import sys
import sysconfig
import threading
import time
import tkinter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
from voidbridge_stage import channels_of, exr_bytes, header_of

STUBS = Path(sysconfig.get_paths()["purelib"]) / "nuke-stubs"
SECONDS = 40.0
GUI = True
NUKE_VERSION_STRING = "13.2v8 (stand-in)"


def _surface() -> tuple[set[str], dict[str, set[str]]]:
    """Names of Nuke's functions and constants; methods by class, those of its bases included."""
    names: set[str] = set()
    classes: dict[str, tuple[set[str], list[str]]] = {}
    for path in sorted(STUBS.glob("*.pyi")):
        for item in ast.parse(path.read_text()).body:
            if isinstance(item, ast.FunctionDef):
                names.add(item.name)
            elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                names.add(item.target.id)
            elif isinstance(item, ast.ClassDef):
                names.add(item.name)
                methods = {part.name for part in item.body if isinstance(part, ast.FunctionDef)}
                classes[item.name] = methods, [b.id for b in item.bases if isinstance(b, ast.Name)]

    def methods(name: str) -> set[str]:
        own, bases = classes.get(name, (set(), []))
        return own.union(*(methods(base) for base in bases))

    return names, {name: methods(name) for name in classes}


NAMES, METHODS = _surface()
ITEMS = {"__getitem__", "__getattr__", "__init__", "__contains__"}


def __getattr__(name: str) -> Any:
    if name in NAMES:
        raise NotImplementedError(f"the stand-in has no nuke.{name}")
    raise AttributeError(f"no Nuke has nuke.{name}")


def on_main(call: Callable[..., Any]) -> Callable[..., Any]:
    """Everything of Nuke's belongs to its main thread."""

    @functools.wraps(call)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(f"nuke.{call.__qualname__} was called outside of the main thread")
        return call(*args, **kwargs)

    return checked


def as_nuke(name: str, *, any_thread: bool = False) -> Callable[[type], type]:
    """A class of Nuke's: every public method is one of the stub's, and stays on the main thread."""

    def check(made: type) -> type:
        for attribute, value in list(vars(made).items()):
            if (attribute.startswith("_") and attribute not in ITEMS) or not callable(value):
                continue
            assert attribute in METHODS[name] | ITEMS, f"no Nuke has {name}.{attribute}"
            if not any_thread and attribute not in ("__getattr__", "__init__"):
                setattr(made, attribute, on_main(value))
        return made

    return check


# -- knobs ----------------------------------------------------------------------------------------


@as_nuke("Knob")
class Knob:
    def __init__(self, name: str, label: str = "", value: Any = "") -> None:
        self._name, self._label, self._value = name, label, value
        self._node: Any = None
        self._tooltip = ""

    def name(self) -> str:
        return self._name

    def value(self) -> Any:
        return self._value

    def setValue(self, value: Any) -> bool:
        if isinstance(self._value, (bool, int, float)) and not isinstance(
            value, (bool, int, float)
        ):
            raise TypeError(f"{self._name} takes a number, not {value!r}")
        self._value = type(self._value)(value) if self._value != "" else value
        stage.wrote(self)
        return True

    def setTooltip(self, text: str) -> None:
        self._tooltip = text

    def fromScript(self, text: str) -> None:
        self._value = text
        stage.wrote(self)


class Int_Knob(Knob):
    def __init__(self, name: str, label: str = "") -> None:
        super().__init__(name, label, 0)


class Double_Knob(Knob):
    def __init__(self, name: str, label: str = "") -> None:
        super().__init__(name, label, 0.0)


class Boolean_Knob(Knob):
    def __init__(self, name: str, label: str = "") -> None:
        super().__init__(name, label, False)


class String_Knob(Knob):
    pass


@as_nuke("File_Knob")
class File_Knob(Knob):
    def getEvaluatedValue(self) -> str:
        return evaluated(self._node, self._value)


@as_nuke("Enumeration_Knob")
class Enumeration_Knob(Knob):
    def __init__(self, name: str, label: str, choices: list[str]) -> None:
        super().__init__(name, label, choices[0])
        self._choices = choices

    def values(self) -> list[str]:
        return list(self._choices)

    def setValues(self, choices: list[str]) -> None:
        self._choices = list(choices)
        if self._value not in choices:
            self._value = choices[0]

    def setValue(self, value: str) -> bool:
        if value not in self._choices:
            raise TypeError(f"{self._name} has no {value!r}")
        self._value = value
        stage.wrote(self)
        return True


@as_nuke("PyScript_Knob")
class PyScript_Knob(Knob):
    def execute(self) -> None:
        stage.call(self._value, self._node, self)


class Reload(Knob):
    """The button of a Read."""

    def execute(self) -> None:
        stage.reloads.append(self._node.fullName())


BUILT_IN: dict[str, dict[str, Any]] = {
    "Write": {
        "channels": "rgb", "file": "", "file_type": "", "raw": False, "create_directories": False,
        "checkHashOnRead": True, "datatype": "16 bit half", "compression": "", "metadata": "",
        "on_error": "error", "views": "main", "disable": False,
    },
    "Read": {
        "file": "", "file_type": "", "first": 1, "last": 1, "origfirst": 1, "origlast": 1,
        "origset": False, "before": "hold", "after": "hold", "localizationPolicy": "on",
        "on_error": "error", "raw": False,
    },
    "Expression": {f"expr{i}": "" for i in range(4)},
    "MergeExpression": {f"expr{i}": "" for i in range(4)},
    "CopyMetaData": {"mergeMode": "Image+Meta"},
    "Switch": {"which": "0"},
    "Remove": {"operation": "remove", "channels": "all"},
    "Group": {"disable": False, "onCreate": "", "knobChanged": "", "tile_color": 0, "label": ""},
    "Input": {"number": 0},
    "Output": {},
}  # fmt: skip
"""Knobs by class with their defaults; a name that is not here is a mistake."""
EVERY_NODE = {"name": "", "xpos": 0, "ypos": 0}
USER_KNOBS = {"1": String_Knob, "2": File_Knob, "3": Int_Knob, "6": Boolean_Knob, "7": Double_Knob}


def typed(default: Any, word: str) -> Any:
    """A word of a script as a value like the default."""
    if isinstance(default, bool):
        return word == "true"
    if isinstance(default, (int, float)) and not word.startswith("{"):
        return type(default)(int(word, 0) if isinstance(default, int) else float(word))
    return word


# -- nodes ----------------------------------------------------------------------------------------


@as_nuke("Group")
class Node:
    def __init__(self, kind: str, parent: Node | None) -> None:
        self._kind, self._parent = kind, parent
        self._inputs: list[Node | None] = []
        self._nodes: list[Node] = []
        self._knobs: dict[str, Knob] = {}

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

    def input(self, number: int) -> Node | None:
        return self._inputs[number] if number < len(self._inputs) else None

    def inputs(self) -> int:
        return len(self._inputs)

    def setInput(self, number: int, node: Node | None) -> bool:
        self._inputs += [None] * (number + 1 - len(self._inputs))
        self._inputs[number] = node
        return True

    def node(self, name: str) -> Node | None:
        return next((node for node in self._nodes if node.name() == name), None)

    def nodes(self) -> list[Node]:
        return list(self._nodes)

    def metadata(self, key: str, time: int) -> str | None:
        assert key == "input/filename"
        node = source(self)
        return place(str(node["file"]._value), time, "main") if node else None

    def firstFrame(self) -> int:
        return (
            int(self._knobs["first"]._value)
            if self._kind == "Read"
            else self._inputs[0].firstFrame()
        )

    def lastFrame(self) -> int:
        return (
            int(self._knobs["last"]._value) if self._kind == "Read" else self._inputs[0].lastFrame()
        )


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
def menu(name: str) -> Menu:
    if not GUI:
        raise RuntimeError("there are no menus without a GUI")
    return Menu()


@on_main
def views() -> list[str]:
    return list(stage.views)


@on_main
def allNodes(kind: str = "", group: Node | None = None, recurseGroups: bool = False) -> list[Node]:
    found = []
    for node in (group or stage.root)._nodes:
        found += [node] if kind in ("", node._kind) else []
        found += allNodes(kind, node, True) if recurseGroups else []
    return found


@on_main
def toNode(name: str) -> Node | None:
    found: Node | None = stage.root
    for part in name.split("."):
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
    stage.load(Path(path).read_text(encoding="utf-8"))


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
        for call in stage.before_render:
            stage.this.append((node, None))
            try:
                call()
            finally:
                stage.this.pop()
    for first, last, step in ranges:
        for frame in range(first, last + 1, step):
            for node in nodes:
                for view in views:
                    write(node, frame, view)
            if frame == stage.cancel_render_at:
                raise RuntimeError("Cancelled")


# -- pictures: channels by name, float32 [height, width]; what is not there is black ------------------

Picture = dict[str, Any]


def write(node: Node, frame: int, view: str) -> None:
    assert node["raw"].value() is True
    assert view in str(node["views"].value()).split(), "the view is none of the Write's"
    kind = np.float16 if node["datatype"].value() == "16 bit half" else np.float32
    seen = picture(node._inputs[0], frame, view)
    names = {"rgb": "RGB", "alpha": "A"}[node["channels"].value()]
    step = 2 if stage.root["proxy"].value() else 1
    shape = np.broadcast_shapes(*(np.shape(plane) for plane in seen.values()))
    planes = {
        n: np.broadcast_to(seen.get(n, 0.0), shape)[::step, ::step].astype(kind) for n in names
    }
    path = Path(place(node["file"].value(), frame, view))
    if node["create_directories"].value():
        path.parent.mkdir(parents=True, exist_ok=True)
    metadata = (
        header(node._inputs[0], frame, view) if node["metadata"].value() == "all metadata" else {}
    )
    path.write_bytes(exr_bytes(planes, **{**metadata, "compression": OpenEXR.ZIPS_COMPRESSION}))


def header(node: Node | None, frame: int, view: str) -> dict[str, Any]:
    """Attributes of the file that a picture comes from."""
    node = source(node)
    found = header_of(Path(place(node["file"].value(), frame, view))) if node else {}
    return {name: found[name] for name in ("timeCode", "owner") if name in found}


def source(node: Node | None) -> Node | None:
    """The Read that a picture comes from, along input 0."""
    while node is not None and node._kind != "Read":
        node = feeding(node)[0] if feeding(node) else None
    return node


def place(pattern: str, frame: int, view: str) -> str:
    return pattern.replace("%V", view) % frame


def evaluated(node: Node, text: str) -> str:
    return re.sub(r"\[value parent\.(\w+)\]", lambda m: node._parent[m[1]].value(), text)


def feeding(node: Node) -> list[Node | None]:
    """Inputs, through the walls of a group."""
    if node._kind == "Input":
        return [node._parent.input(int(node["number"].value()))]
    if node._kind == "Group":
        inside = next(inner for inner in node._nodes if inner._kind == "Output")
        return [node.input(0) if node["disable"].value() else inside]
    return list(node._inputs)


def picture(node: Node | None, frame: int, view: str = "main") -> Picture:
    """What a node gives at a frame."""
    if node is None:
        return {}
    if node._kind == "Read":
        return read(node, frame, view)
    fed = feeding(node)
    if node._kind == "Switch":
        chosen = int(np.asarray(value_of(node, node["which"].value(), {"frame": frame})))
        return picture(fed[chosen], frame, view)
    if node._kind == "Remove":
        return {name: plane * 0 for name, plane in picture(fed[0], frame, view).items()}
    if node._kind == "Expression":
        below = picture(fed[0], frame, view)
        names = {short: below.get(long, 0.0) for short, long in zip("rgba", "RGBA", strict=True)}
        return {**below, **expressions(node, {**names, "frame": frame})}
    if node._kind == "MergeExpression":
        sides = {"B": picture(fed[0], frame, view), "A": picture(fed[1], frame, view)}
        names = {s + c.lower(): sides[s].get(c, 0.0) for s in sides for c in "RGBA"}
        return {**sides["B"], **expressions(node, {**names, "frame": frame})}
    assert node._kind in ("CopyMetaData", "Write", "Input", "Output", "Group"), node._kind
    return picture(fed[0], frame, view) if fed else {}


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
    path = Path(place(evaluated(node, node["file"].value()), frame, view))
    if not path.is_file():
        raise RuntimeError(f"{node.fullName()}: {path} does not exist")
    return {name: plane.astype(np.float32) for name, plane in channels_of(path).items()}


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
    """An expression's value; `parent.x` is a knob of the group, a choice its number."""
    words = TOKEN.findall(text.strip("{}"))
    assert "".join(words) == re.sub(r"[\s{}]", "", text), text

    def knob(name: str) -> Any:
        if not name.startswith("parent."):
            return names[name]
        found = node._parent[name.removeprefix("parent.")]
        return (
            found._choices.index(found._value)
            if isinstance(found, Enumeration_Knob)
            else found._value
        )

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


# -- the hand -----------------------------------------------------------------------------------------

PRELUDE = """
set nodes {}; set stack {}; set saved {}; set count 0
proc stack {i} { lindex $::stack $i }
proc push {node} { set ::stack [linsert $::stack 0 $node] }
proc end_group {} {
    lappend ::nodes [list 0 end_group {} {}]
    set ::stack [lindex $::saved end]; set ::saved [lrange $::saved 0 end-1]
}
proc unknown {class body} {
    set inputs 1
    foreach {knob value} $body { if {$knob eq "inputs"} { set inputs $value } }
    set id [incr ::count]
    lappend ::nodes [list $id $class $body [lrange $::stack 0 [expr {$inputs - 1}]]]
    set ::stack [linsert [lrange $::stack $inputs end] 0 $id]
    if {$class eq "Group"} { lappend ::saved $::stack; set ::stack {} }
}
"""


class Stage:
    """Everything that a test does to this Nuke, and everything that it heard."""

    def start(self, plugin: Path, folder: Path) -> None:
        """As a Nuke does that has `plugin` on NUKE_PATH."""
        self.plugin, self.folder = plugin, folder
        self.views = ["main"]
        self.waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.messages: list[str] = []
        self.said: list[str] = []
        self.commands: dict[str, str] = {}
        self.reloads: list[str] = []
        self.written: list[tuple[str, Any, int]] = []
        self.on_load: list[Any] = []
        self.before_render: list[Any] = []
        self.this: list[Any] = []
        self.undo_level = 0
        self.telling = False
        self.made: list[Node] = []
        self.cancel_progress = False
        self.cancel_render_at: int | None = None
        self.clear()
        for name in ("init.py", "menu.py") if GUI else ("init.py",):
            exec(compile((plugin / name).read_text(), name, "exec"), {})

    def clear(self) -> None:
        self.root = Node("Root", None)
        for knob in (
            String_Knob("name", "", ""), Boolean_Knob("proxy"), String_Knob("workingSpaceLUT", "", "linear"),
        ):  # fmt: skip
            self.root.addKnob(knob)

    def load(self, text: str) -> list[Node]:
        """The nodes of a script's text, which real Tcl reads."""
        tcl = tkinter.Tcl()
        tcl.eval(PRELUDE)
        tcl.eval(text)
        made: dict[str, Node] = {}
        parent, top = self.root, []
        for item in tcl.splitlist(tcl.eval("set nodes")):
            number, kind, body, fed = tcl.splitlist(item)
            if kind == "end_group":
                done, parent = parent, parent._parent
                self.made.append(done)
                self.call(done["onCreate"].value(), done, None)
                continue
            node = made[number] = Node(kind, parent)
            node._inputs = [made.get(other) for other in tcl.splitlist(fed)]
            words = tcl.splitlist(body)
            self._fill(node, list(zip(words[::2], words[1::2], strict=True)), tcl)
            parent._nodes.append(node)
            top += [node] if parent is self.root else []
            parent = node if kind == "Group" else parent
        return top

    def _fill(self, node: Node, pairs: list[tuple[str, str]], tcl: Any) -> None:
        for name, default in {**EVERY_NODE, **BUILT_IN[node._kind]}.items():
            node.addKnob(
                File_Knob(name, "", default) if name == "file" else Knob(name, "", default)
            )
        if node._kind == "Read":
            node.addKnob(Reload("reload"))
        for name, word in pairs:
            if name == "addUserKnob":
                node.addKnob(self._user_knob(tcl.splitlist(word)))
            elif name != "inputs":
                knob = node[name]
                knob._value = typed(knob._value, word)
        taken = {other.name() for other in node._parent._nodes}
        while node.name() in taken:
            stem, number = re.fullmatch(r"(.*?)(\d*)", node.name()).groups()
            node["name"]._value = f"{stem}{int(number or 0) + 1}"

    def _user_knob(self, words: Any) -> Knob:
        kind, name, *rest = [word for word in words if not re.fullmatch(r"[+-][A-Z]+", word)]
        options = dict(zip(rest[::2], rest[1::2], strict=True))
        if kind == "4":
            return Enumeration_Knob(name, options["l"], list(tkinter.Tcl().splitlist(options["M"])))
        if kind == "22":
            return PyScript_Knob(name, options["l"], options["T"])
        return USER_KNOBS.get(kind, String_Knob)(name, options["l"])

    def call(self, text: str, node: Node, knob: Any) -> None:
        """A callback of a node, as Nuke runs it."""
        self.this.append((node, knob))
        try:
            exec(text, {"nuke": sys.modules["nuke"]})
        finally:
            self.this.pop()

    def wrote(self, knob: Knob) -> None:
        """Tells the node, whoever set the knob, but not while it is being told already."""
        self.written.append((knob._name, knob._value, self.undo_level))
        node = knob._node
        if (
            node is not None
            and "knobChanged" in node._knobs
            and not self.telling
            and node in self.made
        ):
            self.telling = True
            try:
                self.call(node["knobChanged"]._value, node, knob)
            finally:
                self.telling = False

    def press(self, button: str, node: Node) -> None:
        node[button].execute()

    def until(self, question: Callable[[], Any], what: str = "") -> None:
        """Turns the event loop."""
        deadline = time.monotonic() + SECONDS
        while not question():
            assert time.monotonic() < deadline, f"waited in vain for {what}; {self.said[-5:]}"
            try:
                call, args = self.waiting.get(timeout=0.02)
            except queue.Empty:
                continue
            call(*args)


stage = Stage()
