"""The inside of the Group that removes: the result, the quadmask and the differences."""

from __future__ import annotations

from .node_text import IN_RANGE, channel_of, input_node, merge, node, read, write

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
        *node("Expression", name="AffectedAlpha", expr3=channel_of("affected_channel")),
        "set Naffected [stack 0]",
        *write("affected", "alpha", 400),
        *input_node("matte", 1, 200),
        *node("Expression", name="MatteAlpha", expr3=channel_of("matte_channel", "matte_invert")),
        "set Nmatte [stack 0]",
        *write("matte", "alpha", 200),
        *input_node("plate", 0, 0),
        "set Nplate [stack 0]",
        *write("plate", "rgb", 0),
        *read("ReadResult", "result_files", 0),
        "set Nresult [stack 0]",
        *read("ReadPlate", "plate_files", 100),
        *merge("Layer", [f"{DIFFERS}?{c}:0" for c in ("Ar", "Ag", "Ab")] + [f"{DIFFERS}?1:0"]),
        "set Nlayer [stack 0]",
        "push $Nplate",
        *merge("Select", [*[f"Aa>0?A{c}:B{c}" for c in "rgb"], "Ba"]),
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
        "push $Nplate",
        *merge("Difference", ["fabs(Ar-Br)", "fabs(Ag-Bg)", "fabs(Ab-Bb)", "Ba"]),
        "push $Nlayershown",
        "push $Nquadmask",
        "push $Nplate",
        "push $Nshown",
        *node("Switch", inputs=5, name="Shown", which="{{parent.output}}"),
        *node("Output", name="Output1"),
    ]  # fmt: skip


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
