"""Options of the command line from the fields of an operation's settings, and the settings from what was typed."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import Field
from typing import Any, TypeVar, get_type_hints

from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.settings import OperationSettings, SettingInfo, grouped
from voidbridge_protocol.transfer.shared_files import is_text

AnySettings = TypeVar("AnySettings", bound=OperationSettings)


def add_settings(
    parser: argparse.ArgumentParser,
    settings: type[OperationSettings],
    groups: dict[str, Any] | None = None,
    only: Collection[str] = (),
    without: Collection[str] = (),
) -> None:
    """An option for each setting that has one, in a group of its own or in that of `groups` with its title.

    With `only` just these settings, without defaults: what was not typed is None. Those of `without` get none.
    """
    types = get_type_hints(settings)
    for title, members in grouped(settings).items():
        chosen = [
            (f, i)
            for f, i in members
            if i.is_option and f.name not in without and (not only or f.name in only)
        ]
        if not chosen:
            continue
        group = (groups or {}).get(title) or parser.add_argument_group(title)
        for field, info in chosen:
            made = _option(field, info, types[field.name])
            group.add_argument(option(field.name), **({**made, "default": None} if only else made))


def settings_of(parsed: argparse.Namespace, settings: type[AnySettings]) -> AnySettings:
    """The settings that were typed; the default of those without an option here. Raises `BadSetting`."""
    names = [f.name for members in grouped(settings).values() for f, i in members if i.is_option]
    values = {name: getattr(parsed, name) for name in names if hasattr(parsed, name)}
    for name, value in values.items():
        if isinstance(value, str):
            check_text(option(name), value)
    return settings(**values)


def option(name: str) -> str:
    """The option of a setting: `--matte-kind` of `matte_kind`."""
    return "--" + name.replace("_", "-")


def check_text(name: str, text: str) -> None:
    """Raises `BadSetting` for bytes that are no UTF-8: a message cannot carry them."""
    if not is_text(text):
        shown = text.encode("utf-8", "backslashreplace").decode()
        raise BadSetting(f"{name} is not UTF-8 text: {shown}", "Type it in a UTF-8 terminal.")


def _option(field: Field[Any], info: SettingInfo, kind: Any) -> dict[str, Any]:
    text = info.text.replace("%", "%%")
    if kind is bool:
        return {"action": "store_true", "help": text}
    made: dict[str, Any] = {"type": kind, "default": field.default}
    if info.choices:
        made["choices"] = info.choices
    else:
        made["metavar"] = info.metavar
    default = f"{field.default:g}" if kind is float else str(field.default)
    said = [info.range_words] if info.range_words else []
    said += [f"default {default}"] if default else []
    text += f" ({'; '.join(said)})" if said else ""
    return {**made, "help": text}
