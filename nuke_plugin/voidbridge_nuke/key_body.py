"""The inside of the Group that keys: foreground, alpha and clean screen of the result, and the plate.

The layers of a result are read by name, as `fg.red`. The node adds none to the script by itself.
"""

from __future__ import annotations

from .node_text import IN_RANGE, channel_of, copy_layer, input_node, merge, node, read, write
from .operations import KEY


def body() -> list[str]:
    """Nodes are pushed on a stack: the last one becomes input 0 (B) of the next, the one before it input 1 (A)."""
    plate = KEY.outputs.index("plate")
    return [
        *input_node("screen", 2, 400),
        *write("screen", "rgb", 400),
        *input_node("hint", 1, 200),
        *node("Expression", name="HintAlpha", expr3=channel_of("hint_channel", "hint_invert")),
        *write("hint", "alpha", 200),
        *input_node("plate", 0, 0),
        "set Nplate [stack 0]",
        "push $Nplate",
        *copy_layer("PlateLayer", disable=True),
        *write("plate", "rgb", 0),
        *read("ReadResult", "result_files", 0),
        "set Nresult [stack 0]",
        *_layer("Straight", "fg", "a"),
        *_over_plate("StraightShown", ["Ar", "Ag", "Ab", "Aa"]),
        "set Nstraight [stack 0]",
        "push $Nresult",
        *_layer("Screen", "screen", "1"),
        *_over_plate("ScreenShown", ["Ar", "Ag", "Ab", "Aa"]),
        "set Nscreen [stack 0]",
        "push $Nresult",
        *_over_plate("Premultiplied", ["Ar", "Ag", "Ab", "Aa"]),
        "set Npremultiplied [stack 0]",
        "push $Nresult",
        *_over_plate("Alpha", ["Aa", "Aa", "Aa", "Aa"]),
        "set Nalpha [stack 0]",
        "push $Nresult",
        "push $Nscreen",
        "push $Nalpha",
        "push $Nstraight",
        "push $Npremultiplied",
        *node("Switch", inputs=plate, name="Chosen", which="{{parent.output}}"),
        "set Nchosen [stack 0]",
        "push $Nresult",
        "push $Nchosen",
        *node("CopyMetaData", inputs=2, name="ResultMetaData", mergeMode="Meta+Image"),
        "push $Nplate",
        *node("Switch", inputs=2, name="Shown", which=f"{{{{parent.output<{plate}&&{IN_RANGE}}}}}"),
        *node("Output", name="Output1"),
    ]


def _layer(name: str, layer: str, alpha: str) -> list[str]:
    """Returns a layer of the result as red, green and blue."""
    colors = {f"expr{i}": f"{layer}.{c}" for i, c in enumerate(("red", "green", "blue"))}
    return node("Expression", **dict(colors, expr3=alpha, name=name))


def _over_plate(name: str, expressions: list[str]) -> list[str]:
    """Returns a picture (A) with the other channels of the plate (B)."""
    return ["push $Nplate", *merge(name, expressions)]
