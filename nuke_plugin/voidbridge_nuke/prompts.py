"""Prompts of the tracker as one knob holds them: `point 1001:640,360; not 1001:900,200:ball; role ball=affected`.

Pixels count from the bottom left corner, as in Nuke's viewer. Pure.
"""

from __future__ import annotations

import re
from typing import Sequence

NUMBER = r"-?\d+(?:\.\d+)?"
NAME = r"(?::[A-Za-z][\w-]{0,31})?"
FORMS = {
    "point": re.compile(rf"\d+:{NUMBER},{NUMBER}{NAME}"),
    "not": re.compile(rf"\d+:{NUMBER},{NUMBER}{NAME}"),
    "box": re.compile(rf"\d+:{NUMBER},{NUMBER},{NUMBER},{NUMBER}{NAME}"),
    "noun": re.compile(rf"[^;:]{{1,100}}{NAME}"),
    "role": re.compile(r"[A-Za-z][\w-]{0,31}=(?:primary|belonging|affected)"),
}
"""The kinds of prompts. Each is an option of `voidbridge mask`."""
UNNAMED = "object"
PRIMARY = "primary"


def entries(text: str) -> list[tuple[str, str]]:
    """Returns kind and value of each prompt. Raises ValueError with the one that cannot be read."""
    found = []
    for word in filter(None, (part.strip() for part in text.split(";"))):
        kind, _, value = word.partition(" ")
        if kind not in FORMS or not FORMS[kind].fullmatch(value.strip()):
            raise ValueError(word)
        found.append((kind, value.strip()))
    return found


def options(text: str) -> list[str]:
    """Returns the words of the command. Raises ValueError."""
    return [f"--{kind}={value}" for kind, value in entries(text)]


def added(
    text: str, kind: str, frame: int, numbers: Sequence[float], name: str, role: str = PRIMARY
) -> str:
    """Returns the text with one more prompt, and with the role of its object if that is not the usual one."""
    suffix = "" if name in ("", UNNAMED) else f":{name}"
    spelled = ",".join(f"{number:.2f}".rstrip("0").rstrip(".") for number in numbers)
    words = [*_parts(text), f"{kind} {frame}:{spelled}{suffix}"]
    spelled_role = f"role {name or UNNAMED}={role}"
    if role != PRIMARY and spelled_role not in words:
        words.append(spelled_role)
    return "; ".join(words)


def noun_added(text: str, noun: str, name: str, role: str = PRIMARY) -> str:
    """Returns the text with a noun for an object, in place of clicks. Raises ValueError for what is no noun."""
    suffix = "" if name in ("", UNNAMED) else f":{name}"
    word = f"{noun.strip()}{suffix}"
    if not noun.strip() or ":" in noun or not FORMS["noun"].fullmatch(word):
        raise ValueError(noun)
    words = [*_parts(text), f"noun {word}"]
    spelled_role = f"role {name or UNNAMED}={role}"
    if role != PRIMARY and spelled_role not in words:
        words.append(spelled_role)
    return "; ".join(words)


def without_last(text: str) -> str:
    """Returns the text without its last prompt."""
    return "; ".join(_parts(text)[:-1])


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]
