"""The tables of hosts in docs/hosts-tested.md, made from the reports of self-tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from voidbridge_generated import REPORTS, hosts_table


def report(folder: Path, name: str, host: str, version: str, **points: str) -> None:
    found = [{"point": point, "verdict": verdict} for point, verdict in points.items()]
    text: dict[str, Any] = {"host": host, "version": version, "system": "Linux", "points": found}
    (folder / f"{name}.json").write_text(json.dumps(text), "utf-8")


def test_each_report_is_a_row_with_what_holds_and_what_fails(tmp_path: Path) -> None:
    report(tmp_path, "a", "nuke", "17.0v3", removal="ok", exit_code="failed", guarded="ok")
    report(tmp_path, "b", "nuke", "15.2v1", removal="ok")
    report(tmp_path, "c", "resolve", "21.1", tree="ok")
    assert hosts_table("nuke", tmp_path).splitlines()[2:] == [
        "| 15.2v1 | Linux | 1 of 1 | none |",
        "| 17.0v3 | Linux | 2 of 3 | `exit_code` |",
    ]
    assert hosts_table("resolve", tmp_path).count("\n") == 3


def test_without_a_report_the_page_says_so(tmp_path: Path) -> None:
    assert hosts_table("nuke", tmp_path) == "None yet.\n"


def test_a_report_cannot_change_the_page_around_its_row(tmp_path: Path) -> None:
    report(tmp_path, "a", "nuke", "17|<!-- end -->\n# [x](y)", **{"p`|q": "failed"})
    (row,) = hosts_table("nuke", tmp_path).splitlines()[2:]
    assert row == "| 17 -- end --   x (y) | Linux | 0 of 1 | `p q` |"


def test_every_report_that_is_kept_names_its_host() -> None:
    for path in REPORTS.glob("*.json"):
        assert json.loads(path.read_text("utf-8"))["host"] in ("nuke", "resolve"), path
