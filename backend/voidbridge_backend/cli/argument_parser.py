"""An argument parser whose errors are those of this tool: typed, with a suggestion, as JSON if asked for."""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from voidbridge_protocol.errors import BadSetting

NEGATIVE = re.compile(r"^-\d+(?:--?\d+)?$|^-\d*\.\d+$")
"""Words that are values although they begin with a hyphen: numbers, and ranges below zero."""
CHOICE = re.compile(r"invalid choice: (.+?) \(choose from (.+)\)$")

WILDCARD = (
    "If the shell put names in the place of a * or ?, name the sequence instead, as plate.####.exr."
)


class Parser(argparse.ArgumentParser):
    """Raises `BadSetting` instead of ending the process."""

    add_options: Callable[[Parser], None] | None = None
    """Adds the options when they are needed first."""

    def _complete(self) -> None:
        add, self.add_options = self.add_options, None
        if add:
            add(self)

    def format_help(self) -> str:
        self._complete()
        return super().format_help()

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """As its parent, but nothing may be left over, so that the command itself can make a suggestion."""
        self._complete()
        self._negative_number_matcher = NEGATIVE
        found, extra = super().parse_known_args(args, namespace)
        if extra:
            if os.path.isfile(extra[0]):
                raise BadSetting(unknown(extra, ()), WILDCARD)
            self.error(unknown(extra, self._option_string_actions))
        return found, extra

    def error(self, message: str) -> NoReturn:
        choice = CHOICE.search(message)
        if choice:
            known = [word.strip("' ") for word in choice[2].split(",")]
            message += suggestion(choice[1].strip("'"), known)
        raise BadSetting(message, f"`{self.prog} --help` lists what there is.")


def unknown(words: Sequence[str], known: Iterable[str]) -> str:
    """Returns the error about arguments that no option takes."""
    option = words[0].partition("=")[0]
    if option.startswith("-"):
        return f"unknown option {option}{suggestion(option, known)}"
    return f"unexpected {words[0]!r}: no argument is left for it"


def suggestion(word: str, known: Iterable[str]) -> str:
    """As "; did you mean --seed?"; empty if nothing is near."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""
