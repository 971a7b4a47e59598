"""Every change upstream that matters makes the result out of date, and no other change does."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from voidbridge_scripts import node_of, remove, with_echo

from voidbridge_nuke import upstream_hash

DONE = "done: v001, frames 1001-1003"


def made(host: Any, text: str) -> Any:
    return host.stage.load(text)[-1]


def between(node: Any, number: int, new: Any) -> Any:
    """Puts a node into the wire of an input."""
    new.setInput(0, node.input(number))
    node.setInput(number, new)
    return new


def status(host: Any, node: Any) -> str:
    """As it reads when its panel is opened."""
    host.stage.call(node["knobChanged"].value(), node, host.Knob("showPanel"))
    host.stage.settle()
    return str(node["status"].value())


@pytest.fixture
def comp(host: Any, shot: Any, daemon: Any) -> Any:
    """A node behind a grade of its plate, whose strength is a number elsewhere, and behind a dot in its matte."""
    node = with_echo(node_of(host, shot), daemon)
    strength = made(host, "push 0\nExpression {\n expr0 2\n name Strength\n}")
    grade = between(node, 0, made(host, "push 0\nExpression {\n name Grade\n}"))
    grade["expr0"].setValue("r*0.5")
    between(node, 1, made(host, "push 0\nDot {\n name Corner\n}"))
    assert remove(host, node) == DONE
    return SimpleNamespace(node=node, grade=grade, strength=strength, plate=grade.input(0))


CHANGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a knob": (lambda c: c.grade["expr0"].setValue("r*0.6"), "upstream of plate"),
    "an animated knob": (
        lambda c: c.grade["expr0"].setValue("{{curve x1050 1 2}}"), "upstream of plate",
    ),
    "a bypass": (lambda c: c.node.setInput(0, c.plate), "upstream of plate"),
    "the roto": (lambda c: c.node.input(1).input(0)["last"].setValue(1099), "upstream of matte"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_upstream_makes_the_result_stale(host: Any, comp: Any, what: str) -> None:
    change, said = CHANGES[what]
    change(comp)
    assert status(host, comp.node) == f"out of date: {said} changed since v001"
    comp.node["guard"].setValue("refuse")
    with pytest.raises(RuntimeError, match=said):
        _render_behind(host, comp.node)


def _render_behind(host: Any, node: Any) -> None:
    write = made(host, "push 0\nWrite {\n file /dev/null/%04d.exr\n name Comp\n}")
    write.setInput(0, node)
    host.execute(write, 1001, 1001)


def test_what_is_read_by_an_expression_counts_too(host: Any, comp: Any) -> None:
    comp.grade["expr1"].setValue("{{Strength.expr0}}")
    assert remove(host, comp.node).startswith("done: v002")
    comp.strength["expr0"].setValue("3")
    assert status(host, comp.node) == "out of date: upstream of plate changed since v002"


def test_what_changes_no_picture_leaves_the_result_as_it_is(host: Any, comp: Any) -> None:
    comp.grade["xpos"].setValue(400)
    comp.grade["label"].setValue("softer")
    comp.grade["name"].setValue("Tone")
    comp.strength["expr0"].setValue("4")  # nobody reads it
    between(comp.node, 0, made(host, "push 0\nDot {\n name Elbow\n}"))
    write = between(comp.node, 0, made(host, "push 0\nWrite {\n file a_v1.exr\n name Precomp\n}"))
    write["file"].setValue("a_v2.exr")
    comp.plate["file"].setValue(comp.plate["file"].value().replace("plates", "elsewhere"))
    assert status(host, comp.node) == DONE


def test_another_nuke_does_not_compare_what_it_may_spell_otherwise(
    host: Any, comp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "NUKE_VERSION_STRING", "14.0v1")
    comp.grade["expr0"].setValue("r*0.6")
    assert status(host, comp.node) == DONE


def test_a_node_of_ours_upstream_counts_with_what_it_shows(
    host: Any, shot: Any, daemon: Any
) -> None:
    first = with_echo(node_of(host, shot), daemon)
    second = with_echo(node_of(host, shot), daemon)
    second.setInput(0, first)
    remove(host, first)
    assert remove(host, second) == DONE
    first["status"].setValue("whatever it says")
    first["priority"].setValue(3)
    assert status(host, second) == DONE
    first["output"].setValue("plate")
    assert status(host, second) == "out of date: upstream of plate changed since v001"


class Plain:
    """Anything with a class, a name and inputs is a node to `tree`."""

    def __init__(self, name: str, kind: str = "Merge2", fed: tuple[Any, ...] = ()) -> None:
        self.name, self.kind, self.fed = name, kind, list(fed)

    def Class(self) -> str:
        return self.kind

    def fullName(self) -> str:
        return self.name

    def knobs(self) -> dict[str, Any]:
        return {}


def digest(top: Plain) -> str:
    return upstream_hash.digest(top, lambda node: node.fed, lambda node: (node.kind, []))


def test_which_input_is_which_counts() -> None:
    a, b = Plain("a", "Read"), Plain("b", "Blur")
    assert digest(Plain("m", fed=(a, b))) != digest(Plain("m", fed=(b, a)))
    assert digest(Plain("m", fed=(a, a))) != digest(Plain("m", fed=(a, Plain("c", "Read"))))


def test_a_ring_of_expressions_and_a_very_deep_tree_end() -> None:
    a, b = Plain("a"), Plain("b")
    a.fed, b.fed = [b], [a]
    assert digest(a)
    deep = Plain("n0")
    for number in range(1, 20_000):
        deep = Plain(f"n{number}", fed=(deep,))
    before = time.process_time()
    assert digest(deep)
    assert time.process_time() - before < 5
