"""Prompts of the operation `mask` check themselves and survive the wire."""

from __future__ import annotations

import json

import pytest

from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.mask import (
    MAX_OBJECTS,
    Box,
    MaskObject,
    MaskSettings,
    Point,
    parsed,
    written,
)

BALL = MaskObject("ball", "primary", (Point(1001, 3.5, 4.0), Point(1001, 9.0, 9.0, 0)))
SHADOW = MaskObject("shadow", "affected", boxes=(Box(1002, 0.0, 1.0, 5.0, 6.0),), keys=(1010,))


def test_objects_survive_the_settings() -> None:
    text = written([BALL, SHADOW])
    assert parsed(text) == (BALL, SHADOW)
    assert MaskSettings(objects=text).masked() == (BALL, SHADOW)
    assert written(parsed(text)) == text


def test_a_noun_stands_in_place_of_clicks_and_needs_the_engine_that_knows_nouns() -> None:
    text = written([MaskObject("man", noun="the man"), BALL])
    assert MaskSettings("sam3", text).masked()[0].noun == "the man"
    with pytest.raises(BadSetting, match="the engine flow finds nothing by a noun") as failure:
        MaskSettings(objects=text)
    assert "--engine sam3" in failure.value.hint
    with pytest.raises(BadSetting, match="has a noun, and clicks"):
        MaskObject("man", points=BALL.points, noun="the man")
    with pytest.raises(BadSetting, match="the noun of man holds a colon"):
        MaskObject("man", noun="x:y")
    for noun in (" ", "a" * 101, "a\nman"):
        with pytest.raises(BadSetting, match="1 to 100 printable"):
            MaskObject("man", noun=noun)


def test_the_frames_of_an_object_are_those_that_start_a_matte() -> None:
    assert BALL.frames == [1001]
    assert SHADOW.frames == [1002, 1010]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "quadmask"}, "cannot be the name"),
        ({"name": "a b"}, "cannot be the name"),
        ({"role": "other"}, "not one of primary"),
        ({"points": []}, "no click on it"),
        ({"points": [{"frame": 1, "x": 1, "y": 1, "label": 0}]}, "no click on it"),
        ({"points": [{"frame": 1, "x": float("nan"), "y": 1}]}, "not a number"),
        ({"boxes": [{"frame": 1, "left": 5, "top": 0, "right": 5, "bottom": 9}]}, "is empty"),
        ({"points": [{"x": 1, "y": 1}]}, "cannot be read"),
        ({"points": 7}, "cannot be read"),
        (
            {
                "points": [
                    {"frame": 1, "x": 1, "y": 1},
                    {"frame": 2, "x": 1, "y": 1, "label": 0},
                ]
            },
            "frame 2 of ball has only clicks beside",
        ),
    ],
)
def test_a_prompt_that_cannot_be_is_refused(changes: dict[str, object], words: str) -> None:
    entry = json.loads(written([BALL]))[0] | changes
    with pytest.raises(BadSetting, match=words):
        MaskSettings(objects=json.dumps([entry]))


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "7",
        "[7]",
        "[]",
        '["x"]',
        "[" * 100_000,
        '[{"points": [{"frame": 1e999, "x": 1, "y": 1}]}]',
        '[{"points": [{"frame": 1, "x": 1%s, "y": 1}]}]' % ("0" * 400),
    ],
)
def test_text_that_holds_no_objects_is_refused(text: str) -> None:
    with pytest.raises(BadSetting):
        MaskSettings(objects=text)


def test_names_are_different_and_objects_bounded() -> None:
    with pytest.raises(BadSetting, match="same name"):
        parsed(written([BALL, BALL]))
    many = [MaskObject(f"o{n}", points=BALL.points) for n in range(MAX_OBJECTS + 1)]
    with pytest.raises(BadSetting, match=f"1 to {MAX_OBJECTS}"):
        parsed(written(many))


def test_a_job_without_objects_is_refused() -> None:
    with pytest.raises(BadSetting, match="no object is named"):
        MaskSettings().masked()


def test_rules_are_named_once_and_never_as_an_object_with_prompts() -> None:
    assert MaskSettings(find="shadow, contact,shadow").rules == ("shadow", "contact")
    with pytest.raises(BadSetting, match="no rule finds 'dust'"):
        MaskSettings(find="dust")
    with pytest.raises(BadSetting, match="a rule would find it too"):
        MaskSettings(objects=written([BALL, SHADOW]), find="shadow")
