"""The forms of new jobs: their fields, and the words of a command that a filled form stands for.

Fields come from the settings of an operation and from the parser of its command. Only the choice of those that a
browser may fill is made here, because every path in them is checked.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from voidbridge_backend.client.small_files import read_small
from voidbridge_backend.sequences.found import find
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.errors import BadSetting, VoidbridgeError
from voidbridge_protocol.operations import operation
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.settings import grouped

from .answers import text_of
from .folders import Folders
from .records import painted_file

COMMANDS = {"remove": "run", "mask": "mask", "generate": "generate", "key": "key"}
"""Operations that the page starts, each with its command."""
LABELS = {
    "remove": "remove an object",
    "mask": "track mattes of objects",
    "generate": "make new frames",
    "key": "key a green or blue screen",
}
MAX_TEXT = 8192
KEY = re.compile(r"-?\d+=(.+?)(?::[\w-]+)?")
"""A key matte as the command line takes it: FRAME=MATTE, with or without :OBJECT."""


@dataclass(frozen=True)
class OptionInfo:
    """One word or option of a command, as its parser has it."""

    name: str
    help: str
    metavar: str = ""
    default: str = ""
    choices: tuple[str, ...] = ()
    is_word: bool = False
    """Whether it has a place among the words, and no option's name."""
    is_switch: bool = False
    is_repeated: bool = False


def _no_path(text: str) -> list[str]:
    return []


def _whole(text: str) -> list[str]:
    return [text]


def _painted(text: str) -> list[str]:
    return [painted_file(text)]


def _behind_role(text: str) -> list[str]:
    return [text.partition("=")[2]]


def _key_matte(text: str) -> list[str]:
    match = KEY.fullmatch(text)
    if match is None:
        raise BadSetting(f"the key matte {text[:60]!r} cannot be read", "Write it as FRAME=MATTE.")
    return [match[1]]


def _prompts(text: str) -> Iterator[str]:
    """The file itself, which is read only after that, and the key mattes that it names. Raises `BadSetting`."""
    yield text
    path = Path(text)
    try:
        objects = json.loads(read_small(path))["objects"]
        mattes = [matte for entry in objects for matte in dict(entry.get("keys", {})).values()]
    except OSError:
        return  # the command says what is wrong with it
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadSetting(f"{path} is not a file of prompts") from error
    yield from (str(path.parent / str(matte)) for matte in mattes)


OFFERED: Mapping[str, Callable[[str], Iterable[str]]] = {
    **dict.fromkeys(("plate", "matte", "hint", "tail", "affected", "clean-screen"), _whole),
    "clean": _painted,
    "key": _key_matte,
    "prompts": _prompts,
    "output": _whole,
    "combine": _behind_role,
    **dict.fromkeys(("mode", "length", "before", "frames", "handles"), _no_path),
    **dict.fromkeys(("plate-start", "matte-start", "hint-start", "priority"), _no_path),
    **dict.fromkeys(("point", "not", "box", "noun", "role", "find", "origin", "png"), _no_path),
    **dict.fromkeys(("overwrite", "force"), _no_path),
}
"""Words and options that a browser may fill, and the paths in a value of each."""


def _lora_files(text: str) -> list[str]:
    """Every word that the command may take for a file. Only a word without a dot, a slash and `~` is a name."""
    names = [name for name, _ in RemoveSettings(lora=text).loras]
    return [name for name in names if not NO_FILE.isdisjoint(name)]


NO_FILE = frozenset("/\\.~")
"""Characters that no name of a LoRA has on the page."""
TEXT_SETTINGS: Mapping[tuple[str, str], Callable[[str], list[str]]] = {
    **{(name, text): _no_path for name in COMMANDS for text in ("engine", "color_space", "layer")},
    **{("remove", text): _no_path for text in ("cuts", "matte_channel", "affected_channel")},
    **{("key", text): _no_path for text in ("screen_color", "hint_channel")},
    **{("generate", text): _no_path for text in ("prompt", "negative_prompt", "lora")},
    ("remove", "prompt"): _no_path,
    ("remove", "lora"): _lora_files,
}
"""Settings that take any text, and the paths in it. A LoRA of `generate` is a name in the models folder."""
ONE_FILE = {("mask", "affected"), ("mask", "priority")}
"""Options that a command has for hosts only."""
ROLES = {"clean-screen": "screen"}
"""Roles of files whose option has another name."""


