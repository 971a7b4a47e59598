"""The operation `remove`: takes an object, and what it caused, out of a plate."""

from __future__ import annotations

import re
from dataclasses import dataclass

from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.settings import OperationSettings, setting

from .operation import Operation, Role

SHOT, MATTE, GRAIN, ENGINE = "the shot", "the matte", "the grain", "the engine"
SURVEY_ENGINE = "cleanplate"
"""The engine whose ranges of a shot share a survey of the whole."""
SURVEY_SETTINGS = (
    *("engine", "color_space", "layer", "cuts", "matte_channel", "affected_channel"),
    *("allow_full_matte", "matte_kind", "matte_color", "threshold", "grow", "soften"),
)
"""The settings on which a survey depends. All others may differ from job to job that shares it."""


@dataclass(frozen=True)
class RemoveSettings(OperationSettings):
    """The artist's choices. Distances are in pixels of the plate."""

    engine: str = setting(
        "cleanplate",
        "`cleanplate` takes the background from other frames, on the CPU; `void` is the "
        "generative model; `echo` is for tests",
        group=ENGINE,
        metavar="NAME",
    )
    color_space: str = setting(
        "",
        "[color space](color.md) of the plate, as the OpenColorIO config spells it; default: as the "
        "file says, else ACEScg",
        group=SHOT,
        metavar="NAME",
    )
    layer: str = setting(
        "",
        "[layer](plates.md#which-pixels-are-the-picture) of the plate to work on, as "
        "`ViewLayer.Combined`",
        group=SHOT,
        metavar="NAME",
    )
    cuts: str = setting(
        "auto",
        "frames in which another scene begins, as `1009,1050`; `none`; or `auto` finds them; `cleanplate` only",
        group=SHOT,
        metavar="FRAMES",
    )
    result_layer: bool = setting(
        False,
        "keep the plate's picture, and add the result and its matte as [the "
        "layer](plates.md#the-result-as-a-layer) `voidbridge`",
        group=SHOT,
    )
    confidence: bool = setting(
        False,
        "add [the channel](plates.md#confidence) `voidbridge.confidence`: 1 where several frames agree, 0 where "
        "the result is invented; `cleanplate` only",
        group=SHOT,
    )
    matte_channel: str = setting(
        "",
        "[channel](plates.md#mattes) that is the matte, as `Object_1.Y` or `A`",
        group=MATTE,
        metavar="NAME",
    )
    affected_channel: str = setting(
        "", "channel that is the affected matte", group=MATTE, metavar="NAME"
    )
    allow_full_matte: bool = setting(
        False,
        "continue with a matte that covers 98 % or more of the picture in every frame",
        group=MATTE,
    )
    matte_kind: str = setting(
        "auto",
        "a plain matte, or a quadmask with the codes 0, 63, 127 and 255 (or codes / 255); "
        "`auto` takes a clip for a quadmask only if it contains the levels 63 or 127",
        group=MATTE,
        label="kind",
        choices=("auto", "matte", "quadmask"),
    )
    matte_color: str = setting(
        "refuse",
        "if a quadmask went through a [color transform](plates.md#mattes): refuse it, or undo "
        "the transform",
        group=MATTE,
        label="color managed",
        choices=("refuse", "undo"),
    )
    threshold: float = setting(
        0.1,
        "smallest value of a plain matte that counts as object",
        group=MATTE,
        metavar="X",
        above=0,
        most=1,
    )
    grow: int = setting(
        8,
        "distance by which the matte grows, in pixels of the plate",
        group=MATTE,
        metavar="PX",
        least=0,
        most=4096,
    )
    soften: int = setting(
        8,
        "feather width outside the grown matte, in pixels of the plate",
        group=MATTE,
        metavar="PX",
        least=0,
        most=4096,
    )
    grain: str = setting(
        "auto",
        "add [matching plate grain](plates.md#grain) to generated pixels",
        group=GRAIN,
        choices=("auto", "off"),
    )
    grain_amount: float = setting(
        1.0,
        "share of the missing grain to add",
        group=GRAIN,
        label="amount",
        metavar="X",
        least=0,
        most=4,
    )
    prompt: str = setting(
        "", "describes the scene without the object, for `void`", group=ENGINE, metavar="TEXT"
    )
    seed: int = setting(
        0,
        "seed of the generated content; another seed gives another variation",
        group=ENGINE,
        metavar="N",
        least=0,
        most=2**63 - 1,
    )
    quality: str = setting(
        "full",
        "`preview`: `void` works in half the time or less, for [a first look](model.md#preview) and "
        "not for delivery; the result is labelled",
        group=ENGINE,
        choices=("full", "preview"),
    )
    steps: int = setting(
        0,
        "denoising steps of each pass of `void`; 0 lets the engine choose: 50, or 15 for a preview",
        group=ENGINE,
        metavar="N",
        least=0,
        most=1000,
    )
    passes: int = setting(
        1,
        "number of passes of `void`; two are steadier in time and take twice as long",
        group=ENGINE,
        choices=(1, 2),
    )
    half_rate: bool = setting(
        False,
        "for a clip of 24 frames a second: `void` makes every second frame, and [the others](model.md#half-rate) "
        "follow the motion of their neighbors; not lossless",
        group=ENGINE,
    )
    lora: str = setting(
        "",
        "[LoRAs](lora.md#use) for `void`, a name or a file and a strength each, as `show:0.55,fog.safetensors:1`",
        group=ENGINE,
        label="LoRA",
        metavar="LIST",
    )
    region: str = setting(
        "union",
        "region that `void` sees: one rectangle around the whole removal (`union`), one that "
        "[follows it](plates.md#region-and-size) (`track`; the most detail), or the whole frame "
        "(`full`)",
        group=ENGINE,
        choices=("union", "track", "full"),
    )
    detail: float = setting(
        0.0,
        "strength of the full-resolution [detail pass](model.md#detail) of `void`; 0 is off",
        group=ENGINE,
        metavar="X",
        least=0,
        below=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cut_frames  # noqa: B018  # raises for a list that cannot be read
        self.loras  # noqa: B018

    @property
    def cut_frames(self) -> frozenset[int] | None:
        """The frames named in `cuts`; None if they are to be found. Raises `BadSetting`."""
        if self.cuts == "auto":
            return None
        words = [] if self.cuts == "none" else self.cuts.split(",")
        try:
            return frozenset(int(word) for word in words)
        except ValueError as error:
            raise BadSetting(
                f"cuts {self.cuts!r} is not a list of frames",
                "Name the first frame of each scene but the first, as 1009,1050; or none, or auto.",
            ) from error

    @property
    def loras(self) -> tuple[tuple[str, float], ...]:
        """The name and the strength of each LoRA. `@1` is the request's own file of role `lora`, frame 1.

        Raises `BadSetting`.
        """
        return tuple(_lora(word.strip()) for word in self.lora.split(",") if word.strip())

    @property
    def is_preview(self) -> bool:
        """Whether the result is for looking at and not for delivery."""
        return self.engine == "void" and self.quality == "preview"


LORA = re.compile(r"(?P<name>.+?)(?:[:=](?P<strength>[-+]?[0-9]*\.?[0-9]+))?", re.DOTALL)
STRONGEST = 4.0
"""Largest strength of a LoRA, of either sign. Useful ones lie between 0 and 1."""


def _lora(word: str) -> tuple[str, float]:
    match = LORA.fullmatch(word)
    assert match is not None  # any text is a name
    strength = float(match["strength"] or 1)
    if not -STRONGEST <= strength <= STRONGEST:
        raise BadSetting(
            f"the LoRA {match['name']} has the strength {strength:g}; it lies in [-4, 4]",
            "Write it as show:0.55.",
        )
    return match["name"], strength


OPERATION = Operation(
    "remove",
    RemoveSettings,
    (
        Role("plate"),
        Role("matte"),
        Role("affected", is_required=False),
        Role("clean", is_required=False, covers_all=False, is_within=True),
        Role("lora", is_required=False, covers_all=False, is_picture=False),
        Role("survey", is_required=False, covers_all=False, is_picture=False),
    ),
)
