"""The self-test of the Voidbridge node in a real Nuke: nuke -t voidbridge_selftest.py [--report=FILE]

It builds a tiny tree, asks every question that only a real Nuke can answer, removes an object, looks at pixels, and
writes one report to send back. It needs the installed plug-in on NUKE_PATH, and changes no script of yours.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import subprocess
import sys
import tempfile
import traceback
from typing import Any, Callable, Sequence

import nuke

# Tiny OpenEXR files; `voidbridge selftest nuke` writes them here.
FRAMES: dict[str, str] = {}  # name: base64
FIRST, LAST, MIDDLE = 1001, 1003, 1002
CENTER, OUTSIDE, REACH = (24, 16), (2, 2), 6  # in pixels; half the size of the matte
POINTS: list[tuple[str, str, Callable[[Tree], str]]] = []


def point(question: str) -> Callable[[Callable[[Tree], str]], Callable[[Tree], str]]:
    """Registers a question. The function returns the answer, and asserts the one that the node relies on."""

    def add(ask: Callable[[Tree], str]) -> Callable[[Tree], str]:
        POINTS.append((ask.__name__, question, ask))
        return ask

    return add


class Tree:
    """The folder of the self-test and the nodes in it."""

    def __init__(self, folder: str, daemon: str) -> None:
        self.folder = folder.replace("\\", "/")
        self.daemon = daemon
        self.flags = {"refuse": False}
        for name, data in FRAMES.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(base64.b64decode(data))
        self.paste(
            "".join(self.read(role, self.folder) for role in ("plate", "matte")) + PROBE + BEHIND
        )
        named("VbTestGroup").setInput(0, named("VbTestplate"))

    def paste(self, text: str) -> None:
        """Pastes behind nothing: a selected node would be connected."""
        for node in nuke.selectedNodes():
            node.setSelected(False)
        path = os.path.join(self.folder, "paste.nk").replace("\\", "/")
        with open(path, "w") as file:
            file.write(text)
        nuke.nodePaste(path)

    def read(self, role: str, folder: str, name: str = "") -> str:
        lines = (f'file "{folder}/{role}.%04d.exr"', f"first {FIRST}", f"last {LAST}")
        held = ("before black", "after black", "raw true", f"name {name or 'VbTest' + role}")
        return block("Read", "inputs 0", *lines, *held)

    def write(self, name: str, node: Any) -> str:
        """A new Write behind a node; its file."""
        path = f"{self.folder}/{name}.%04d.exr"
        lines = ("channels rgb", f'file "{path}"', "file_type exr", "raw true", f"name {name}")
        self.paste(block("Write", "inputs 0", *lines))
        named(name).setInput(0, node)
        return path % MIDDLE


def block(kind: str, *lines: str) -> str:
    """The text of a node, with its knobs."""
    return f"{kind} {{\n" + "".join(f" {line}\n" for line in lines) + "}\n"


INPUT = block("Input", "inputs 0", "name plate")
END = block("Output", "name Output1") + "end_group\n"
OUTER = block("Dot", "inputs 0", "name VbTestOuter")
ASKED = (
    "n = nuke.thisNode()",
    "n.knobs().get('relative').setValue(str(nuke.toNode('VbTestOuter') is not None))",
    "n.knobs().get('absolute').setValue(str(nuke.toNode('root.VbTestOuter') is not None))",
)
RELATIVE = ('addUserKnob {1 relative l "relative"}', 'relative ""')
ABSOLUTE = ('addUserKnob {1 absolute l "absolute"}', 'absolute ""')
ASKING = 'addUserKnob {22 probe l "probe" T "' + "\\n".join(ASKED) + '"}'
PROBE = block("Group", "inputs 0", "name VbTestProbe", *RELATIVE, *ABSOLUTE, ASKING)
PROBE = OUTER + PROBE + block("Dot", "inputs 0", "name VbTestInner") + END
BEHIND = block("Group", "inputs 1", "name VbTestGroup") + INPUT
BEHIND += block("Expression", "expr0 r", "name VbTestInside") + END
LOOK = (
    "n, k = nuke.thisNode(), nuke.thisKnob()",
    "if k.name() == 'inputChange':",
    f"    n.metadata('input/filename', {MIDDLE})",
    "    n.knobs().get('looked').setValue('yes')",
)
LOOKED = (
    'knobChanged "' + "\\n".join(LOOK) + '"',
    'addUserKnob {1 looked l "looked"}',
    "looked no",
)
LOOKING = block("Group", "inputs 1", "name VbTestLooking", *LOOKED) + INPUT + END
GROUP = block("%s", "inputs 0", "name %s") + block("Dot", "inputs 0") + END
LIGHTS = ('expr0 "r>1?0.8:0.06"', 'expr1 "r>1?0.7:0.42"', 'expr2 "r>1?0.6:0.1"')
SCREEN = block("Expression", "inputs 0", *LIGHTS, "name VbTestScreen")
KEYED = (
    ("premultiplied", "red", CENTER),
    ("straight", "red", CENTER),
    ("alpha", "alpha", CENTER),
    ("alpha", "alpha", OUTSIDE),
    ("clean screen", "green", CENTER),
)


def named(name: str) -> Any:
    found = nuke.toNode(name)
    assert found is not None, f"the node {name} was not pasted"
    return found


def pixel(node: Any, place: tuple[int, int], channel: str = "red", frame: int = MIDDLE) -> float:
    return float(node.sample(channel, place[0] + 0.5, place[1] + 0.5, 1, 1, frame))


@point("Does toNode look in the group that the code runs in, and from the root with root.?")
def names_in_groups(tree: Tree) -> str:
    probe = named("VbTestProbe")
    probe["probe"].execute()
    relative, absolute = probe["relative"].value(), probe["absolute"].value()
    seen = f"outer node by its name: {relative}, with root.: {absolute}"
    assert (relative, absolute) == ("False", "True"), seen
    return seen


@point("Are LiveGroup and VariableGroup groups for isinstance?")
def classes_of_groups(tree: Tree) -> str:
    seen: list[str] = []
    for kind in ("LiveGroup", "VariableGroup"):
        try:
            tree.paste(GROUP % (kind, "VbTest" + kind))
            node = named("VbTest" + kind)
        except (RuntimeError, AssertionError) as error:
            seen.append(f"{kind}: {error}")
            continue
        seen.append(f"{kind}: {isinstance(node, nuke.Group)}")
        assert isinstance(node, nuke.Group), "; ".join(seen)
    return "; ".join(seen)


@point("Do filename filters map the files of Reads?")
def filename_filters(tree: Tree) -> str:
    mark = "/vb-mapped-elsewhere"
    nuke.addFilenameFilter(lambda path: path.replace(mark, ""))
    tree.paste(tree.read("plate", tree.folder + mark, "VbTestMapped"))
    seen = pixel(named("VbTestMapped"), CENTER)
    assert seen == pixel(named("VbTestplate"), CENTER), f"the mapped plate has {seen!r} there"
    return "the mapped plate is read"


@point("Does an exception in a callback before a render stop it?")
def callbacks_stop_renders(tree: Tree) -> str:
    def refuse() -> None:
        if tree.flags["refuse"]:
            raise RuntimeError("the self-test refuses")

    path = tree.write("VbTestRefused", named("VbTestplate"))
    nuke.addBeforeRender(refuse)
    tree.flags["refuse"] = True
    try:
        nuke.execute(named("VbTestRefused"), MIDDLE, MIDDLE, 1)
        seen = "nothing was raised"
    except RuntimeError as error:
        seen = f"raised: {error}"
    finally:
        tree.flags["refuse"] = False
    assert seen.startswith("raised"), seen
    assert not os.path.exists(path), seen + "; and a file was written"
    return seen


@point("How often do callbacks before a render run, if one Write renders two pieces?")
def callbacks_of_pieces(tree: Tree) -> str:
    calls: list[str] = []
    tree.write("VbTestPieces", named("VbTestplate"))
    nuke.addBeforeRender(lambda: calls.append(nuke.thisNode().name()))
    for frame in (FIRST, MIDDLE):
        nuke.executeMultiple((named("VbTestPieces"),), ((frame, frame, 1),), nuke.views())
    seen = f"{calls.count('VbTestPieces')} times for 2 pieces"
    assert calls.count("VbTestPieces") == 2, seen
    return seen


@point("Does `nuke -t` end with the exit code of its script?")
def exit_code(tree: Tree) -> str:
    path = os.path.join(tree.folder, "ends_with_3.py")
    with open(path, "w") as file:
        file.write("raise SystemExit(3)\n")
    code = subprocess.call([nuke.EXE_PATH, "-t", path])
    assert code == 3, f"{code} instead of 3"
    return "3, as asked for"


@point("Does FilterErode of size -2 grow by two pixels to each side?")
def reach_of_filter_erode(tree: Tree) -> str:
    tree.paste(
        "FilterErode {\n inputs 0\n channels rgba\n filter box\n size {{-2} {-2}}\n name VbTestGrown\n}\n"
    )
    named("VbTestGrown").setInput(0, named("VbTestmatte"))
    places = [(CENTER[0] + REACH - 1 + i, CENTER[1]) for i in range(5)]
    row = [pixel(named("VbTestGrown"), place, "alpha") for place in places]
    assert row == [1, 1, 1, 0, 0], f"from the edge outward: {row!r}"
    return f"from the edge outward: {row!r}"


@point("Does the Root name the working space?")
def working_space(tree: Tree) -> str:
    knobs = nuke.root().knobs()
    seen = str(knobs["workingSpaceLUT"].value()) if "workingSpaceLUT" in knobs else ""
    assert seen, "no knob workingSpaceLUT, or it is empty"
    return seen


@point("Is a pasted node connected behind the selected one, and to nothing else?")
def pasted_behind_the_selection(tree: Tree) -> str:
    from voidbridge_nuke import host, startup

    for node in nuke.allNodes():
        node.setSelected(node.name() == "VbTestplate")
    before = [node.fullName() for node in host.ours()]
    startup.paste()
    made = next(node for node in host.ours() if node.fullName() not in before)
    fed = [made.input(number) for number in range(4)]
    seen = "inputs: " + ", ".join(node.name() if node else "none" for node in fed)
    assert seen == "inputs: VbTestplate, none, none, none", seen
    return seen


@point(
    "Does a callback that looks at the tree lose the inputs of a pasted node, and does ours keep them?"
)
def looks_while_pasted(tree: Tree) -> str:
    from voidbridge_nuke import group

    read = tree.read("plate", tree.folder, "VbTestFed")
    tree.paste(read + LOOKING)
    fed = "set N [stack 0]\npush 0\npush 0\npush 0\npush $N\n"
    tree.paste(read + fed + group.text("VbTestPasted"))
    looking, ours = named("VbTestLooking"), named("VbTestPasted")
    looked, kept = looking["looked"].value(), [n.input(0) is not None for n in (looking, ours)]
    seen = f"looked: {looked}, input after it: {kept[0]}; input of ours: {kept[1]}"
    assert (looked, kept) == ("yes", [False, True]), seen
    return seen


@point("Does Remove render, send, and show a result, with plate bits outside of the matte?")
def removal(tree: Tree) -> str:
    from voidbridge_nuke import controller, group, result_state

    tree.paste(group.text("VbTestRemove"))
    node = named("VbTestRemove")
    node.setInput(0, named("VbTestGroup"))
    node.setInput(1, named("VbTestmatte"))
    node["cache"].setValue(tree.folder)
    node["daemon"].setValue(tree.daemon)
    node["grow"].setValue(0)
    node["soften"].setValue(0)
    work = controller.start(node)
    text = result_state.standing(node)[0]
    assert text.startswith("done"), f"{text}; {work.output[-500:]}"
    plate = named("VbTestplate")
    outside = [pixel(found, OUTSIDE) for found in (plate, node)]
    inside = [pixel(found, CENTER) for found in (plate, node)]
    seen = f"{text}; outside {outside!r}, inside {inside!r}"
    assert outside[0] == outside[1], seen
    assert abs(inside[0] - inside[1]) > 1, seen
    return seen


@point("Does the Read of a result have the size of the plate after its reload?")
def size_of_results(tree: Tree) -> str:
    plate, read = named("VbTestplate"), named("VbTestRemove").node("ReadResult")
    sizes = [(node.width(), node.height()) for node in (plate, read)]
    seen = f"plate {sizes[0]}, result {sizes[1]}"
    assert sizes[0] == sizes[1], seen
    return seen


@point("Does Key show the layers of a result, premultiplied, straight and the screen?")
def keying(tree: Tree) -> str:
    from voidbridge_nuke import controller, group, operations, result_state

    tree.paste(SCREEN + group.text("VbTestKey", operations.KEY))
    named("VbTestScreen").setInput(0, named("VbTestplate"))
    node = named("VbTestKey")
    node.setInput(0, named("VbTestScreen"))
    node["cache"].setValue(tree.folder)
    node["daemon"].setValue(tree.daemon)
    work = controller.start(node)
    text = result_state.standing(node)[0]
    assert text.startswith("done"), f"{text}; {work.output[-500:]}"
    found = []
    for output, channel, place in KEYED:
        node["output"].setValue(output)
        found.append(pixel(node, place, channel))
    seen = f"{text}; {found!r}"
    assert all(abs(one - wanted) < 0.05 for one, wanted in zip(found, (0.8, 0.8, 1, 0, 0.42))), seen
    return seen


@point("Is a result behind a group out of date exactly when something in the group has changed?")
def staleness(tree: Tree) -> str:
    from voidbridge_nuke import result_state

    node = named("VbTestRemove")
    inside = named("VbTestGroup.VbTestInside")
    before = result_state.standing(node)[0]
    inside["expr0"].setValue("r+0")
    after = result_state.standing(node)[0]
    seen = f"before: {before}; after: {after}"
    assert before.startswith("done"), seen
    assert "upstream of plate" in after, seen
    return seen


@point("Does the guard stop a render of a result that is out of date?")
def guarded(tree: Tree) -> str:
    path = tree.write("VbTestGuarded", named("VbTestRemove"))
    named("VbTestRemove")["guard"].setValue("refuse")
    try:
        nuke.execute(named("VbTestGuarded"), MIDDLE, MIDDLE, 1)
        seen = "nothing was raised"
    except RuntimeError as error:
        seen = f"raised: {error}"
    assert "out of date" in seen, seen
    assert not os.path.exists(path), seen
    return seen


def ask(function: Callable[[Tree], str], tree: Tree) -> dict[str, str]:
    try:
        return {"verdict": "ok", "seen": function(tree)}
    except AssertionError as error:
        return {"verdict": "failed", "seen": str(error)}
    except Exception:  # whatever a real Nuke does differently belongs into the report
        return {"verdict": "failed", "seen": traceback.format_exc()}


def report(folder: str, daemon: str = "", only: Sequence[str] = ()) -> dict[str, Any]:
    """Asks the questions, or those named in `only`, and returns the report."""
    found: dict[str, Any] = {
        "host": "nuke",
        "version": nuke.NUKE_VERSION_STRING,
        "python": platform.python_version(),
        "system": platform.platform(),
        "gui": bool(nuke.GUI),
        "points": [],
    }
    tree = Tree(folder, daemon)
    for name, question, function in POINTS:
        if not only or name in only:
            answer = ask(function, tree)
            found["points"].append(dict(answer, point=name, question=question))
            print("{verdict:8} {point}: {seen}".format(**found["points"][-1]))
    return found


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="voidbridge_selftest.py")
    parser.add_argument("--report", default="voidbridge_selftest_nuke.json", help="to send back")
    parser.add_argument("--daemon", default="", help="the address of a daemon")
    options = parser.parse_args(list(words))
    found = report(tempfile.mkdtemp(prefix="voidbridge_selftest_"), options.daemon)
    with open(options.report, "w") as file:
        json.dump(found, file, indent=1)
    print(f"The report is {os.path.abspath(options.report)}")
    return 0 if all(answer["verdict"] == "ok" for answer in found["points"]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
