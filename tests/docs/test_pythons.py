"""The Pythons that are declared are those that the packages have and the pages name."""

from __future__ import annotations

import ast
import re
from importlib.metadata import metadata
from pathlib import Path

import pytest
import tomllib

from voidbridge_backend.tools.doctor.doctor import OLDEST_PYTHON, PACKAGES

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CLIENT = ("protocol/voidbridge_protocol", "backend/voidbridge_backend")


def shown(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def test_the_client_s_python_is_the_one_that_is_declared() -> None:
    assert PROJECT["requires-python"] == f">={shown(OLDEST_PYTHON[''])}"
    page = (ROOT / "docs" / "quickstart.md").read_text()
    assert f"can have Python {shown(OLDEST_PYTHON[''])}" in page


@pytest.mark.parametrize("package", PACKAGES["backend"])
def test_no_package_of_the_daemon_asks_for_a_newer_python_than_the_pages_name(
    package: str,
) -> None:
    floor = metadata(package).get("Requires-Python") or ">=3"
    found = re.search(r">=\s*3\.?(\d*)", floor)
    assert found
    assert int(found[1] or 0) <= OLDEST_PYTHON["backend"][1]


def test_the_daemon_s_python_is_named_wherever_one_starts() -> None:
    version = shown(OLDEST_PYTHON["backend"])
    for page in ("README.md", "docs/quickstart.md"):
        assert f"Python {version} or later and make" in (ROOT / page).read_text()
    for script in (".ci/run", "Makefile"):
        assert f"({version.replace('.', ', ')})" in (ROOT / script).read_text()


def test_all_code_that_a_client_may_load_has_the_syntax_of_its_python() -> None:
    for folder in CLIENT:
        for path in (ROOT / folder).rglob("*.py"):
            ast.parse(path.read_text(), str(path), feature_version=OLDEST_PYTHON[""])
