"""The fields of an operation's settings: each is written once, with its help, label, group and range.

The checks, the options of the command line, the controls of the hosts and the tables in the docs come from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeVar

from .errors import BadSetting

Value = TypeVar("Value")

EFFORT = (
    *("mode", "passes", "quality", "half_rate", "steps", "region", "detail"),
    *("schedule", "upscale", "precision", "refiner", "sound"),
)
"""Names of settings, of any operation, that decide how long a job takes."""
KEY = "setting"
"""Under which a dataclass field keeps its `SettingInfo`."""


@dataclass(frozen=True)
class SettingInfo:
    """Describes one setting to people, and says which values it takes."""

    help: str
    """A plain phrase without a full stop. `CODE` and [links](into docs/) are for the pages."""
    group: str = ""
    """Heading under which options and controls stand together."""
    label: str = ""
    """Name on a host's panel; empty: the field's name with spaces."""
    choices: tuple[Any, ...] = ()
    least: float | None = None
    """Smallest value, itself allowed."""
    above: float | None = None
    """Lower bound, itself not allowed."""
    most: float | None = None
    """Largest value, itself allowed."""
    below: float | None = None
    """Upper bound, itself not allowed."""
    metavar: str = ""
    """Placeholder for the value in the help: N, PX, NAME."""
    is_option: bool = True
    """Whether the command line has an option for it, named after the field."""

    @property
    def text(self) -> str:
        """The help without links and backticks, for terminals and tooltips."""
        return re.sub(r"\[(.*?)\]\(.*?\)", r"\1", self.help).replace("`", "")

    @property
    def interval(self) -> str:
        """The range in mathematical notation, as "[0, 4096]" or "]0, 1]"; empty without one."""
        if all(bound is None for bound in (self.least, self.above, self.most, self.below)):
            return ""
        low = f"[{_shown(self.least)}" if self.least is not None else f"]{_shown(self.above)}"
        high = f"{_shown(self.most)}]" if self.most is not None else f"{_shown(self.below)}["
        return f"{low}, {high}".replace("]None", "]-∞").replace("None[", "∞[")

    @property
    def range_words(self) -> str:
        """The range in words, as "0 to 4096", "above 0 to 1" or "1 or more"; empty without one."""
        low = f"above {_shown(self.above)}" if self.above is not None else _shown(self.least)
        high = f"below {_shown(self.below)}" if self.below is not None else _shown(self.most)
        if low == high == "None":
            return ""
        if "None" in (low, high):
            return f"{low} or more" if high == "None" else f"up to {high}"
        words = f"{low} to {high}"
        return words.replace(str(2**63 - 1), "2^63-1").replace(str(2**63 - 1001), "2^63-1001")

    def is_in_range(self, value: float) -> bool:
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )


def setting(default: Value, help: str, **info: Any) -> Value:
    """A dataclass field with this default and `SettingInfo(help, **info)`."""
    made: Value = field(default=default, metadata={KEY: SettingInfo(help, **info)})
    return made


@dataclass(frozen=True)
class OperationSettings:
    """Base of every operation's settings. Raises `BadSetting` for a value that its field does not take.

    A field that a daemon does not know is refused, never ignored.
    """

    engine: str = ""
    """Name of an engine of this operation; each operation gives it a default."""

    @property
    def is_preview(self) -> bool:
        """Whether the result is for looking at and not for delivery."""
        return False

    @property
    def has_sound(self) -> bool:
        """Whether the job has one more result behind its frames: their sound, as WAV."""
        return False

    @property
    def effort(self) -> dict[str, Any]:
        """The settings that decide how long a job takes, by name. The rest changes time by little."""
        return {name: getattr(self, name) for name in EFFORT if hasattr(self, name)}

    def __post_init__(self) -> None:
        for found, info in described(type(self)):
            _check(found.name.replace("_", " "), getattr(self, found.name), info)


def described(settings: type[OperationSettings]) -> Iterator[tuple[Field[Any], SettingInfo]]:
    """Each field that carries a `SettingInfo`, in order."""
    for found in fields(settings):
        if info := found.metadata.get(KEY):
            yield found, info


def grouped(
    settings: type[OperationSettings],
) -> dict[str, list[tuple[Field[Any], SettingInfo]]]:
    """The described fields by the title of their group.

    A group stands where the first of the operation's own fields does: `engine`, which every operation has, does
    not count.
    """
    found = list(described(settings))
    common = {field.name for field in fields(OperationSettings)}
    own = [info.group for field, info in found if field.name not in common]
    titles = dict.fromkeys([*own, *(info.group for _, info in found)])
    return {title: [pair for pair in found if pair[1].group == title] for title in titles}


def _check(name: str, value: Any, info: SettingInfo) -> None:
    if info.choices and value not in info.choices:
        known = ", ".join(map(str, info.choices))
        raise BadSetting(f"{name} {value!r} is not one of {known}")
    if info.interval and not info.is_in_range(value):
        raise BadSetting(f"{name} is {_shown(value)}; it must lie in {info.interval}")


def _shown(number: float | None) -> str:
    """Integers with every digit."""
    return f"{number:g}" if isinstance(number, float) else str(number)
