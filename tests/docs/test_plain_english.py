"""Pages and docstrings are plain English: short sentences that begin with their subject.

`python tests/docs/plain_english.py --long --what` shows the figures, and the sentences behind them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from voidbridge_plain_english import (
    PACKAGES,
    ROOT,
    Measure,
    Sentence,
    blocks,
    measure,
    of_docstrings,
    of_page,
    pages,
    sources,
    split,
)


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", pages(), ids=named)
def test_a_page_is_plain_english(page: Path) -> None:
    assert measure([of_page(page)]).misses() == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_docstrings_of_a_package_are_plain_english(package: str) -> None:
    files = sources()[package]
    assert files
    assert measure(map(of_docstrings, files)).misses() == []


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One is here. Two is there, too.", ["One is here.", "Two is there, too."]),
        ("See [the page](https://x.org/a.b) for `a b c`.", ["See the page for CODE."]),
        ("It takes 1.5 s a frame, e.g. for HD.", ["It takes 1.5 s a frame, e.g. for HD."]),
        ("`run` starts it. `stop` ends it.", ["CODE starts it.", "CODE ends it."]),
        ("**Bold words begin.** Then more follows.", ["Bold words begin.", "Then more follows."]),
        ("no GPU", []),
    ],
)
def test_text_is_split_into_sentences(text: str, sentences: list[str]) -> None:
    assert split(text) == sentences


def test_code_headings_and_rulers_are_not_sentences_and_each_cell_is_one() -> None:
    text = "# A heading of four words\n\n```sh\nrun it now\n```\n\n| a b c | d e f |\n|---|---|\n"
    assert list(blocks(text)) == [(7, "a b c"), (7, "d e f")]


@pytest.mark.parametrize(
    ("sentence", "miss"),
    [
        (" ".join(["word"] * 51), "51 words"),
        (" ".join(["word"] * 14), "the median sentence has 14 words"),
        ("What is left stays.", "begins with What"),
        ("Whoever asks gets it.", "begins with What"),
    ],
)
def test_a_missed_target_is_named(sentence: str, miss: str) -> None:
    lines = Measure([Sentence("page:1", sentence)]).misses()
    assert any(miss in line for line in lines)


@pytest.mark.parametrize(
    "sentence", ["What is left?", "What's new stays here.", "It is what it is."]
)
def test_questions_and_other_words_do_not_count_as_what(sentence: str) -> None:
    assert Measure([Sentence("page:1", sentence)]).misses() == []
