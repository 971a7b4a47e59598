"""The inside of the Group that tracks: the mattes of the result, an overlay and the plate.

A result has the removed area in alpha, the affected one in red and the quadmask's code in green.
"""

from __future__ import annotations

from .node_text import IN_RANGE, copy_layer, input_node, merge, node, read, write
from .operations import MASK


def body() -> list[str]:
    """Nodes are pushed on a stack: the last one becomes input 0 (B) of the next, the one before it input 1 (A)."""
    plate = MASK.outputs.index("plate")
    return [
        *input_node("seed", 1, 200),
        *write("seed", "alpha", 200),
        *input_node("plate", 0, 0),
        "set Nplate [stack 0]",
        "push $Nplate",
        *copy_layer("PlateLayer", disable=True),
        *write("plate", "rgb", 0),
        *read("ReadResult", "result_files", 0),
        "set Nresult [stack 0]",
        "push $Nplate",
        *merge("Quadmask", ["Ag", "Ag", "Ag", "1"]),
        "set Nquadmask [stack 0]",
        "push $Nresult",
        "push $Nplate",
        *merge("Overlay", ["Br+0.4*Aa", "Bg+0.4*Ar", "Bb", "Aa"]),
        "set Noverlay [stack 0]",
        "push $Nresult",
        "push $Nplate",
        *merge("Mattes", ["Ar", "0", "Aa", "Aa"]),
        "set Nmattes [stack 0]",
        "push $Nquadmask",
        "push $Noverlay",
        "push $Nmattes",
        *node("Switch", inputs=plate, name="Chosen", which="{{parent.output}}"),
        "push $Nplate",
        *node("Switch", inputs=2, name="Shown", which=f"{{{{parent.output<{plate}&&{IN_RANGE}}}}}"),
        *node("Output", name="Output1"),
    ]
