"""The names of an artist's files in what a daemon says of them: it knows their role and frame only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.errors import MissingFrames, VoidbridgeError

_SURVEY = "the survey"
_ABOUT = re.compile(r"\b([a-z]+) frame (-?\d+)\b")


@contextmanager
def named(files: Mapping[str, Sequence]) -> Iterator[None]:
    """Raises errors again with the file's name behind `plate frame 1001`, and without `the file`."""
    try:
        yield
    except VoidbridgeError as error:
        text = with_name(error.text, files)
        if text == error.text:
            raise
        raise type(error)(text, error.hint) from error


def with_name(text: str, files: Mapping[str, Sequence]) -> str:
    """The text with the name of the first file that it is about; as it was where that is there already."""
    if text.startswith(_SURVEY) and "survey" in files:
        return f"{_SURVEY} {files['survey'].path(1).name}{text[len(_SURVEY) :]}"
    found = _ABOUT.search(text)
    if found is None or found[1] not in files:
        return text
    try:
        name = files[found[1]].path(int(found[2])).name
    except MissingFrames:
        return text
    if name in text:
        return text
    head, tail = text[: found.end()], text[found.end() :]
    return f"{head} ({name}){tail.replace(': the file: ', ': ', 1)}"
