"""Access to Nuke: the only module that imports `nuke`. It translates and decides nothing.

All of it runs on Nuke's main thread, except `later` and the methods of `Progress`.
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

from . import upstream_hash
from .group import INPUTS, READS, WRITES
from .knobs import BOOL, CHOICE, FILE, FLOAT, INT, KNOBS, STRING, Knob, Value, with_values
from .request import NodeError, Scene, files

SHOWN = frozenset(["output", "result_files", "result_first", "result_last", "disable"])
"""Knobs of a Voidbridge node that affect its output, besides those that make its result."""
MISSING_TIMES = 5
"""Maximum number of missing files that a message names."""


class Stopped(Exception):
    """The artist cancelled while Nuke rendered."""


def has_gui() -> bool:
    return bool(nuke.GUI)


def version() -> str:
    return str(nuke.NUKE_VERSION_STRING)


def script() -> str:
    """Returns the path of the script; empty before it is saved."""
    name = str(nuke.root().name())
    return "" if name in ("", "Root") else name


def temporary() -> str:
    return tempfile.gettempdir()


# -- nodes ---------------------------------------------------------------------------------------


def is_ours(node: Any) -> bool:
    return node.Class() == "Group" and "node_id" in node.knobs() and "node_version" in node.knobs()


def ours() -> list[Any]:
    """Returns every Voidbridge node of the script, including those in groups."""
    return [
        node
        for node in nuke.allNodes("Group", group=nuke.root(), recurseGroups=True)
        if is_ours(node)
    ]


def find(node_id: str) -> Any | None:
    """Returns None if the node was deleted or its script is closed."""
    found = [node for node in ours() if node["node_id"].value() == node_id]
    return found[0] if found else None


def named(name: str) -> Any | None:
    node = nuke.toNode(name)
    return node if node is not None and is_ours(node) else None


def paste(path: str) -> None:
    nuke.nodePaste(path)


def open_script(path: str) -> None:
    """Opens a script. Raises `NodeError`."""
    try:
        nuke.scriptOpen(path)
    except RuntimeError as error:
        raise NodeError(
            f"The script {path} cannot be opened: {error}.", "Open it in Nuke."
        ) from error


def values(node: Any) -> dict[str, Value]:
    """Returns every knob's value as a plain one. A missing knob has its default."""
    found: dict[str, Value] = {}
    there = node.knobs()
    for knob in with_values():
        if knob.name not in there:
            found[knob.name] = knob.default
        elif knob.kind == FILE:
            found[knob.name] = str(there[knob.name].getEvaluatedValue() or "")
        else:
            found[knob.name] = _plain(knob, there[knob.name].value())
    return found


def _plain(knob: Knob, value: Any) -> Value:
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
    }
    with no_undo():
        for knob in knobs:
            if knob.kind == CHOICE:
                made: Any = nuke.Enumeration_Knob(knob.name, knob.label, list(knob.choices))
            else:
                made = kinds[knob.kind](knob.name, knob.label)
            made.setTooltip(knob.tooltip)
            node.addKnob(made)
            made.setValue(knob.default)


def reload_result(node: Any) -> None:
    for name in READS:
        read = node.node(name)
        if read is not None:
            read["reload"].execute()


# -- the script around a node -----------------------------------------------------------------------


def scene(node: Any) -> Scene:
    connected = {role: node.input(number) for role, number in INPUTS.items()}
    plate = connected["plate"]
    root = nuke.root()
    space = root["workingSpaceLUT"].value() if "workingSpaceLUT" in root.knobs() else ""
    return Scene(
        plate=(int(plate.firstFrame()), int(plate.lastFrame())) if plate is not None else (0, 0),
        has_plate=plate is not None,
        has_matte=connected["matte"] is not None,
        has_affected=connected["affected"] is not None,
        views=tuple(str(view) for view in nuke.views()),
        working_space=str(space),
        plate_file=_file_of(plate, plate),
        matte_file=_file_of(connected["matte"], plate),
        trees={role: _tree_of(other) for role, other in connected.items()},
    )


def _file_of(node: Any, plate: Any) -> str:
    """Returns the file name at the plate's first frame, without its folder, which differs between machines."""
    if node is None or plate is None:
        return ""
    name = node.metadata("input/filename", int(plate.firstFrame()))
    return str(name or "").replace("\\", "/").rpartition("/")[2]


