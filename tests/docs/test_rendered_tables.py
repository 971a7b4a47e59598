"""The tables of docs/performance.md and docs/reliability.md are those of benchmarks/results."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from voidbridge_render_tables import COLUMNS, groups, pages, rendered

ROOT = Path(__file__).resolve().parents[2]
NOT_RUN = "**not yet run**"


def test_both_pages_have_results() -> None:
    assert pages() == ["performance", "reliability"]


@pytest.mark.parametrize("page", pages())
def test_the_table_of_a_page_is_rendered_from_the_results(page: str) -> None:
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    assert text == rendered(page, text), "run: python benchmarks/render_tables.py"
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    assert len(tables) == 1


@pytest.mark.parametrize("page", pages())
def test_a_row_has_every_column_and_a_measured_one_has_a_date_and_an_existing_command(
    page: str,
) -> None:
    rows = [row for group in groups(page) for row in group["rows"]]
    assert len(rows) > 20
    for row in rows:
        assert tuple(row) == COLUMNS
        dates = r"\d{4}-\d\d-\d\d(, \d{4}-\d\d-\d\d)*"
        assert re.fullmatch("" if row["reached"] == NOT_RUN else dates, row["date"]), row
        named = re.findall(r"(?:python|pytest) ((?:benchmarks|tests)/[\w/.]+)", row["command"])
        assert named, row
        assert all((ROOT / path).exists() for path in named), row


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks <!-- results -->"):
        rendered("performance", "# Performance\n")
