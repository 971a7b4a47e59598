"""The hand that holds this Nuke: it belongs to the tests and is nothing of Nuke's."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # knobs and nodes tell this module what happens to them: they come after it
    from .graph import Node
    from .values import Knob

SECONDS = 120.0


class Event:
    """A change of no knob. Nuke passes it as a knob with this name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        return self._name


INPUT_CHANGE, BEFORE_RENDER = Event("inputChange"), Event("beforeRender")


class Stage:
    """Everything that a test does to this Nuke, and everything that it heard."""

    def start(self, plugin: Path, folder: Path) -> None:
        """As a Nuke does that has `plugin` on NUKE_PATH."""
        self.plugin, self.folder = plugin, folder
        self.views = ["main"]
        self.selected: Node | None = None
        self.selection: list[Node] = []
        self.frame = 1001
        self.says_yes = False
        self.waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.messages: list[str] = []
        self.said: list[str] = []
        self.commands: dict[str, str] = {}
        self.reloads: list[str] = []
        self.written: list[tuple[str, Any, int]] = []
        self.on_load: list[Any] = []
        self.before_render: list[Any] = []
        self.this: list[Any] = []
        self.context: list[Any] = []
        """Groups that code runs in. `toNode` and `allNodes` look in the last."""
        self.filters: list[Any] = []
        self.modified = False
        """True if the script has changes that are not saved."""
        self.loading = False
        """True while a script is read."""
        self.looks = 0
        """How often a callback had the tree evaluated."""
        self.undo_level = 0
        self.telling = False
        self.made: list[Node] = []
        self.wrong = ""
        """A rule of a real Nuke that this one breaks, so that a test sees whether the self-test notices."""
        self.cancel_progress = False
        self.cancel_render_at: int | None = None
        self.before_frame: Callable[[int], None] = lambda frame: None
        """Called before each frame that a Write renders."""
        self.clear()
        for name in ("init.py", "menu.py") if sys.modules["nuke"].GUI else ("init.py",):
            exec(compile((plugin / name).read_text(), name, "exec"), {})

    def clear(self) -> None:
        """Closes the script."""
        from .script import empty

        self.root = empty()

    def load(self, text: str, selected: Node | None = None) -> list[Node]:
        """The nodes of a script's text, added to the script behind a selected node."""
        from .script import load

        return load(text, selected)

    def call(self, text: str, node: Node, knob: Any) -> None:
        """A callback of a node, as Nuke runs it."""
        is_group = isinstance(node, sys.modules["nuke"].Group)
        self.this.append((node, knob))
        self.context += [node] if is_group else []
        try:
            exec(text, {"nuke": sys.modules["nuke"]})
        finally:
            self.this.pop()
            del self.context[len(self.context) - is_group :]

    def evaluated(self) -> None:
        """Counts evaluations of the tree in callbacks."""
        if self.this and self.this[-1][1] is not BEFORE_RENDER:
            self.looks += 1
        if self.loading and self.this and self.wrong != "looks":
            self.this[-1][0]._inputs.clear()

    def connected(self, node: Node) -> None:
        """Tells the node of a connected input, also during loading."""
        self.tell(node, INPUT_CHANGE)

    def tell(self, node: Node, knob: Any) -> None:
        if "knobChanged" in node._knobs and not self.telling and node in self.made:
            self.telling = True
            try:
                self.call(node["knobChanged"]._value, node, knob)
            finally:
                self.telling = False

    def wrote(self, knob: Knob) -> None:
        """Tells the node, whoever set the knob, but not while it is being told already."""
        self.written.append((knob._name, knob._value, self.undo_level))
        if knob._node is not None:
            self.tell(knob._node, knob)

    def press(self, button: str, node: Node) -> None:
        node[button].execute()

    def settle(self) -> None:
        """Turns the event loop until no check is put off."""
        controller = sys.modules["voidbridge_nuke.controller"]
        self.until(lambda: not getattr(controller, "PENDING", ()), "the look that was put off")

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
