"""The words and options of commands as the page shows them in its forms, read from their parsers."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from voidbridge_backend.cli.argument_parser import Parser

from . import operations, remove

if TYPE_CHECKING:
    from voidbridge_backend.web.forms import OptionInfo

ADD = {
    "run": remove.add_run,
    "mask": operations.add_mask,
    "generate": operations.add_generate,
    "key": operations.add_key,
}
"""The function that adds the options of each command that the page starts."""


def page_options() -> dict[str, list[OptionInfo]]:
    """Every word and option of these commands, in the order of their help."""
    return {command: _options(add) for command, add in ADD.items()}


def _options(add: Any) -> list[OptionInfo]:
    parser = Parser(add_help=False)
    add(parser)
    return [_described(action) for action in parser._actions]


def _described(action: argparse.Action) -> OptionInfo:
    from voidbridge_backend.web.forms import OptionInfo

    name = action.option_strings[-1].lstrip("-") if action.option_strings else action.dest
    return OptionInfo(
        name,
        str(action.help or "").replace("%%", "%"),
        str(action.metavar or ""),
        "" if action.default is None else str(action.default),
        tuple(map(str, action.choices or ())),
        is_word=not action.option_strings,
        is_switch=action.nargs == 0,
        is_repeated=isinstance(action, argparse._AppendAction),
    )
