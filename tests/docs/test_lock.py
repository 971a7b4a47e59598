"""The lock files and the SBOM in deploy/ agree with pyproject.toml, and with what the packages here ask for."""

from __future__ import annotations

import json
import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"backend": ["backend"], "void": ["backend", "void", "gguf"]}
(TORCH,) = map(Requirement, re.findall(r"^TORCH \?= (.+)$", (ROOT / "Makefile").read_text(), re.M))
SYSTEMS = [
    {"python_version": minor, "python_full_version": f"{minor}.4", "sys_platform": "linux"}
    for minor in ("3.11", "3.12", "3.13")
]
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def locked(extra: str) -> list[Requirement]:
    """The pins of a lock file, each with at least one hash."""
    text = (DEPLOY / f"requirements-{extra}.txt").read_text().replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        if not line.startswith("#"):
            requirement, *hashes = re.split(r"\s+(?=--hash)", line.strip())
            assert hashes
            assert all(map(HASH.fullmatch, hashes)), line
            found.append(Requirement(requirement))
    return found


def applies(requirement: Requirement, system: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**system, "extra": ""})


def pins(extra: str, system: dict[str, str]) -> dict[str, str]:
    """Versions by name. A name twice would leave the choice to the order of the lines."""
    found: dict[str, str] = {}
    for requirement in locked(extra):
        if applies(requirement, system):
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            name = canonicalize_name(requirement.name)
            assert name not in found
            found[name] = pin.version
    return found


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system["python_version"])
@pytest.mark.parametrize("extra", EXTRAS)
def test_the_lock_has_what_pyproject_asks_for(extra: str, system: dict[str, str]) -> None:
    wanted = [*PROJECT["dependencies"]]
    for name in EXTRAS[extra]:
        wanted += PROJECT["optional-dependencies"][name]
    versions = {**pins(extra, system), "torch": next(iter(TORCH.specifier)).version}
    for requirement in filter(lambda r: applies(r, system), map(Requirement, wanted)):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_lock_has_what_its_packages_ask_for(extra: str) -> None:
    """As far as they are installed here; `pip install --no-deps` looks at nothing beside the lock."""
    system = SYSTEMS[0]
    versions = pins(extra, system)
    for name in versions:
        try:
            needs = requires(name) or []
        except PackageNotFoundError:
            continue
        for requirement in filter(lambda r: applies(r, system), map(Requirement, needs)):
            assert canonicalize_name(requirement.name) in {*versions, "torch"}, (name, requirement)


def test_the_sbom_lists_the_same_versions() -> None:
    found = json.loads((DEPLOY / "sbom.cdx.json").read_text())["components"]
    listed = {(canonicalize_name(item["name"]), item["version"]) for item in found}
    pinned = {
        (canonicalize_name(item.name), next(iter(item.specifier)).version)
        for item in [*locked("void"), TORCH]
    }
    assert listed == pinned


def test_the_image_and_the_pages_install_from_the_lock() -> None:
    words = "--no-deps --require-hashes -r"
    assert f"{words} /src/deploy/requirements-void.txt" in (DEPLOY / "Dockerfile").read_text()
    page = (ROOT / "docs" / "operations.md").read_text()
    assert page.count(f"pip install {TORCH}\n") == 2
    assert page.count(f"{words} deploy/requirements-void.txt") == 2
