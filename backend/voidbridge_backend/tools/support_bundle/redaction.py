"""Removes private data from a text: paths, names of people and machines, keys.

Pure. The words, numbers and codes that describe the problem stay. In doubt it removes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

PATH, FILE, KEY, ADDRESS = "<path>", "<file>", "<key>", "<address>"

RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # A path in quotes may contain spaces, and ends with the quotes.
    (re.compile(r"(['\"])(?:[^'\"\n]*[/\\][^'\"\n]*)\1"), rf"\g<1>{PATH}\g<1>"),
    (re.compile(r"\b(?:file|ipc)://[^\s'\",;)\]]+"), PATH),
    (re.compile(r"(?<![\w/])(?:[A-Za-z]:[\\/]|\\\\)[^\s'\",;)\]]*"), PATH),
    (re.compile(r"(?<![\w.:/<])(?:~|\.{1,2})?/[^\s'\",;)\]]+"), PATH),
    # Frame names without a folder also reveal the name of a shot.
    (
        re.compile(r"[^\s'\"/\\=]+\.(exr|nk|comp|setting|mov|dpx|png|tif|tiff|toml)\b", re.I),
        rf"{FILE}.\g<1>",
    ),
    # A CURVE key in Z85 is 40 of these, a SHA-256 64 of fewer.
    (re.compile(r"(?<![^\s'\"=:,(])[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}(?![^\s'\",;)])"), KEY),
    (re.compile(r"\b[0-9a-f]{64}\b"), KEY),
    (re.compile(r"\b(?!127\.)(?:\d{1,3}\.){3}\d{1,3}\b"), ADDRESS),
    (re.compile(r"(?<=://)(?!127\.|localhost|<)[^\s:/'\"]+"), ADDRESS),
)


class Redactor:
    """Replaces known names, such as users and this machine; each always becomes the same word."""

    def __init__(self, names: Iterable[str]) -> None:
        known = sorted({name for name in names if len(name) > 1}, key=lambda n: (-len(n), n))
        self._words = {name: f"<name {i}>" for i, name in enumerate(known, 1)}
        self._names = re.compile(
            "|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in known) or r"(?!)"
        )

    def text(self, text: str) -> str:
        """Returns the text without private data."""
        for pattern, instead in RULES:
            text = pattern.sub(instead, text)
        return self._names.sub(lambda found: self._words[found[0]], text)

    def value(self, value: object) -> object:
        """Applies the same to every text in a JSON value."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return value