def _tree_of(node: Any) -> str:
    """Returns the upstream hash of an input; empty if it is not connected."""
    return (
        upstream_hash.marked(version(), upstream_hash.digest(node, _sources, _described))
        if node is not None
        else ""
    )


def _sources(node: Any) -> list[Any]:
    """Returns the sources of a node's picture: inputs, a group's inside, and nodes in its expressions."""
    if is_ours(node):
        return _feeding(node)  # its inside follows from its knobs
    inside = node.nodes() if node.Class() == "Group" else []
    ends = [inner for inner in inside if inner.Class() == "Output"]
    named = sorted(node.dependencies(nuke.EXPRESSIONS), key=lambda other: str(other.fullName()))
    return [*_feeding(node), *ends, *named]


def _described(node: Any) -> upstream_hash.Described:
    names = str(node.writeKnobs(nuke.WRITE_NON_DEFAULT_ONLY)).split()
    if is_ours(node):
        counts = {knob.name for knob in KNOBS if knob.makes_result} | SHOWN
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
        elif other.Class() == "Group":
            waiting += other.nodes()
        waiting += _feeding(other)
    return found


def _feeding(node: Any) -> list[Any]:
    if node.Class() == "Input":
        outer = node.fullName().rpartition(".")[0]
        group = nuke.toNode(outer) if outer else None
        return _feeding(group) if group is not None else []
    inputs = [node.input(i) for i in range(node.inputs())]
    return [other for other in inputs if other is not None]


def is_disabled(node: Any) -> bool:
    return bool(node["disable"].value())


def this_node() -> Any:
    return nuke.thisNode()


# -- rendering ------------------------------------------------------------------------------------


@contextlib.contextmanager
def writing(
    node: Any, roles: Sequence[str], views: Sequence[str], folder: str, depth: str
) -> Iterator[Callable[[int, int], None]]:
    """Yields a function that renders a run of frames of the inputs to files, in full size. Raises `NodeError`.

    The function raises `Stopped` and `NodeError`.
    """
    writes = [node.node(WRITES[role]) for role in roles]
    if None in writes:
        raise NodeError(
            "The inside of this node was changed: {}.".format(
                ", ".join(WRITES[role] for role in roles)
            ),
            "Make a new node and connect it in place of this one.",
        )

    def render(first: int, last: int) -> None:
        try:
            nuke.executeMultiple(tuple(writes), ((first, last, 1),), list(views))
        except RuntimeError as error:
            if "cancel" in str(error).lower():
                raise Stopped() from error
            raise NodeError(
                f"The plate cannot be rendered: {error}.", "Check the nodes that feed this node."
            ) from error
        wanted = _expected(folder, roles, (first, last), views)
        missing = [name for name in wanted if not os.path.exists(name)]
        if missing:
            raise NodeError(
                "Nuke did not write {}.".format(", ".join(missing[:MISSING_TIMES])),
                "Check the nodes that feed this node, and the free disk space.",
            )

    with no_undo(), _full_size():
        try:
            for role, write in zip(roles, writes):
                write["file"].setValue(files(folder, role))
                write["datatype"].setValue(depth)
                write["views"].fromScript(" ".join(views))
                write["disable"].setValue(False)
            yield render
        finally:
            for write in writes:
                write["disable"].setValue(True)


def _expected(
    folder: str, roles: Sequence[str], frames: tuple[int, int], views: Sequence[str]
) -> list[str]:
    return [
        files(folder, role, view) % frame
        for role in roles
        for view in views
        for frame in range(frames[0], frames[1] + 1)
    ]


@contextlib.contextmanager
def _full_size() -> Iterator[None]:
    """Turns proxies off, because half-size plates would pass for full ones."""
    root = nuke.root()
    proxy = root["proxy"].value() if "proxy" in root.knobs() else False
    if proxy:
        root["proxy"].setValue(False)
    try:
        yield
    finally:
        if proxy:
            root["proxy"].setValue(True)


# -- threads and people -------------------------------------------------------------------------------


def later(call: Callable[..., None], *args: Any) -> None:
    """Runs a call on the main thread; at once if this is the main thread."""
    if threading.current_thread() is threading.main_thread() or not has_gui():
        call(*args)
    else:
        nuke.executeInMainThread(call, args=args)


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
