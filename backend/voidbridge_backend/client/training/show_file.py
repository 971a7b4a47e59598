"""The file that describes a show's training: its clips, rights and settings, as TOML. Standard library only.

show = "harbour"
rights = "Harbour Films 2026, internal use"
consent = "no persons to be recognized"
dataset = "dataset"

[[plate]]                      # a clean plate; objects are pasted into it
clip = "plates/A010.####.exr"
prompt = "a wooden pier in harbourlook, morning fog"

[[object]]                     # an object to paste, cut out by its matte
clip = "shots/B020.####.exr"
matte = "mattes/B020.####.exr"

[[approved]]                   # a shot whose clean plate was approved
clip = "shots/C030.####.exr"
matte = "mattes/C030.####.exr"
clean = "final/C030.####.exr"
prompt = "the pier in harbourlook"

[training]                     # settings of the operation train
rank = 32
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from voidbridge_backend.client.small_files import read_small
from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.train import TrainSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Table = TypeVar("Table")
HINT = "docs/lora.md describes the file."


@dataclass(frozen=True)
class CleanPlate:
    """A clip without any object to remove."""

    clip: str
    prompt: str = ""
    rights: str = ""
    consent: str = ""
    color_space: str = ""


@dataclass(frozen=True)
class CutOut:
    """An object, and the matte that cuts it out."""

    clip: str
    matte: str
    belongings: str = ""
    """Matte of what the object carries, which goes with it."""
    rights: str = ""
    consent: str = ""
    color_space: str = ""


@dataclass(frozen=True)
class Approved:
    """A shot with the clean plate that was approved for it."""

    clip: str
    matte: str
    clean: str
    affected: str = ""
    prompt: str = ""
    rights: str = ""
    consent: str = ""
    color_space: str = ""


@dataclass(frozen=True)
class Show:
    """The content of the file. Clips are relative to its folder."""

    folder: Path
    name: str
    dataset: Path
    rights: str = ""
    consent: str = ""
    color_space: str = ""
    """That of clips that name none of their own, as `--color-space`."""
    plates: tuple[CleanPlate, ...] = ()
    cut_outs: tuple[CutOut, ...] = ()
    approved: tuple[Approved, ...] = ()
    variations: int = 4
    """Pairs that are pasted for each clean plate."""
    seed: int = 0
    settings: TrainSettings = field(default_factory=TrainSettings)

    def path(self, text: str) -> str:
        """Returns a clip's pattern, from the folder of the file."""
        return str(self.folder / Path(text).expanduser())

    @property
    def pairs(self) -> int:
        """The number of pairs that its dataset has."""
        return len(self.plates) * self.variations + len(self.approved)

    def clips(self) -> list[str]:
        """Returns the patterns of all its clips, mattes and clean plates."""
        words = [[one.clip] for one in self.plates]
        words += [[one.clip, one.matte, one.belongings] for one in self.cut_outs]
        words += [[one.clip, one.matte, one.clean, one.affected] for one in self.approved]
        return [self.path(text) for texts in words for text in texts if text]


def read_show(path: Path) -> Show:
    """Reads the file. Raises `BadSetting` with the entry that is wrong."""
    try:
        found = tomllib.loads(read_small(path).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise BadSetting(f"{path} cannot be read as TOML: {error}", HINT) from error
    known = {"show", "dataset", "rights", "consent", "color_space", "variations", "seed"}
    tables = {"plate", "object", "approved", "training"}
    if unknown := sorted(set(found) - known - tables):
        raise BadSetting(f"{path} has an unknown entry {unknown[0]!r}", HINT)
    for name, wanted in (("show", str), ("variations", int), ("seed", int), ("dataset", str)):
        if name in found and type(found[name]) is not wanted:
            raise BadSetting(f"{path} has {name} = {found[name]!r}", HINT)
    if not found.get("show"):
        raise BadSetting(f"{path} does not name its show", HINT)
    folder = path.absolute().parent
    show = Show(
        folder,
        found["show"],
        folder / found.get("dataset", f"{path.stem}.dataset"),
        str(found.get("rights", "")),
        str(found.get("consent", "")),
        str(found.get("color_space", "")),
        tuple(_table(path, "plate", CleanPlate, one) for one in _list(path, found, "plate")),
        tuple(_table(path, "object", CutOut, one) for one in _list(path, found, "object")),
        tuple(_table(path, "approved", Approved, one) for one in _list(path, found, "approved")),
        found.get("variations", 4),
        found.get("seed", 0),
    )
    if show.variations < 1:
        raise BadSetting(f"{path} has variations = {show.variations}; at least 1 is possible", HINT)
    chosen = {**_settings(path, found.get("training", {})), "show": show.name}
    return replace(show, settings=TrainSettings(**chosen))


def _list(path: Path, found: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    tables = found.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise BadSetting(f"{path} has {name} as no list of tables", f"Write [[{name}]]. {HINT}")
    return tables


def _table(path: Path, name: str, kind: type[Table], found: Mapping[str, Any]) -> Table:
    members = fields(kind)  # type: ignore[arg-type]
    known = {member.name for member in members}
    lacking = [m.name for m in members if m.default is MISSING and not found.get(m.name)]
    if unknown := sorted(set(found) - known):
        raise BadSetting(f"{path} has an unknown entry {unknown[0]!r} in [[{name}]]", HINT)
    if lacking:
        raise BadSetting(f"{path} has a [[{name}]] without {lacking[0]}", HINT)
    if wrong := [key for key, value in found.items() if not isinstance(value, str)]:
        raise BadSetting(f"{path} has a {wrong[0]} in [[{name}]] that is not text", HINT)
    return kind(**found)


def _settings(path: Path, found: Any) -> dict[str, Any]:
    defaults = TrainSettings()
    if not isinstance(found, dict) or set(found) - set(vars(defaults)):
        raise BadSetting(f"{path} has an unknown entry in [training]", HINT)
    made = {}
    for name, value in found.items():
        wanted = type(getattr(defaults, name))
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted:
            raise BadSetting(f"{path} has {name} = {value!r}, which is no {wanted.__name__}", HINT)
        made[name] = value
    return made
