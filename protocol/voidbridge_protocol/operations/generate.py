"""The operation `generate`: new frames between two clips, beyond the end of one, or in place of some of its own.

The results are the new frames alone; every other frame stays the artist's own file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.settings import OperationSettings, described, setting

from .operation import Operation, Role

MODES = ("bridge", "extend", "retake", "text", "from-frame", "hdr")
MODEL_MODES = ("text", "from-frame", "hdr")
"""Modes that `morph` does not have: they need a model that was trained on pictures."""
REACH = 8
"""Photographed frames on each side of the new ones that `morph` looks at."""
MODEL_REACH = 16
"""The same for engines with a model, which sees up to nine, and not always the nearest seven."""
MOST_FRAMES = 1000
"""New frames in one job."""
MODEL = "the model"
"""Group of the settings that only an engine with a model uses."""


@dataclass(frozen=True)
class GenerateSettings(OperationSettings):
    """The artist's choices."""

    engine: str = setting(
        "morph",
        "`morph` needs no weights; `ltx` is LTX-2, whose weights are your own",
        group="the engine",
        metavar="NAME",
    )
    mode: str = setting(
        "bridge",
        "`bridge` joins two clips, `extend` carries one on, `retake` makes some of its frames again, "
        "`text` and `from-frame` make a clip from words or from one frame, `hdr` finds scene-linear light",
        group="the frames",
        choices=MODES,
        is_option=False,
    )
    motion: str = setting(
        "continue",
        "beyond the end of a clip, `continue` the camera's motion, or `hold` the last frame",
        group="the frames",
        choices=("continue", "hold"),
    )
    prompt: str = setting("", "the new frames in words, for `ltx`", group=MODEL, metavar="TEXT")
    negative_prompt: str = setting(
        "",
        "the opposite of the new frames in words, for `ltx` with the schedule `full`",
        group=MODEL,
        metavar="TEXT",
    )
    seed: int = setting(
        0,
        "random seed of `ltx`; another seed makes another take",
        group=MODEL,
        metavar="N",
        least=0,
        most=2**63 - 1 - MOST_FRAMES,
    )
    schedule: str = setting(
        "distilled",
        "steps of `ltx`: `distilled` has 8, for distilled weights; `full` has guidance",
        group=MODEL,
        choices=("distilled", "full"),
    )
    steps: int = setting(
        0,
        "steps of the schedule `full`; 0 means 30",
        group=MODEL,
        metavar="N",
        least=0,
        most=1000,
    )
    upscale: bool = setting(
        False,
        "let `ltx` make frames at half the size first, and double it with its own upsampler",
        group=MODEL,
    )
    lora: str = setting(
        "",
        "LoRAs for `ltx`, a name and a strength each, as `hero:0.8,rain:1`",
        group=MODEL,
        metavar="LIST",
    )
    sound: bool = setting(
        False,
        "keep the sound that `ltx` makes with the new frames, as WAV beside them",
        group=MODEL,
    )
    precision: str = setting(
        "full",
        "`fp8` keeps the transformer of `ltx` in 8 bits, which is not lossless",
        group=MODEL,
        choices=("full", "fp8"),
    )
    grain: str = setting(
        "auto",
        "add matching plate grain to new frames",
        group="the picture",
        choices=("auto", "off"),
    )
    color_space: str = setting(
        "",
        "color space of the plate, as the OpenColorIO config spells it; default: as the file says, else ACEScg",
        group="the picture",
        metavar="NAME",
    )
    layer: str = setting(
        "",
        "layer of the plate to work on, as `ViewLayer.Combined`",
        group="the picture",
        metavar="NAME",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.loras  # noqa: B018
        if self.sound and (self.engine == "morph" or self.mode == "hdr"):
            maker = "morph" if self.engine == "morph" else "hdr"
            raise BadSetting(f"{maker} makes no sound", "Leave out --sound.")

    @property
    def has_sound(self) -> bool:
        """See `OperationSettings`."""
        return self.sound

    def model_words(self) -> list[str]:
        """The settings of a model that are not at their default, as an engine without one names them."""
        usual = type(self)()
        return [
            found.name.replace("_", " ")
            for found, info in described(type(self))
            if info.group == MODEL and getattr(self, found.name) != getattr(usual, found.name)
        ]

    @property
    def loras(self) -> tuple[tuple[str, float], ...]:
        """The name and the strength of each LoRA. Raises `BadSetting` for a word that is neither."""
        return tuple(_lora(word.strip()) for word in self.lora.split(",") if word.strip())


LORA = re.compile(r"(?P<name>\w[\w.-]*?)(?::(?P<strength>[-+]?[0-9]*\.?[0-9]+))?")
"""A name without a path, and a strength."""
STRONGEST = 4.0


def _lora(word: str) -> tuple[str, float]:
    match = LORA.fullmatch(word)
    strength = float(match["strength"] or 1) if match else 0.0
    if match is None or not -STRONGEST <= strength <= STRONGEST:
        raise BadSetting(
            f"the LoRA {word!r} is not a name with a strength from -4 to 4",
            "Write it as hero:0.8, the name of a file in LTX-2-loras of the models folder.",
        )
    return match["name"], strength


OPERATION = Operation(
    "generate",
    GenerateSettings,
    (
        Role("plate", covers_all=False),
        Role("tail", is_required=False, covers_all=False),
    ),
)


def check_mode(engine: str, mode: str, prompt: str) -> None:
    """Raises `BadSetting` for a mode that the engine lacks, or that lacks its words."""
    if mode in MODEL_MODES and engine == "morph":
        raise BadSetting(
            f"the mode {mode} needs a model, and the engine morph has none",
            "Use --engine ltx, whose weights `voidbridge models fetch --engine ltx` gets.",
        )
    if mode == "text" and not prompt.strip():
        raise BadSetting("text needs a prompt", 'Say what to see with --prompt "...".')
