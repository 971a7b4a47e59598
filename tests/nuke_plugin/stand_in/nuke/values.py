"""Knobs: those of Nuke's own classes with their defaults, and those that a node is given."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .hand import stage
from .surface import as_nuke


@as_nuke("Knob")
class Knob:
    def __init__(self, name: str, label: str = "", value: Any = "") -> None:
        self._name, self._label, self._value, self._default = name, label, value, value
        self._node: Any = None
        self._tooltip = ""

    def name(self) -> str:
        return self._name

    def Class(self) -> str:
        return type(self).__name__

    def value(self) -> Any:
        return self._value

    def toScript(self) -> str:
        return str(self._value)

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


class Color_Knob(Knob):
    """Three numbers, which Nuke gives as a list."""

    def __init__(self, name: str, label: str = "") -> None:
        super().__init__(name, label, [0.0, 0.0, 0.0])

    def setValue(self, value: Any) -> bool:
        if len(value) != 3:
            raise TypeError(f"{self._name} takes three numbers, not {value!r}")
        self._value = [float(part) for part in value]
        stage.wrote(self)
        return True

    def toScript(self) -> str:
        return "{" + " ".join(f"{part:g}" for part in self._value) + "}"


class XY_Knob(Knob):
    """Numbers that may differ from frame to frame, as those that follow a Tracker."""

    count = 2

    def __init__(self, name: str, label: str = "") -> None:
        super().__init__(name, label, [0.0] * self.count)
        self._at: dict[int, list[float]] = {}

    def setValue(self, value: Any) -> bool:
        if len(value) != self.count:
            raise TypeError(f"{self._name} takes {self.count} numbers, not {value!r}")
        self._value = [float(part) for part in value]
        stage.wrote(self)
        return True

    def setValueAt(self, value: float, frame: int, index: int) -> None:
        self._at.setdefault(frame, list(self._value))[index] = value

    def getValueAt(self, frame: int, index: int) -> float:
        return self._at.get(frame, self._value)[index]

    def toScript(self) -> str:
        return "{" + " ".join(f"{part:g}" for part in self._value) + "}"


class BBox_Knob(XY_Knob):
    count = 4


class String_Knob(Knob):
    pass


@as_nuke("File_Knob")
class File_Knob(Knob):
    def getEvaluatedValue(self) -> str:
        return re.sub(
            r"\[value parent\.(\w+)\]", lambda m: self._node._parent[m[1]].value(), self._value
        )


@as_nuke("Enumeration_Knob")
class Enumeration_Knob(Knob):
    def __init__(self, name: str, label: str, choices: list[str]) -> None:
        super().__init__(name, label, choices[0])
        self._choices = choices

    def values(self) -> list[str]:
        """Entries as "name\tlabel" where both differ; the value is the name.

        Source: the scan of Nuke 17.0v3, Copy.bbox, with the value union and the entry "B\tB side".
        """
        return list(self._choices)

    def setValues(self, choices: list[str]) -> None:
        self._choices = list(choices)
        if self._value not in choices:
            self._value = choices[0]

    def setValue(self, value: str) -> bool:
        if value not in [choice.partition("\t")[0] for choice in self._choices]:
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
        self._node._format = self._node._format if stage.wrong == "reload" else None


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
    "Copy": {
        **{f"from{i}": "none" for i in range(1, 4)}, **{f"to{i}": "none" for i in range(1, 4)},
        "from0": "rgba.alpha", "to0": "rgba.alpha", "disable": False,
    },
    "TimeOffset": {"time_offset": 0},
    "Dot": {},
    "FilterErode": {"channels": "alpha", "filter": "box", "size": "1"},
    "Remove": {"operation": "remove", "channels": "all"},
    "LiveGroup": {"disable": False, "onCreate": "", "knobChanged": ""},
    "VariableGroup": {"disable": False, "onCreate": "", "knobChanged": "", "gsv": ""},
    "Group": {"disable": False, "onCreate": "", "knobChanged": "", "tile_color": 0},
    "Input": {"number": 0},
    "Output": {},
}  # fmt: skip
"""Knobs by class with their defaults; a name that is not here is a mistake."""
EVERY_NODE = {"name": "", "xpos": 0, "ypos": 0, "label": ""}
USER_KNOBS: dict[str, Callable[[str, str], Knob]] = {
    "1": String_Knob, "2": File_Knob, "3": Int_Knob, "6": Boolean_Knob, "7": Double_Knob, "12": XY_Knob,
    "15": BBox_Knob, "18": Color_Knob,
}  # fmt: skip


def typed(default: Any, word: str) -> Any:
    """A word of a script as a value like the default."""
    if isinstance(default, bool):
        return word == "true"
    if isinstance(default, list):
        return [float(part) for part in word.split()]
    if isinstance(default, (int, float)) and not word.startswith("{"):
        return type(default)(int(word, 0) if isinstance(default, int) else float(word))
    return word
