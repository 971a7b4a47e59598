"""docs/resolve.md and its part of docs/hosts-tested.md describe the tool as it is."""

from __future__ import annotations

import re
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/resolve.md").read_text(encoding="utf-8")
HOSTS = (ROOT / "docs/hosts-tested.md").read_text(encoding="utf-8")


def section(heading: str, page: str = PAGE) -> str:
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def shown(control: Any) -> str:
    default = control["default"]
    if control["kind"] in ("button", "status") or default in (None, ""):
        return ""
    return {True: "on", False: "off"}[default] if isinstance(default, bool) else f"`{default}`"


HEADINGS = {
    "remove": "The controls",
    "key": "The tool for keys",
    "mask": "The tool for masks",
    "generate": "The tool for new frames",
}


@pytest.mark.parametrize("name", HEADINGS)
def test_every_control_is_described_as_its_tooltip_says_in_the_order_of_the_inspector(
    host: Any, name: str
) -> None:
    operation = host.module("voidbridge.operations")[name]
    text = section(HEADINGS[name])
    said = [
        [cell.strip() for cell in line[1:-1].split("|")]
        for line in text.splitlines()
        if line.startswith("| ") and not line.startswith("| control ")
    ]
    setup = name != "remove"  # that page is described once
    controls = [c for c in operation["controls"].values() if not (setup and c["page"] == "Setup")]
    assert said == [[c["label"], shown(c), c["tip"]] for c in controls]
    pages = list(dict.fromkeys(c["page"] for c in controls))
    assert re.findall(r"^\*\*(\w+)\*\*$", text, re.M) == pages


def test_every_test_that_the_page_of_hosts_names_for_fusion_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", section("Fusion", HOSTS)))
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M)
    }
    assert len(named) > 30
    assert named <= there


def test_the_picture_shows_both_sides_of_the_macro() -> None:
    path = ROOT / "docs/resolve.svg"
    words = " ".join("".join(item.itertext()) for item in xml.etree.ElementTree.parse(path).iter())
    for name in ("plate", "matte", "affected", "Voidbridge", "MediaOut1", "Saver", "Loader"):
        assert name in words
    assert path.stat().st_size < 200_000


def test_every_room_has_its_place_among_the_rooms() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = page.partition("### The tool for Fusion\n")[2].partition("\n## ")[0]
    rooms = ROOT / "resolve_plugin/voidbridge_resolve/Modules/Lua/voidbridge"
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == {
        path.stem for path in rooms.glob("*.lua")
    }