class JobForms:
    """The forms of every operation that the page starts."""

    def __init__(self, options: Mapping[str, Iterable[OptionInfo]]) -> None:
        """`options` are those of each command."""
        self._options = {
            name: {
                info.name: info
                for info in options[command]
                if info.name in OFFERED and (name, info.name) not in ONE_FILE
            }
            for name, command in COMMANDS.items()
        }

    def described(self) -> dict[str, Any]:
        """JSON values for the browser."""
        return {
            name: {
                "label": LABELS[name],
                "command": COMMANDS[name],
                "fields": [_field(info, name) for info in options.values()],
                "groups": _settings(name),
            }
            for name, options in self._options.items()
        }

    def words(self, fields: dict[str, Any], folders: Folders) -> tuple[list[str], dict[str, str]]:
        """The words of a command, and its files by role. Raises `BadSetting`, `PathNotAllowed`.

        A value is one of the command's choices, stands behind an equals sign, or begins with a slash. So none can
        be taken for an option, or for a file of arguments.
        """
        name = text_of(fields, "operation", "remove")
        if name not in COMMANDS:
            raise BadSetting(f"the page starts {', '.join(COMMANDS)}, and not {name!r}")
        places, given = [], []
        files: dict[str, str] = {}
        for info in self._options[name].values():
            values = _values(info, fields)
            for value in values:
                for path in OFFERED[info.name](value):
                    check = folders.allowed if info.name == "output" else folders.check_frames
                    check(path)
            if not values and info.name in ("mode", "plate", "output"):
                raise BadSetting(f"the {info.name} is missing", "Choose it in the form.")
            if info.is_word:
                places += values
            elif info.is_switch:
                given += [f"--{info.name}" for _ in values]
            else:
                given += [f"--{info.name}={value}" for value in values]
            if OFFERED[info.name] in (_whole, _painted) and values:
                files[ROLES.get(info.name, info.name)] = "\n".join(values)
        output = files.pop("output")
        words = [
            COMMANDS[name],
            *places,
            *given,
            *_setting_words(name, fields.get("settings"), folders),
        ]
        return words, {**files, **_results(name, output, files["plate"])}


def _values(info: OptionInfo, fields: dict[str, Any]) -> list[str]:
    """The value of a field, or the values of one that is repeated. Raises `BadSetting`."""
    if info.is_switch:
        return ["on"] if fields.get(info.name) is True else []
    text = text_of(fields, info.name)
    lines = text.splitlines() if info.is_repeated else [text]
    values = [line.strip()[:MAX_TEXT] for line in lines if line.strip() not in ("", info.default)]
    for value in values:
        if info.choices and value not in info.choices:
            raise BadSetting(f"{info.name} {value[:60]!r} is not one of {', '.join(info.choices)}")
    return values


def _setting_words(name: str, values: Any, folders: Folders) -> Iterator[str]:
    """Options for those settings that differ from their defaults. Raises `PathNotAllowed`, `BadSetting`."""
    chosen = values if isinstance(values, dict) else {}
    kind = operation(name).settings
    types = get_type_hints(kind)
    for members in grouped(kind).values():
        for field, info in members:
            value = chosen.get(field.name, field.default)
            if not info.is_option or value in (field.default, None):
                continue
            option = "--" + field.name.replace("_", "-")
            if value is True:
                yield option
            elif value is not False:
                text = str(value)[:MAX_TEXT]
                if types[field.name] is str and not info.choices:
                    for path in TEXT_SETTINGS[name, field.name](text):
                        folders.allowed(path)
                yield f"{option}={text}"


def _results(name: str, output: str, plate: str) -> dict[str, str]:
    """Where the results lie: a folder takes the plate's names, and mattes have their own."""
    if name == "mask":
        return {"matte": quadmasks(output, plate)}
    if output.endswith("/") or os.path.isdir(output):
        return {"result": os.path.join(output, os.path.basename(plate))}
    return {"result": output}


def quadmasks(folder: str, plate: str) -> str:
    """The pattern of the quadmasks that `voidbridge mask` writes for this plate."""
    try:
        found = find(plate)
        width = 4 if found.single is not None or found.clip else found.width
    except VoidbridgeError:
        width = 4  # the command says what is wrong with the plate
    return str(Sequence(Path(folder), "quadmask.", ".exr", width))


def _field(info: OptionInfo, name: str) -> dict[str, Any]:
    paths = OFFERED[info.name]
    kind = "text"
    if info.is_switch:
        kind = "switch"
    elif info.choices:
        kind = "choice"
    elif info.name == "output":
        kind = "folder"
    elif paths is not _no_path:
        kind = "file"
    return {
        "name": info.name,
        "role": ROLES.get(info.name, info.name),
        "label": info.name.replace("-", " ").capitalize(),
        "help": info.help,
        "metavar": info.metavar,
        "default": info.default,
        "kind": kind,
        "choices": list(info.choices),
        "is_repeated": info.is_repeated,
        "is_word": info.is_word,
    }


def _settings(name: str) -> dict[str, Any]:
    """The settings of an operation by the title of their group."""
    kind = operation(name).settings
    types = get_type_hints(kind)
    found = {
        title: [
            {
                "name": field.name,
                "label": info.label or field.name.replace("_", " "),
                "help": info.text,
                "kind": types[field.name].__name__,
                "default": field.default,
                "choices": list(info.choices),
                "range": info.range_words,
            }
            for field, info in members
            if info.is_option
        ]
        for title, members in grouped(kind).items()
    }
    return {title: fields for title, fields in found.items() if fields}
