"""Every name of Fusion that the stand-in lets Lua see is one that Fusion has, by a listing of its class browser.

The listing is github.com/EmberLightVFX/Fusion-Script-Docs, checked out beside this repository; it is only read.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from voidbridge_fusion_tools import NAMES

LISTING = Path(__file__).resolve().parents[3] / "Fusion-Script-Docs"
IN_NO_CLASS = {"GetAttrs", "SetAttrs", "Clip1", "OpenEXRFormat", "RedName"}
"""In every script, in Blackmagic's own manual of scripting, or inputs of a Loader, which are properties of it."""


def listed(kind: str) -> set[str]:
    """Members of a class and of those that it is made from; not all of these have a page."""
    page = LISTING / f"docs/{kind}.md"
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    above = re.findall(r"\[\w+\]\((\w+)\.md\)", text.partition("___")[0])
    found = set(re.findall(r"^### (\w+)", text, re.MULTILINE))
    return found.union(*(listed(name) for name in above))


@pytest.mark.skipif(
    not LISTING.is_dir(),
    reason=f"no listing of Fusion's names here: clone EmberLightVFX/Fusion-Script-Docs to {LISTING}",
)
@pytest.mark.parametrize("kind", sorted(NAMES))
def test_fusion_has_these_names(kind: str) -> None:
    assert NAMES[kind] - IN_NO_CLASS <= listed(kind)
