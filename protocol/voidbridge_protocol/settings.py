"""The fields of an operation's settings: each is written once, with its help, label, group and range.

The checks, the options of the command line, the controls of the hosts and the tables in the docs come from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeVar

from .errors import BadSetting

Value = TypeVar("Value")

KEY = "setting"
"""Under which a dataclass field keeps its `SettingInfo`."""


@dataclass(frozen=True)
class SettingInfo:
    """Describes one setting to people, and says which values it takes."""

    help: str
    """One plain sentence or less, without a full stop."""
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
    def interval(self) -> str:
        """The range in mathematical notation, as "[0, 4096]" or "]0, 1]"; empty without one."""
        if all(bound is None for bound in (self.least, self.above, self.most, self.below)):
            return ""
        low = f"[{_shown(self.least)}" if self.least is not None else f"]{_shown(self.above)}"
        high = f"{_shown(self.most)}]" if self.most is not None else f"{_shown(self.below)}["
        return f"{low}, {high}".replace("]None", "]-∞").replace("None[", "∞[")

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

    def __post_init__(self) -> None:
        for found, info in described(type(self)):
            _check(found.name.replace("_", " "), getattr(self, found.name), info)


def described(settings: type[OperationSettings]) -> Iterator[tuple[Field[Any], SettingInfo]]:
    """Each field that carries a `SettingInfo`, in order."""
    for found in fields(settings):
        if info := found.metadata.get(KEY):
            yield found, info


def _check(name: str, value: Any, info: SettingInfo) -> None:
    if info.choices and value not in info.choices:
        known = ", ".join(map(str, info.choices))
        raise BadSetting(f"{name} {value!r} is not one of {known}")
    if info.interval and not info.is_in_range(value):
        raise BadSetting(f"{name} is {_shown(value)}; it must lie in {info.interval}")


def _shown(number: float | None) -> str:
    """Integers with every digit."""
    return f"{number:g}" if isinstance(number, float) else str(number)
