"""docs/nuke.md and its part of docs/hosts-tested.md describe the node as it is."""

from __future__ import annotations

import re
import xml.etree.ElementTree
from pathlib import Path

import pytest

from voidbridge_nuke.knobs import BUTTON, TAB, TEXT, setup_panel
from voidbridge_nuke.operations import OPERATIONS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/nuke.md").read_text(encoding="utf-8")
HOSTS = (ROOT / "docs/hosts-tested.md").read_text(encoding="utf-8")


def section(heading: str, page: str = PAGE) -> str:
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    found = [
        [c.strip() for c in line[1:-1].split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    return [row for row in found if row[0] != "knob"]


KNOWN = {
    "remove": section("The knobs"),
    "key": section("The node for keys"),
    "mask": section("The node for masks"),
    "generate": section("The node for new frames"),
}
SHARED = {knob.name for knob in setup_panel()}
"""The tab Setup is described once."""


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_knob_is_described_as_its_tooltip_says_in_the_order_of_the_panel(name: str) -> None:
    wanted = []
    for knob in OPERATIONS[name].knobs:
        if name != "remove" and knob.name in SHARED:
            continue
        if knob.kind == TAB or knob.hidden:
            continue
        default = "" if knob.kind in (BUTTON, TEXT) or knob.default == "" else f"`{knob.default}`"
        default = {"`False`": "off", "`True`": "on"}.get(default, default)
        wanted.append([knob.label, default, knob.tooltip])
    assert rows(KNOWN[name]) == wanted


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_tab_has_its_heading(name: str) -> None:
    tabs = [knob.label for knob in OPERATIONS[name].knobs if knob.kind == TAB]
    wanted = tabs if name == "remove" else tabs[:-1]
    assert re.findall(r"^\*\*([\w ]+)\*\*$", KNOWN[name], re.M) == wanted


def test_every_test_that_the_page_of_hosts_names_for_nuke_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", section("Nuke", HOSTS)))
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    assert len(named) > 30
    assert named <= there


def test_the_picture_is_a_picture() -> None:
    tree = xml.etree.ElementTree.parse(ROOT / "docs/nuke.svg").getroot()
    words = " ".join("".join(item.itertext()) for item in tree.iter())
    for name in ("plate", "matte", "affected", "Voidbridge1"):
        assert name in words


def test_every_module_of_the_node_has_its_place_among_the_rooms() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = re.split(r"\n##", page.partition("### The node for Nuke\n")[2])[0]
    modules = {path.stem for path in (ROOT / "nuke_plugin/voidbridge_nuke").glob("*.py")}
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == modules - {"__init__"}
