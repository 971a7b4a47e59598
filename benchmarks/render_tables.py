"""Writes the tables of docs/performance.md and docs/reliability.md from benchmarks/results/*.json.

    python benchmarks/render_tables.py            writes the tables into the pages
    python benchmarks/render_tables.py --check    exits with 1 if a page differs

Each file is one group of rows:
`{"page", "order", "rows": [{"what", "command", "asked", "reached", "figures", "date"}]}`.
`asked` is the target, `reached` the figure that is held against it, `figures` the numbers behind both.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"
COLUMNS = ("what", "command", "asked", "reached", "figures", "date")
BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def groups(page: str) -> list[dict[str, Any]]:
    """The groups of one page (`performance`, `reliability`), in their order."""
    found = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))
    ]
    return sorted((g for g in found if g["page"] == page), key=lambda group: group["order"])


def table(page: str) -> str:
    """The whole table as Markdown. Raises `KeyError` for a row that lacks a column."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for group in groups(page):
        for row in group["rows"]:
            cells = [str(row[column]).replace("|", "\\|") for column in COLUMNS]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def rendered(page: str, text: str) -> str:
    """`text`, the page, with its table replaced. Raises `ValueError` if the page has no place for one."""
    found = re.fullmatch(rf"(.*{BEGIN}\n).*?\n?({END}.*)", text, re.S)
    if not found:
        raise ValueError(f"docs/{page}.md lacks {BEGIN} and {END}")
    return f"{found[1]}{table(page)}\n{found[2]}"


def pages() -> list[str]:
    return sorted(
        {json.loads(p.read_text(encoding="utf-8"))["page"] for p in RESULTS.glob("*.json")}
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing, exit with 1 on a difference"
    )
    options = parser.parse_args()
    differs = []
    for page in pages():
        path = ROOT / "docs" / f"{page}.md"
        text = path.read_text(encoding="utf-8")
        new = rendered(page, text)
        if new != text:
            differs.append(page)
            if not options.check:
                path.write_text(new, encoding="utf-8")
    for page in differs:
        print(f"docs/{page}.md {'differs from' if options.check else 'written from'} the results")
    return int(options.check and bool(differs))


if __name__ == "__main__":
    sys.exit(main())
