"""Prompts as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from voidbridge_backend.cli.prompts import TypedPrompts, objects_of
from voidbridge_protocol.errors import BadSetting
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
    ],
)
def test_what_cannot_be_read_is_named(typed: TypedPrompts, words: str) -> None:
    with pytest.raises(BadSetting, match=words):
        objects_of(typed)
