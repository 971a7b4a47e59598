"""Every error has a code that says where it hangs, and a hint; it crosses the wire and processes whole."""

import pickle
from pathlib import Path

import pytest

from voidbridge_protocol.errors import (
    BY_CODE,
    DaemonError,
    JobError,
    OutOfMemory,
    ProtocolError,
    RequestError,
    VoidbridgeError,
    from_code,
)
from voidbridge_protocol.wire.codec import decode, encode
from voidbridge_protocol.wire.messages import Refused

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"


def tree(root: type[VoidbridgeError]) -> list[type[VoidbridgeError]]:
    # Subclasses that other modules keep to themselves share the code of their parent.
    return [root] + [
        found
        for child in root.__subclasses__()
        if child.__module__ == VoidbridgeError.__module__
        for found in tree(child)
    ]


ALL = tree(VoidbridgeError)


def test_no_two_errors_have_one_code() -> None:
    assert sorted(cls.code for cls in ALL) == sorted(BY_CODE)
    assert set(ALL) == set(BY_CODE.values())


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.code)
def test_the_code_begins_with_that_of_its_branch(cls: type[VoidbridgeError]) -> None:
    parent = cls.__mro__[1]
    if issubclass(parent, VoidbridgeError) and parent is not VoidbridgeError:
        assert cls.code.rpartition(".")[0] == parent.code


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.code)
def test_every_hint_is_a_sentence_for_the_artist(cls: type[VoidbridgeError]) -> None:
    assert len(cls.hint) > 20
    assert cls.hint[0].isupper() or cls.hint[0] == "`"


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.code)
def test_an_error_survives_the_wire_as_itself(cls: type[VoidbridgeError]) -> None:
    error = cls("needs 31 GB, 24 GB free", "Go home.")
    message, _ = decode(encode(Refused(error.code, error.text, error.hint)))
    assert isinstance(message, Refused)
    there = from_code(message.code, message.text, message.hint)
    assert (type(there), there.text, there.hint, str(there)) == (
        cls,
        error.text,
        "Go home.",
        error.text,
    )


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.code)
def test_an_error_survives_the_way_between_processes(cls: type[VoidbridgeError]) -> None:
    there = pickle.loads(pickle.dumps(cls("what", "then")))
    assert (type(there), there.text, there.hint) == (cls, "what", "then")


def test_without_a_hint_of_its_own_an_error_has_that_of_its_kind() -> None:
    assert from_code("job.out-of-memory", "what", "").hint == OutOfMemory.hint


@pytest.mark.parametrize(
    ("code", "cls"),
    [
        ("job.out-of-memory.on-a-tuesday", OutOfMemory),
        ("job.from-a-newer-daemon", JobError),
        ("request.new.newer", RequestError),
        ("daemon.asleep", DaemonError),
        ("protocol.shy", ProtocolError),
        ("something-else", VoidbridgeError),
        ("", VoidbridgeError),
    ],
)
def test_a_code_of_a_newer_peer_is_the_nearest_error_that_we_know(
    code: str, cls: type[VoidbridgeError]
) -> None:
    assert type(from_code(code, "what")) is cls


def sections() -> dict[str, str]:
    parts = PAGE.read_text("utf-8").split("\n### ")[1:]
    return {part.splitlines()[0].strip("` "): part for part in parts}


def test_the_page_has_a_heading_for_every_code_and_for_no_other() -> None:
    assert sorted(sections()) == sorted(BY_CODE)


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_the_page_names_the_class_the_hint_and_an_example(code: str) -> None:
    section = sections()[code]
    assert f"`{BY_CODE[code].__name__}`" in section
    assert BY_CODE[code].hint in section
    assert "\n> " in section, "an example of what the artist reads"
