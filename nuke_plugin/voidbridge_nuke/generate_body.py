"""The inside of the Group that generates: new frames of the result, and the plate everywhere else."""

from __future__ import annotations

from .node_text import IN_RANGE, input_node, node, read, write
from .operations import GENERATE


def body() -> list[str]:
    """Nodes are pushed on a stack: the last one becomes input 0 (B) of the next, the one before it input 1 (A)."""
    plate = GENERATE.outputs.index("plate")
    return [
        *input_node("reference", 2, 400),
        *write("reference", "rgb", 400),
        *input_node("tail", 1, 200),
        *write("tail", "rgb", 200),
        *input_node("plate", 0, 0),
        "set Nplate [stack 0]",
        *write("plate", "rgb", 0),
        *read("ReadResult", "result_files", 0),
        "push $Nplate",
        *node("Switch", inputs=2, name="Shown", which=f"{{{{parent.output<{plate}&&{IN_RANGE}}}}}"),
        *node("Output", name="Output1"),
    ]
