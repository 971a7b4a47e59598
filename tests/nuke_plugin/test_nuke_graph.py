"""The script around the node: groups, callbacks, variables, and checks that are put off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from voidbridge_scripts import node_of, remove, script, with_echo

DONE = "done: v001, frames 1001-1003"


def made(host: Any, text: str) -> Any:
    return host.stage.load(text)[-1]


def wrapped(kind: str, knobs: str = "") -> str:
    """A group of a class, with a grade inside."""
    return (
        f"push 0\n{kind} {{\n name Around\n{knobs}}}\nInput {{\n inputs 0\n name in\n}}\n"
        "Expression {\n expr0 r*0.5\n name Inner\n}\nOutput {\n name Output1\n}\nend_group\n"
    )


def between(node: Any, number: int, new: Any) -> Any:
    new.setInput(0, node.input(number))
    node.setInput(number, new)
    return new


def opened(host: Any, node: Any) -> str:
    """The status after the artist opened the panel."""
    host.stage.call(node["knobChanged"].value(), node, host.Knob("showPanel"))
    host.stage.settle()
    return str(node["status"].value())


@pytest.mark.parametrize("kind", ["Group", "LiveGroup", "VariableGroup"])
def test_behind_a_group_the_result_is_done_and_a_change_inside_is_seen(
    host: Any, shot: Any, daemon: Any, kind: str
) -> None:
    node = with_echo(node_of(host, shot), daemon)
    around = between(node, 0, made(host, wrapped(kind)))
    between(node, 1, made(host, "push 0\nDot {\n name Corner\n}"))
    assert remove(host, node) == DONE
    write = made(host, "push 0\nWrite {\n file /dev/null/%04d.exr\n raw true\n name Comp\n}")
    write.setInput(0, node)
    for call in host.stage.before_render:
        host.stage.this.append((write, None))
        call()  # raises nothing
        host.stage.this.pop()
    around.node("Inner")["expr0"].setValue("r*0.6")
    assert opened(host, node) == "out of date: upstream of plate changed since v001"


@pytest.mark.parametrize("kind", ["LiveGroup", "VariableGroup"])
def test_a_node_of_ours_in_any_group_is_guarded(
    host: Any, shot: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "GUI", False)
    inside = script(shot)
    text = f"push 0\n{kind} {{\n name Outer\n}}\n{inside}Output {{\n name Output1\n}}\nend_group\n"
    write = "Write {\n file /dev/null/%04d.exr\n raw true\n name Comp\n}\n"
    host.stage.load(text + write)
    with pytest.raises(RuntimeError, match=r"Outer\.Voidbridge1 is not rendered"):
        host.execute(host.toNode("Comp"), 1001, 1001)


def test_a_variable_in_scope_counts(host: Any, shot: Any, daemon: Any) -> None:
    node = with_echo(node_of(host, shot), daemon)
    around = between(node, 0, made(host, wrapped("VariableGroup")))
    assert remove(host, node) == DONE
    both = "out of date: upstream of matte, upstream of plate changed since v001"
    host.root()["gsv"].setValue("{shot 020}")
    assert opened(host, node) == both
    host.root()["gsv"].fromScript("")
    assert opened(host, node) == DONE
    around["gsv"].setValue("{shot 030}")
    assert opened(host, node) == "out of date: upstream of plate changed since v001"


def test_a_script_that_loads_or_is_pasted_keeps_its_connections(
    host: Any, shot: Any, daemon: Any, tmp_path: Path
) -> None:
    from voidbridge_nuke import node_text

    node = with_echo(node_of(host, shot), daemon)
    remove(host, node)
    kept = {n: k.value() for n, k in node.knobs().items() if n in ("node_id", "homes")}
    for name in ("result_files", "plate_files", "result_first", "result_last"):
        kept[name] = node[name].value()
    lines = script(shot).splitlines()
    for i, line in enumerate(lines):
        name = line.strip().partition(" ")[0]
        if line.startswith(" ") and name in kept:
            lines[i] = f" {name} {node_text.quoted(kept[name])}"
    saved = tmp_path / "shot.nk"
    saved.write_text("\n".join(lines) + "\n", encoding="utf-8")
    host.scriptOpen(str(saved))
    host.stage.settle()
    (again,) = host.allNodes("Group")
    assert [again.input(i) is not None for i in range(2)] == [True, True]
    assert again["status"].value().startswith("out of date: engine")
    host.nodePaste(str(saved))
    host.stage.settle()
    for found in host.allNodes("Group"):
        assert [found.input(i) is not None for i in range(2)] == [True, True]


def test_a_slider_that_is_dragged_looks_at_the_tree_once_and_not_for_each_tick(
    host: Any, shot: Any, daemon: Any
) -> None:
    node = with_echo(node_of(host, shot), daemon)
    assert remove(host, node) == DONE
    host.stage.looks = 0
    for value in range(1, 41):
        node["grow"].setValue(value)
        assert node["status"].value() == "out of date: grow changed since v001"
    assert host.stage.looks == 0
    node["grow"].setValue(0)
    host.stage.settle()
    assert node["status"].value() == DONE


def test_a_damaged_record_neither_stops_a_script_from_opening_nor_a_click(
    host: Any, shot: Any, daemon: Any
) -> None:
    node = with_echo(node_of(host, shot), daemon)
    remove(host, node)
    record = Path(node["result_files"].value()).parent / "version.json"
    record.write_text('{"frames": [1001, 1003], "views": ["main"], "made_with": [1]}')
    for call in host.stage.on_load:
        call()
    host.stage.settle()
    assert node["status"].value().startswith("cannot look: ")
    node["grow"].setValue(3)
    host.stage.settle()
    assert node["status"].value().startswith("cannot look: ")


def test_a_button_runs_inside_of_its_group(host: Any, shot: Any) -> None:
    node = node_of(host, shot)
    host.stage.call("nuke.found = nuke.toNode('ReadResult'), nuke.toNode('plate_read')", node, None)
    assert host.found == (node.node("ReadResult"), None)
    host.stage.call("nuke.found = nuke.toNode('root.plate_read')", node, None)
    assert host.found is host.toNode("plate_read")
    with node:
        assert host.toNode("plate_read") is None
