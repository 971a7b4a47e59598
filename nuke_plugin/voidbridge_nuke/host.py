"""Access to Nuke: its nodes, knobs, messages and threads. It translates and decides nothing.

Only this module, `graph` and `rendering` import `nuke`. All of it runs on Nuke's main thread, except `later` and
the methods of `Progress`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
import tempfile
import threading
from typing import Any, Callable, Iterator, Mapping, Sequence

import nuke

from .group import READS
from .knobs import (
    ARRAYS,
    BOOL,
    BOX,
    CHOICE,
    COLOR,
    FILE,
    FLOAT,
    INT,
    POINT,
    STRING,
    Knob,
    Value,
    with_values,
)
from .operations import OPERATIONS, REMOVE, HostOperation
from .request import NodeError


class Stopped(Exception):
    """The artist cancelled while Nuke rendered."""


def has_gui() -> bool:
    return bool(nuke.GUI)


def version() -> str:
    return str(nuke.NUKE_VERSION_STRING)


def program() -> str:
    """Returns the path of Nuke's program."""
    return str(nuke.EXE_PATH)


def limited_edition() -> str:
    """Returns the name of an edition in which Python sees ten nodes at most; empty for the others."""
    environment: Any = nuke.env
    for key, name in (("nc", "Nuke Non-commercial"), ("indie", "Nuke Indie")):
        with contextlib.suppress(KeyError):
            if environment[key]:
                return name
    return ""


def script() -> str:
    """Returns the path of the script; empty before it is saved."""
    name = str(nuke.root().name())
    return "" if name in ("", "Root") else name


def is_modified() -> bool:
    """Returns True if the script has changes that are not saved."""
    return bool(nuke.modified())


def frames() -> tuple[int, int]:
    """Returns the script's own range."""
    return int(nuke.root().firstFrame()), int(nuke.root().lastFrame())


def temporary() -> str:
    return tempfile.gettempdir()


def mapped(path: str) -> str:
    """Returns a path as this machine opens it: farms map paths with filename filters."""
    change: Callable[[str], Any] = nuke.filenameFilter  # the stubs lack its types
    return str(change(path) or path) if path else path


def views() -> list[str]:
    return [str(view) for view in nuke.views()]


# -- nodes ---------------------------------------------------------------------------------------


def is_ours(node: Any) -> bool:
    return node.Class() == "Group" and "node_id" in node.knobs() and "node_version" in node.knobs()


def is_group(node: Any) -> bool:
    """Returns True for nodes with nodes inside: LiveGroup, VariableGroup and gizmos have classes of their own."""
    return isinstance(node, nuke.Group)


def ours() -> list[Any]:
    """Returns every Voidbridge node of the script, including those in groups of any class."""
    found: list[Any] = []
    root: Any = nuke.root()  # a Group, as the stubs do not say
    waiting = list(root.nodes())
    while waiting:
        node = waiting.pop(0)
        if is_ours(node):
            found.append(node)
        elif is_group(node):
            waiting += node.nodes()
    return found


def find(node_id: str) -> Any | None:
    """Returns None if the node was deleted or its script is closed."""
    found = [node for node in ours() if node["node_id"].value() == node_id]
    return found[0] if found else None


def named(name: str) -> Any | None:
    """Finds a node by its full name. The name begins at the root, or Nuke looks in the group that calls."""
    node = nuke.toNode("root." + name)
    return node if node is not None and is_ours(node) else None


def paste(path: str) -> None:
    nuke.nodePaste(path)


def paste_beside(node: Any, text: str) -> None:
    """Pastes nodes into the group that holds a node: a button's code runs inside of its own."""
    handle, path = tempfile.mkstemp(prefix="voidbridge_", suffix=".nk")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    outer: Any = node.parent() or nuke.root()
    try:
        with outer:
            nuke.nodePaste(path.replace("\\", "/"))
    finally:
        os.unlink(path)


def selected() -> list[Any]:
    """Returns the selected Voidbridge nodes."""
    return [node for node in nuke.selectedNodes() if is_ours(node)]


def frame() -> int:
    """Returns the frame that the viewer shows."""
    return int(nuke.frame())


def open_script(path: str) -> None:
    """Opens a script. Raises `NodeError`."""
    try:
        nuke.scriptOpen(path)
    except RuntimeError as error:
        raise NodeError(
            f"The script {path} cannot be opened: {error}.", "Open it in Nuke."
        ) from error


def operation(node: Any) -> HostOperation:
    """Returns the operation of a Voidbridge node. Raises `NodeError` for one of a later release."""
    name = str(node["operation"].value()) if "operation" in node.knobs() else REMOVE.name
    if name not in OPERATIONS:
        raise NodeError(
            f"This node's operation is {name}, which this release of Voidbridge does not have.",
            "Install the release that made the node: voidbridge install nuke",
        )
    return OPERATIONS[name]


def values(node: Any) -> dict[str, Value]:
    """Returns every knob's value as a plain one. A missing knob has its default."""
    found: dict[str, Value] = {}
    there = node.knobs()
    for knob in with_values(operation(node).knobs):
        if knob.name not in there:
            found[knob.name] = knob.default
        elif knob.kind == FILE:
            found[knob.name] = str(there[knob.name].getEvaluatedValue() or "")
        else:
            found[knob.name] = _plain(knob, there[knob.name].value())
    return found


def _plain(knob: Knob, value: Any) -> Value:
    if knob.kind in ARRAYS:
        return " ".join(f"{float(part):g}" for part in value)
    kinds: dict[str, Callable[[Any], Value]] = {INT: int, FLOAT: float, BOOL: bool}
    return kinds.get(knob.kind, str)(value)


