"""The operation `remove`: takes an object, and what it caused, out of a plate."""

from __future__ import annotations

from dataclasses import dataclass

from voidbridge_protocol.settings import OperationSettings, setting

from .operation import Operation, Role

SHOT, MATTE, GRAIN, ENGINE = "the shot", "the matte", "the grain", "the engine"


@dataclass(frozen=True)
class RemoveSettings(OperationSettings):
    """The artist's choices. Distances are in pixels of the plate."""

    engine: str = setting(
        "cleanplate",
        "`cleanplate` takes the background from other frames on the CPU; `void` is the model; `echo` is for tests",
        group=ENGINE,
        metavar="NAME",
    )
    prompt: str = setting(
        "", "describes the scene without the object; `void` only", group=ENGINE, metavar="TEXT"
    )
    seed: int = setting(
        0,
        "start of the random numbers; another seed gives another invention",
        group=ENGINE,
        metavar="N",
        least=0,
        most=2**63 - 1,
    )
    quality: str = setting(
        "full",
        "`preview` lets `void` work in half the time or less, for looking and not for delivery",
        group=ENGINE,
        choices=("full", "preview"),
    )
    steps: int = setting(
        0,
        "denoising steps of each pass of `void`; 0 leaves the number to the engine",
        group=ENGINE,
        metavar="N",
        least=0,
        most=1000,
    )
    passes: int = setting(
        1,
        "passes of `void`; two are steadier in time and take twice as long",
        group=ENGINE,
        choices=(1, 2),
    )
    region: str = setting(
        "union",
        "part of the plate that `void` sees: one rectangle around all holes (`union`), "
        "one that follows them (`track`), or the whole frame (`full`)",
        group=ENGINE,
        choices=("union", "track", "full"),
    )
    detail: float = setting(
        0.0,
        "strength of the detail pass at the plate's resolution; `void` only, 0 is off",
        group=ENGINE,
        metavar="X",
        least=0,
        below=1,
    )
    matte_channel: str = setting(
        "",
        "channel of the matte, as `Object_1.Y`; else the alpha, else the only channel",
        group=MATTE,
        metavar="NAME",
    )
    affected_channel: str = setting(
        "", "channel of the affected matte, likewise", group=MATTE, metavar="NAME"
    )
    allow_full_matte: bool = setting(
        False, "accept a matte that covers the whole picture in every frame", group=MATTE
    )
    matte_kind: str = setting(
        "auto",
        "`auto` takes a clip for a quadmask only if it really holds the levels 63 or 127",
        group=MATTE,
        label="kind",
        choices=("auto", "matte", "quadmask"),
    )
    matte_color: str = setting(
        "refuse",
        "for a quadmask that went through a color transform: refuse it, or undo the transform",
        group=MATTE,
        label="color managed",
        choices=("refuse", "undo"),
    )
    threshold: float = setting(
        0.1,
        "a plain matte counts as set from this value on",
        group=MATTE,
        metavar="X",
        above=0,
        most=1,
    )
    grow: int = setting(
        8, "grow the matte, in pixels of the plate", group=MATTE, metavar="PX", least=0, most=4096
    )
    soften: int = setting(
        8,
        "feather width outside the grown matte, in pixels of the plate",
        group=MATTE,
        metavar="PX",
        least=0,
        most=4096,
    )
    color_space: str = setting(
        "",
        "color space of the plate as OpenColorIO names it; else the file's own word, else ACEScg",
        group=SHOT,
        metavar="NAME",
    )
    layer: str = setting(
        "",
        "layer of the plate to work on, as `ViewLayer.Combined`; else R, G and B, else the only layer",
        group=SHOT,
        metavar="NAME",
    )
    result_layer: bool = setting(
        False,
        "keep the plate's picture and add the result as the layer `voidbridge` with its matte",
        group=SHOT,
    )
    grain: str = setting(
        "auto", "add matching plate grain to generated pixels", group=GRAIN, choices=("auto", "off")
    )
    grain_amount: float = setting(
        1.0,
        "share of the missing grain that is added",
        group=GRAIN,
        label="amount",
        metavar="X",
        least=0,
        most=4,
    )

    @property
    def is_preview(self) -> bool:
        """Whether the result is for looking at and not for delivery."""
        return self.engine == "void" and self.quality == "preview"


OPERATION = Operation(
    "remove",
    RemoveSettings,
    (Role("plate"), Role("matte"), Role("affected", is_required=False)),
)
