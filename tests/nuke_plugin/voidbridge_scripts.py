"""Scripts with a node in them, and what artists do there, for the tests of the node.

Loaded under the name `voidbridge_scripts` by `conftest.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from voidbridge_shots import channels_of, echoed, same_bits

FRAMES = range(1001, 1004)


def script(
    shot: Any,
    frames: range = FRAMES,
    *,
    matte: bool = True,
    affected: bool = False,
    clean: bool = False,
) -> str:
    """Reads of a shot and a new node behind them, as a script has them."""
    from voidbridge_nuke import group

    roles = ("plate", "matte", "affected", *(["clean"] if clean else []))
    reads = "".join(read_of(shot, role, frames) for role in roles)
    fed = "push $Nclean\n" if clean else "push 0\n"
    fed += "push $Naffected\n" if affected else "push 0\n"
    fed += "push $Nmatte\n" if matte else "push 0\n"
    return reads + fed + "push $Nplate\n" + group.text()


def key_script(shot: Any, frames: range = FRAMES, roles: Iterable[str] = ("plate", "hint")) -> str:
    """Reads of a shot on a screen and a new node Key behind them. `roles` are connected."""
    from voidbridge_nuke import group, operations

    reads = fed = ""
    for spec in operations.KEY.inputs:
        if spec.role in roles:
            reads += read_of(shot, spec.role, frames)
            fed = f"push $N{spec.role}\n" + fed
        else:
            fed = "push 0\n" + fed
    return reads + fed + group.text(operation=operations.KEY)


def read_of(shot: Any, role: str, frames: range) -> str:
    return f"""Read {{
 inputs 0
 file "{shot.folder.as_posix()}/{role}.%04d.exr"
 first {frames[0]}
 last {frames[-1]}
 before black
 after black
 raw true
 name {role}_read
}}
set N{role} [stack 0]
"""


def node_of(host: Any, shot: Any, frames: range = FRAMES, **more: Any) -> Any:
    return host.stage.load(script(shot, frames, **more))[-1]


def with_echo(node: Any, daemon: Any, **changes: Any) -> Any:
    """The engine that can be computed, with a hard edge, on the daemon of the tests."""
    node["engine"].setValues(["cleanplate", "void", "echo"])
    for name, value in {
        "engine": "echo", "grow": 0, "soften": 0, "daemon": daemon.address, **changes,
    }.items():  # fmt: skip
        node[name].setValue(value)
    return node


def remove(host: Any, node: Any) -> str:
    """Presses Remove and waits; the status line at the end."""
    from voidbridge_nuke import controller as conduct

    host.stage.press("remove", node)
    host.stage.until(lambda: not conduct.RUNNING, "the job to end")
    return str(node["status"].value())


def given(host: Any, node: Any, frame: int, view: str = "main") -> dict[str, Any]:
    return host.picture(node, frame, view)


def plate(shot: Any, frame: int) -> dict[str, Any]:
    return {n: p.astype(np.float32) for n, p in channels_of(shot.file("plate", frame)).items()}


def check_removed(host: Any, node: Any, shot: Any, frames: range, channel: str = "R") -> None:
    """The engine's pixels in the hole, the plate's own bits outside."""
    for frame in frames:
        hole = channels_of(shot.file("matte", frame))["A"] > 0
        wanted = echoed(channels_of(shot.file("plate", frame))[channel], hole).astype(np.float32)
        assert same_bits(given(host, node, frame)[channel], wanted), frame
