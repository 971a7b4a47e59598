"""One public class name means one thing in all packages, and parameters are nouns."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("protocol", "backend", "nuke_plugin", "resolve_plugin")


def public_classes(sources: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Returns the modules of each public class, by name. `sources` are (module, text)."""
    found = defaultdict(list)
    for module, text in sources:
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(module)
    return dict(found)


def doubled(classes: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: modules for name, modules in classes.items() if len(modules) > 1}


def test_no_two_public_classes_share_a_name() -> None:
    sources = [
        (str(path.relative_to(ROOT)), path.read_text("utf-8"))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    ]
    classes = public_classes(sources)
    assert len(classes) > 100
    assert doubled(classes) == {}


def test_a_second_class_of_a_name_is_found_and_a_private_one_is_not() -> None:
    sources = [("a", "class Job: ...\nclass _Part: ..."), ("b", "class Job: ...\nclass _Part: ...")]
    assert doubled(public_classes(sources)) == {"Job": ["a", "b"]}


NO_NOUNS = frozenset("to what which how who whom why then told said".split())
"""Words that tell a reader nothing about a parameter."""


def poorly_named(text: str) -> list[str]:
    """Returns the functions that have a parameter of `NO_NOUNS`."""
    return [
        f"{node.name}({argument.arg})"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for argument in ast.walk(node.args)
        if isinstance(argument, ast.arg) and argument.arg in NO_NOUNS
    ]


def test_parameters_are_nouns() -> None:
    found = {
        str(path.relative_to(ROOT)): names
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if (names := poorly_named(path.read_text("utf-8")))
    }
    assert found == {}


def test_a_parameter_that_is_no_noun_is_found() -> None:
    assert poorly_named("def send(then, *, reason): ...\ndef move(to): ...") == [
        "send(then)",
        "move(to)",
    ]
