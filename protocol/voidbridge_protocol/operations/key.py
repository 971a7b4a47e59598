"""The operation `key`: unmixes a plate shot before a green or blue screen into foreground and alpha."""

from __future__ import annotations

from dataclasses import dataclass

from voidbridge_protocol.settings import OperationSettings, setting

from .operation import Operation, Role

SHOT, SCREEN, HINT, MATTE, ENGINE = "the shot", "the screen", "the hint", "the alpha", "the engine"


@dataclass(frozen=True)
class KeySettings(OperationSettings):
    """The artist's choices. Distances are in pixels of the plate."""

    engine: str = setting(
        "chroma",
        "`chroma` needs no weights; `corridorkey` is a network whose weights are your own",
        group=ENGINE,
        metavar="NAME",
    )
    quality: str = setting(
        "2048",
        "side in pixels at which `corridorkey` sees the frame; `tiles` shows it parts at full size",
        group=ENGINE,
        choices=("512", "1024", "1536", "2048", "tiles"),
    )
    refiner: float = setting(
        1.0,
        "strength of the fine corrections of `corridorkey`; 0 is off",
        group=ENGINE,
        metavar="X",
        least=0,
        most=4,
    )
    screen_color: str = setting(
        "auto",
        "`auto`, `green`, `blue`, or the screen's own linear color as three numbers",
        group=SCREEN,
        metavar="COLOR",
    )
    despill: float = setting(
        1.0,
        "share of the screen's light that is taken out of the foreground; 0 is off",
        group=SCREEN,
        metavar="X",
        least=0,
        most=1,
    )
    despill_balance: float = setting(
        0.5,
        "limit of the screen's color: 0 is the mean of the other two, 1 the larger",
        group=SCREEN,
        metavar="X",
        least=0,
        most=1,
    )
    core: int = setting(
        8,
        "shrink the hint by this much; inside, the foreground is solid",
        group=HINT,
        metavar="PX",
        least=0,
        most=4096,
    )
    garbage: int = setting(
        200,
        "grow the hint by this much; outside, there is no foreground",
        group=HINT,
        metavar="PX",
        least=1,
        most=16384,
    )
    hint_channel: str = setting(
        "",
        "channel of the hint, as `Roto.A`; default: chosen like that of a matte",
        group=HINT,
        metavar="NAME",
    )
    alpha_mode: str = setting(
        "premultiplied",
        "whether R, G and B of the result are multiplied by its alpha",
        group=MATTE,
        choices=("premultiplied", "straight"),
    )
    despeckle: int = setting(
        0,
        "remove islands of solid alpha with fewer pixels than this; 0 is off",
        group=MATTE,
        metavar="N",
        least=0,
        most=10**8,
    )
    color_space: str = setting(
        "",
        "color space of the plate, as the OpenColorIO config spells it; default: as the file says, else ACEScg",
        group=SHOT,
        metavar="NAME",
    )
    layer: str = setting(
        "",
        "layer of the plate to work on, as `ViewLayer.Combined`",
        group=SHOT,
        metavar="NAME",
    )


OPERATION = Operation(
    "key",
    KeySettings,
    (
        Role("plate"),
        Role("hint", is_required=False),
        Role("screen", is_required=False, covers_all=False),
    ),
)