@contextlib.contextmanager
def no_undo() -> Iterator[None]:
    """Disables undo, because an artist does not undo bookkeeping."""
    nuke.Undo.disable()
    try:
        yield
    finally:
        nuke.Undo.enable()


def put(node: Any, changes: Mapping[str, Any]) -> None:
    """Sets the knobs that differ, so that a script is not marked as changed without need."""
    with no_undo():
        for name, value in changes.items():
            if name in node.knobs() and node[name].value() != value:
                node[name].setValue(value)


def set_value(node: Any, name: str, value: Value) -> None:
    """Sets a knob as the artist would, with undo."""
    node[name].setValue(value)


def put_choices(node: Any, name: str, choices: Sequence[str], value: str) -> None:
    with no_undo():
        if list(node[name].values()) != list(choices):
            node[name].setValues(list(choices))
        if node[name].value() != value:
            node[name].setValue(value)


def add_knobs(node: Any, knobs: Sequence[Knob]) -> None:
    kinds = {
        INT: nuke.Int_Knob,
        FLOAT: nuke.Double_Knob,
        BOOL: nuke.Boolean_Knob,
        STRING: nuke.String_Knob,
        FILE: nuke.File_Knob,
        COLOR: nuke.Color_Knob,
        POINT: nuke.XY_Knob,
        BOX: nuke.BBox_Knob,
    }
    with no_undo():
        for knob in knobs:
            if knob.kind == CHOICE:
                made: Any = nuke.Enumeration_Knob(knob.name, knob.label, list(knob.choices))
            else:
                made = kinds[knob.kind](knob.name, knob.label)
            made.setTooltip(knob.tooltip)
            node.addKnob(made)
            numbers = str(knob.default).split() if knob.kind in ARRAYS else []
            made.setValue([float(part) for part in numbers] or knob.default)


def numbers_at(node: Any, name: str, frame: int, count: int) -> list[float]:
    """Returns the numbers of a point or a box at a frame: it may be animated, or follow a Tracker."""
    return [float(node[name].getValueAt(frame, index)) for index in range(count)]


def connect(node: Any, sources: Sequence[Any]) -> None:
    for number, source in enumerate(sources):
        node.setInput(number, source)


def input_of(node: Any, number: int) -> Any:
    return node.input(number)


def reload_result(node: Any) -> None:
    for name in READS:
        read = node.node(name)
        if read is not None:
            read["reload"].execute()


def put_inside(node: Any, knobs: Mapping[str, Mapping[str, Value]]) -> None:
    """Sets knobs of inner nodes, given by the node's name, that differ."""
    for name, changes in knobs.items():
        inner = node.node(name)
        if inner is not None:  # a node of another operation or an earlier release lacks it
            put(inner, changes)


def is_disabled(node: Any) -> bool:
    return bool(node["disable"].value())


def this_node() -> Any:
    return nuke.thisNode()


# -- threads and people -------------------------------------------------------------------------------


def later(call: Callable[..., None], *args: Any) -> None:
    """Runs a call on the main thread; at once if this is the main thread."""
    if threading.current_thread() is threading.main_thread() or not has_gui():
        call(*args)
    else:
        nuke.executeInMainThread(call, args=args)


def soon(call: Callable[..., None], *args: Any) -> None:
    """Runs a call on the main thread after the present callback, and after a script that is being loaded.

    Only another thread may ask for that, so one is made. Needs a GUI, whose event loop runs the call.
    """
    threading.Thread(
        target=nuke.executeInMainThread, args=(call, args), name="voidbridge look", daemon=True
    ).start()


class Progress:
    """Nuke's own progress bar; without a GUI it does nothing. Usable on any thread."""

    def __init__(self, title: str) -> None:
        self._task = nuke.ProgressTask(title) if has_gui() else None

    def show(self, text: str, fraction: float) -> None:
        if self._task is not None:
            self._task.setMessage(str(text))
            self._task.setProgress(int(100 * fraction))

    def is_cancelled(self) -> bool:
        return self._task is not None and bool(self._task.isCancelled())

    def close(self) -> None:
        """Releases the last reference, which closes the bar."""
        self._task = None


def show_message(text: str) -> None:
    """Shows one message in the GUI. Raises RuntimeError without one, because nobody could answer it."""
    if not has_gui():
        raise RuntimeError(text)
    nuke.message(text)


def ask(text: str) -> bool:
    """Asks a question with yes and no. Without a GUI nobody says yes."""
    return has_gui() and bool(nuke.ask(text))


def warn(text: str) -> None:
    """Writes to the error console, or to the terminal."""
    nuke.warning(text)


def reveal(folder: str) -> None:
    """Opens the folder in the system's file browser."""
    openers = {"darwin": ["open"], "win32": ["explorer"]}
    try:
        subprocess.Popen([*openers.get(sys.platform, ["xdg-open"]), os.path.normpath(folder)])
    except OSError as error:
        raise NodeError(
            f"{folder} cannot be shown: {error.strerror or error}.", "Look there."
        ) from error


def copy(text: str) -> bool:
    """Copies text to the clipboard with Nuke's Qt. Returns False if Nuke has none."""
    for binding in ("PySide6.QtWidgets", "PySide2.QtWidgets"):
        try:
            widgets = importlib.import_module(binding)
        except ImportError:
            continue
        application = widgets.QApplication.instance()
        if application is not None:
            application.clipboard().setText(text)
            return True
    return False


def add_to_menu(label: str, command: str, icon: str) -> None:
    nuke.menu("Nodes").addMenu("Voidbridge", icon=icon).addCommand(label, command, icon=icon)
