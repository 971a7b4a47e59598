"""Prompts as they are typed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from voidbridge_backend.cli.commands import mask
from voidbridge_backend.cli.prompts import TypedPrompts, objects_of
from voidbridge_backend.cli.prompts_file import read_prompts
from voidbridge_protocol.errors import BadPattern, BadSetting
from voidbridge_protocol.operations.mask import Box, Point


def test_prompts_are_gathered_by_object_in_the_order_of_first_mention() -> None:
    typed = TypedPrompts(
        points=("1001:640,360", "1001:10,20.5:dog"),
        negatives=("1001:5,5",),
        boxes=("1002:0,1,30,40:dog",),
        keys=("1050=roto/man.exr:dog", "-3=C:/a b.exr"),
        roles=("dog=belonging",),
    )
    (first, first_keys), (dog, dog_keys) = objects_of(typed)
    assert (first.name, first.role) == ("object", "primary")
    assert first.points == (Point(1001, 640, 360), Point(1001, 5, 5, 0))
    assert first_keys == {-3: Path("C:/a b.exr")}
    assert (dog.name, dog.role, dog.keys) == ("dog", "belonging", (1050,))
    assert dog.boxes == (Box(1002, 0, 1, 30, 40),)
    assert dog_keys == {1050: Path("roto/man.exr")}


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (TypedPrompts(points=("1001:640",)), "--point '1001:640' cannot be read"),
        (TypedPrompts(boxes=("1:2,3,4",)), "--box"),
        (TypedPrompts(keys=("1001",)), "--key"),
        (TypedPrompts(points=("1:2,3",), roles=("dog=primary",)), "no prompt names the object dog"),
        (TypedPrompts(points=("1:2,3",), roles=("object",)), "--role"),
        (TypedPrompts(nouns=("the man", "the dog")), "has two nouns, 'the man' and 'the dog'"),
        (TypedPrompts(nouns=("the man:the dog",)), "--noun 'the man:the dog' cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(typed: TypedPrompts, words: str) -> None:
    with pytest.raises(BadSetting, match=words):
        objects_of(typed)


def saved(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_file_of_prompts_means_the_same_as_the_options(tmp_path: Path) -> None:
    text = """{"objects": [
        {"name": "man", "points": [{"frame": -2, "x": 640, "y": 360.5},
                                   {"frame": -2, "x": 5, "y": 5, "label": 0}]},
        {"name": "dog", "role": "belonging",
         "boxes": [{"frame": 1002, "left": 0, "top": 1, "right": 30, "bottom": 40}],
         "keys": {"1050": "roto.exr"}},
        {"name": "cup", "noun": "the red cup"}]}"""
    typed = TypedPrompts(
        points=("-2:640,360.5:man",),
        negatives=("-2:5,5:man",),
        boxes=("1002:0,1,30,40:dog",),
        keys=(f"1050={tmp_path}/roto.exr:dog",),
        roles=("dog=belonging",),
        nouns=("the red cup:cup",),
    )
    assert objects_of(read_prompts(saved(tmp_path / "p.json", text))) == objects_of(typed)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a file of prompts"),
        ("[]", "not a file of prompts"),
        ('{"objects": [{"points": [{"frame": 1}]}]}', "no 'x'"),
        ('{"objects": [{"points": 5}]}', "not a file of prompts"),
        ('{"objects": {"name": "x"}}', "not a file of prompts"),
        (
            '{"objects": [{"name": "x/../y.exr", "keys": {"1": "p"}}]}',
            "'x/../y.exr' cannot be the name",
        ),
        ('{"objects": [{"name": "x:ball", "noun": "a cup"}]}', "'x:ball' cannot be the name"),
        ('{"objects": ' + "[" * 100_000, "not a file of prompts"),
        ('{"objects": [{"points": [{"frame": 1e999, "x": 1, "y": 1}]}]}', "not a file of prompts"),
        (
            '{"objects": [{"points": [{"frame": 1, "x": 1%s, "y": 1}]}]}' % ("0" * 400),
            "not a file of prompts",
        ),
    ],
)
def test_a_file_that_holds_no_prompts_is_named_with_the_reason(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(BadSetting, match=words):
        read_prompts(saved(tmp_path / "p.json", text))
    with pytest.raises(BadSetting, match="No such file"):
        read_prompts(tmp_path / "none.json")


def test_a_pipe_and_a_file_without_end_are_no_prompts(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(BadSetting, match="not a plain file"):
            read_prompts(path)
    with pytest.raises(BadSetting, match="more than 4 MB"):
        read_prompts(saved(tmp_path / "p.json", " " * (5 << 20)))


@pytest.mark.parametrize("name", ["a\0.exr", "\ud800.exr"])
def test_a_key_matte_that_no_file_can_be_called_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadPattern, match="the key matte of frame 1001"):
        mask._keys([{1001: Path(name)}], tmp_path)
