"""The inside of the Group that removes: the result, the quadmask and the differences."""

from __future__ import annotations

from typing import Dict, Mapping

from .knobs import COLORS_OF_LAYER, Value, channel_name
from .node_text import IN_RANGE, copy_layer, input_node, merge, node, read, write

Inside = Dict[str, Dict[str, Value]]
"""Knobs of inner nodes, by the name of the node."""

ROUND = ((0.945, 0.524), (0.764, 0.764), (0.524, 0.945))
"""Three boxes whose union is a circle of radius 1 to 8 %: Nuke grows by boxes, the engines by distance."""

DIFFERS = "(Ar!=Br||Ag!=Bg||Ab!=Bb)"
"""True where the result differs from the sent plate. A NaN differs from itself; the result has it too."""


def body() -> list[str]:
    """Nodes are pushed on a stack: the last one becomes input 0 (B) of the next, the one before it input 1 (A)."""
    in_range = f"{{{{{IN_RANGE}}}}}"
    return [
        *input_node("clean", 3, 600),
        *node("Expression", name="CleanAlpha", expr3="parent.clean_whole?1:a"),
        *write("clean", "rgba", 600),
        *input_node("affected", 2, 400),
        *_matte("Affected", "a"),
        "set Naffected [stack 0]",
        *write("affected", "alpha", 400),
        *input_node("matte", 1, 200),
        *_matte("Matte", "parent.matte_invert?1-a:a"),
        "set Nmatte [stack 0]",
        *write("matte", "alpha", 200),
        *input_node("plate", 0, 0),
        "set Nplate [stack 0]",
        "push $Nplate",
        *copy_layer("PlateLayer", disable=True),
        *write("plate", "rgb", 0),
        *read("ReadResult", "result_files", 0),
        "set Nresult [stack 0]",
        *read("ReadPlate", "plate_files", 100),
        *merge("Layer", [f"{DIFFERS}?{c}:0" for c in ("Ar", "Ag", "Ab")] + [f"{DIFFERS}?1:0"]),
        "set Nlayer [stack 0]",
        "push $Nplate",
        "push $Nplate",
        *copy_layer("ShownLayer", disable=True),
        "set Nsource [stack 0]",
        *merge("Select", [*[f"Aa>0?A{c}:B{c}" for c in "rgb"], "Ba"]),
        "push $Nplate",
        *copy_layer("BackToLayer"),
        "set Nselect [stack 0]",
        "push $Nresult",
        "push $Nselect",
        *node("CopyMetaData", inputs=2, name="ResultMetaData", mergeMode="Meta+Image"),
        "push $Nplate",
        *node("Switch", inputs=2, name="InRange", which=in_range),
        "set Nshown [stack 0]",
        "push $Nlayer",
        "push $Nplate",
        *node("Remove", name="Nothing", operation="remove", channels="all"),
        *node("Switch", inputs=2, name="LayerInRange", which=in_range),
        "set Nlayershown [stack 0]",
        *_quadmask(),
        "set Nquadmask [stack 0]",
        "push $Nshown",
        "push $Nshown",
        *copy_layer("ResultLayer", disable=True),
        "push $Nsource",
        *merge("Difference", ["fabs(Ar-Br)", "fabs(Ag-Bg)", "fabs(Ab-Bb)", "Ba"]),
        "push $Nlayershown",
        "push $Nquadmask",
        "push $Nplate",
        "push $Nshown",
        *node("Switch", inputs=5, name="Shown", which="{{parent.output}}"),
        *node("Output", name="Output1"),
    ]  # fmt: skip


def rendered_channels(settings: Mapping[str, Value], matte_offset: int) -> Inside:
    """Returns the knobs of inner nodes that bring layer, channels and frames to the Writes.

    A node that keys has the plate's layer alone, and those that track or generate have none.
    """
    if "layer" not in settings:
        return {}
    plate: Inside = {"PlateLayer": _layer_knobs(str(settings["layer"]), "from")}
    if "matte_channel" not in settings:
        return plate
    return {
        **plate,
        "MatteChannel": {"from0": channel_name(str(settings["matte_channel"]))},
        "AffectedChannel": {"from0": channel_name(str(settings["affected_channel"]))},
        "MatteFrames": {"time_offset": matte_offset},
        "AffectedFrames": {"time_offset": matte_offset},
    }


def shown_channels(layer: str) -> Inside:
    """Returns the knobs of inner nodes that put a result into the layer that it was made of."""
    back = _layer_knobs(layer, "to")
    return {
        "ShownLayer": _layer_knobs(layer, "from"),
        "BackToLayer": {name: value for name, value in back.items() if name != "disable"},
        "ResultLayer": _layer_knobs(layer, "from"),
    }


def _layer_knobs(layer: str, side: str) -> dict[str, Value]:
    named: dict[str, Value] = {
        f"{side}{i}": f"{layer or 'rgba'}.{color}" for i, color in enumerate(COLORS_OF_LAYER)
    }
    return {**named, "disable": not layer}


def _matte(title: str, alpha: str) -> list[str]:
    """Returns the nodes that bring a matte to the plate's frames, and its channel to alpha."""
    return [
        *node("TimeOffset", name=f"{title}Frames", time_offset=0),
        f"set N{title}Frames [stack 0]",
        f"push $N{title}Frames",
        *node("Copy", inputs=2, from0="rgba.alpha", to0="rgba.alpha", name=f"{title}Channel"),
        *node("Expression", name=f"{title}Alpha", expr3=alpha),
    ]


def _quadmask() -> list[str]:
    """Draws object and affected as red and green, both grown, as codes. One class's growth stops at the other's
    object.
    """
    is_code, is_set = "parent.matte_kind==2?", ">=parent.threshold"
    removed = f"{is_code}Ba<{95 / 255:.4f}:Ba{is_set}"
    affected = f"{is_code}(Ba>{31.5 / 255:.4f}&&Ba<{191 / 255:.4f}):Aa{is_set}"
    lines = [
        "push $Naffected",
        "push $Nmatte",
        "push $Nplate",  # its bounding box, or everything outside of the matte's would be drawn as removed
        *node("Copy", inputs=2, from0="rgba.alpha", to0="rgba.alpha", name="MatteOnPlate"),
        *merge("Classes", [removed, affected, "0", "0"]),
        "set Nclasses [stack 0]",
    ]
    for i, box in enumerate(ROUND):
        size = " ".join(f"{{-{part}*(parent.grow+parent.soften)}}" for part in box)
        lines += ["push $Nclasses"] if i else []
        lines += node(
            "FilterErode", channels="rgba", filter="box", size=f"{{{size}}}", name=f"Reach{i}"
        )
        if i:
            lines += merge(f"Round{i}", [f"A{c}>B{c}?A{c}:B{c}" for c in "rg"])
    wider = "(Bg>0||(Ag>0&&Br<=0))"
    code = f"Ar>0?({wider}?{63 / 255:.6f}:0):({wider}?{127 / 255:.6f}:1)"
    return [*lines, "push $Nclasses", *merge("Quadmask", [code, code, code, "1"])]
