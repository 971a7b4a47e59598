"""docs/protocol.md says what the code does: messages, fields, states, limits, and a conversation to be read."""

import json
import re
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import pytest

from voidbridge_protocol.errors import BY_CODE
from voidbridge_protocol.lifecycle import NEXT, JobState
from voidbridge_protocol.operations import operations
from voidbridge_protocol.operations.key import KeySettings
from voidbridge_protocol.operations.remove import RemoveSettings
from voidbridge_protocol.transfer import download, shared_files
from voidbridge_protocol.wire import codec, connection, messages
from voidbridge_protocol.wire.codec import MAGIC, decode
from voidbridge_protocol.wire.messages import (
    CARRIES_PAYLOAD,
    KINDS,
    PROTOCOL,
    Device,
    FrameFile,
    Limits,
    Message,
    Request,
    ResultFile,
)

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")
VALUES: tuple[type, ...] = (
    Request,
    RemoveSettings,
    KeySettings,
    FrameFile,
    ResultFile,
    Limits,
    Device,
)
TYPES = {
    "int": "integer",
    "float": "number",
    "str": "string",
    "bool": "boolean",
    "tuple[str, ...]": "list of strings",
    "tuple[tuple[int, int], ...]": "list of pairs of integers",
    "tuple[ResultFile, ...]": "list of `ResultFile`",
    "tuple[FrameFile, ...]": "list of `FrameFile`",
    "tuple[Device, ...]": "list of `Device`",
    "Limits": "`Limits`",
    "tuple[tuple[str, str], ...]": "list of pairs of strings",
    "OperationSettings": "the operation's settings",
    "JobState": "state",
}


def sections() -> dict[str, str]:
    parts = re.split(r"^#{2,3} ", PAGE, flags=re.MULTILINE)[1:]
    return {part.splitlines()[0].strip(): part for part in parts}


def rows(section: str) -> list[tuple[str, str, str]]:
    """(name, type without links, default) of the section's table of fields."""
    found = re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \|", section, flags=re.MULTILINE)
    return [
        (name, re.sub(r"\[(.*?)\]\(.*?\)", r"\1", kind), default) for name, kind, default in found
    ]


def expected(field: Field[Any]) -> tuple[str, str, str]:
    default = "required" if field.default is MISSING else f"`{json.dumps(field.default)}`"
    return field.name, TYPES[str(field.type)], default


def test_the_page_is_about_this_version() -> None:
    assert PAGE.startswith(f"# Protocol {PROTOCOL}\n")
    assert f"`{MAGIC.decode()}`" in PAGE


def test_every_message_has_its_heading_and_no_other_has() -> None:
    part = PAGE.split("\n## Messages\n")[1].split("\n## ")[0]
    assert sorted(re.findall(r"^### (.*)$", part, flags=re.MULTILINE)) == sorted(KINDS)


@pytest.mark.parametrize("cls", [*KINDS.values(), *VALUES], ids=lambda cls: cls.__name__)
def test_every_field_stands_there_with_its_type_and_default(cls: type) -> None:
    name = cls.kind if issubclass(cls, Message) else cls.__name__
    assert rows(sections()[name]) == [expected(field) for field in fields(cls)]


@pytest.mark.parametrize("cls", KINDS.values(), ids=lambda cls: cls.kind)
def test_the_page_says_whether_a_message_has_a_payload(cls: type[Message]) -> None:
    text = sections()[cls.kind]
    assert "Payload:" in text
    assert ("Payload: none." in text) == (cls not in CARRIES_PAYLOAD)


def test_the_diagram_is_the_table_of_the_lifecycle() -> None:
    arrows = re.findall(r"^    (\S+) --> (\S+)$", sections()["States"], flags=re.MULTILINE)
    assert arrows[0] == ("[*]", JobState.RECEIVING.value)
    drawn = [(JobState(a), JobState(b)) for a, b in arrows[1:]]
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == {(state, to) for state in JobState for to in NEXT[state]}


def test_every_state_is_explained() -> None:
    assert re.findall(r"^\| `(\w+)` \|", sections()["States"], flags=re.MULTILINE) == [
        state.value for state in JobState
    ]


@pytest.mark.parametrize(
    ("section", "number", "text"),
    [
        ("Framing", codec.MAX_HEADER, "at most {} bytes"),
        ("Request", codec.MAX_REQUEST, "at most {} bytes"),
        ("submit", codec.MAX_REQUEST, "at most {} bytes"),
        ("get", messages.MAX_CHUNK, "1 to {}"),
        ("offer", messages.MAX_OFFERED, "at most {} of them"),
        ("Life", connection.PING_EVERY_S, "every {:g} seconds"),
        ("Life", connection.SILENCE_S, "for {:g} seconds"),
        ("Files in", messages.MAX_UNANSWERED, "more than {} `put`s"),
        ("A shared disk", messages.MAX_IMPORTS, "at most {} `import-file`s"),
        ("A shared disk", shared_files.PROBES, "{} pieces of the file"),
        ("A shared disk", shared_files.PROBE, "of {} bytes each"),
        ("import-file", messages.MAX_PATH, "at most {} characters"),
        ("Results out", messages.MAX_UNANSWERED, "{} pieces"),
        ("Results out", {3: "three"}[download.TRIES], "{} times at most"),
    ],
)
def test_numbers_are_those_of_the_code(section: str, number: object, text: str) -> None:
    assert text.format(number) in " ".join(sections()[section].split())


def test_every_operation_stands_there_with_its_roles() -> None:
    table = rows(sections()["Operations"])
    told = {name: set(re.findall(r"`([\w-]+)`", roles)) for name, roles, _ in table}
    assert told == {name: {role.name for role in of.roles} for name, of in operations().items()}


def test_every_code_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`((?:protocol|daemon|request|job)\.[a-z-]+)`", PAGE))
    assert named
    assert named <= set(BY_CODE)


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        page, _, anchor = target.partition("#")
        if page:
            assert (Path(__file__).parents[2] / "docs" / page).is_file(), target
        else:
            assert anchor in {name.lower().replace(" ", "-") for name in sections()}, target


EXAMPLE = re.findall(r"^([CD]) (control|bulk) +(\{.*\})$", PAGE, flags=re.MULTILINE)


@pytest.mark.parametrize(("who", "where", "header"), EXAMPLE, ids=range(len(EXAMPLE)))
def test_the_conversation_can_be_said(who: str, where: str, header: str) -> None:
    kind = json.loads(header)["kind"]
    payload = [b"payload"] if KINDS[kind] in CARRIES_PAYLOAD else []
    message, _ = decode([MAGIC, header.encode(), *payload])
    assert set(json.loads(header)) <= {"kind", *(field.name for field in fields(message))}
    text = " ".join(sections()[kind].split())
    assert text.startswith(f"{kind} Either way") or f"{NAMES[who]}, {where} socket" in text


NAMES = {"C": "Client to daemon", "D": "Daemon to client"}


def test_the_conversation_has_every_step() -> None:
    spoken = {json.loads(header)["kind"] for _, _, header in EXAMPLE}
    assert spoken >= {"hello", "welcome", "submit", "accepted", "join-bulk", "credit", "put", "got"}
    assert spoken >= {"status", "ready", "get", "chunk", "query", "provenance"}
