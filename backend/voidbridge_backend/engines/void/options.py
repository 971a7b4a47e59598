"""Engine options beyond an artist's settings for a job.

The owner of a models folder may set any of them by name in its file `voidbridge.json`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.operations.remove import RemoveSettings

from .files.weights import read_json
from .model.denoiser import PIXELS_PER_PATCH
from .model.kernels import Attention, Compile, Layout, Linears
from .model.memory import Name
from .passes.conditioning import Levels
from .passes.timeline import OVERLAP, SMALLEST_WINDOW, WINDOW

FILE = "voidbridge.json"


@dataclass(frozen=True)
class Options:
    """Defaults are the model's own. If the published scripts contradict each other, `docs/model.md` gives the
    reason.
    """

    height: int = 384
    width: int = 672
    """Size of the model's picture for a wide region; swapped for a tall one."""
    window: int = WINDOW
    overlap: int = OVERLAP
    """Frames; a multiple of 8, so that every window has an even number of latents."""
    steps: int = 50
    """Steps of each pass, if a job does not set them."""
    preview_steps: int = 15
    """Steps of each pass of a preview, if it does not set them, but never more than half of `steps`."""
    preview_reuse: float = 0.1
    """For a preview: the other blocks' last output is reused if the first block's output changed by less than this
    fraction. 0 evaluates all blocks at every step.
    """
    guidance: float = 1.0
    """Guidance of the first pass."""
    second_guidance: float = 6.0
    negative_prompt: str = ""
    """The prompt that guidance leads away from."""
    strength: float = 1.0
    """Strength of the first pass: below 1 it starts from the plate with added noise."""
    pass2_mask: Levels = "tri"
    noise: str = "aligned"
    """Noise of the second pass: "aligned" with the picture, or as in the published "reference"."""
    degradation: float = 0.0
    """Fraction of the second pass's noise that is new at each latent instead of moving with the picture."""
    fineness: int = 8
    """Pixels of the noise grid per flow pixel."""
    precision: str = "auto"
    """"float32", "bfloat16", or "auto": the first on a CPU, the second elsewhere."""
    plan: Name | None = None
    """The memory plan (`memory.py`); None chooses by free memory."""
    attention: Attention = "auto"
    """The attention kernels (`kernels.py`); "auto" chooses by the device."""
    compile: Compile = "auto"
    """Whether the transformer's blocks are compiled; "auto": on a card, if Triton is installed."""
    linears: Linears = "full"
    """"fp8": the transformer's large products in 8 bits, which is not lossless."""
    vae_compile: Literal["on", "off"] = "off"
    """Whether the autoencoder's blocks are compiled."""
    vae_layout: Layout = "auto"
    """Memory layout of the weights of the autoencoder's convolutions; "auto" chooses by cuDNN's version."""

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            value = getattr(self, name)
            if value < PIXELS_PER_PATCH or value % PIXELS_PER_PATCH:
                raise BadSetting(
                    f"{name} is {value}, which is not a multiple of {PIXELS_PER_PATCH}"
                )
        if self.window < SMALLEST_WINDOW or self.window % 8 != 5:
            raise BadSetting(
                f"a window of {self.window} frames; it is 8k + 5, at least {SMALLEST_WINDOW}"
            )
        if not 0 <= self.overlap <= self.window - 5 or self.overlap % 8:
            raise BadSetting(f"windows of {self.window} frames cannot overlap by {self.overlap}")
        for name in ("steps", "preview_steps"):
            if not 1 <= getattr(self, name) <= 1000:
                raise BadSetting(f"{name} is {getattr(self, name)}; it goes from 1 to 1000")
        if not 0 <= self.preview_reuse <= 1:
            raise BadSetting(f"preview_reuse is {self.preview_reuse:g}; it goes from 0 to 1")
        if not 0 <= self.degradation <= 1:
            raise BadSetting(f"degradation is {self.degradation:g}; it goes from 0 to 1")
        if self.fineness not in (1, 2, 4, 8):
            raise BadSetting(f"fineness is {self.fineness}; it is 1, 2, 4 or 8")
        self._check_choice("pass2_mask", ("tri", "reference"))
        self._check_choice("noise", ("aligned", "reference"))
        self._check_choice("precision", ("auto", "float32", "bfloat16"))
        self._check_choice("plan", (None, *get_args(Name)))
        self._check_choice("attention", get_args(Attention))
        self._check_choice("compile", get_args(Compile))
        self._check_choice("linears", get_args(Linears))
        self._check_choice("vae_compile", ("on", "off"))
        self._check_choice("vae_layout", get_args(Layout))

    def steps_of(self, settings: RemoveSettings) -> int:
        """Returns the steps of each pass of a job."""
        fewer = min(self.preview_steps, max(self.steps // 2, 1))
        return settings.steps or (fewer if settings.is_preview else self.steps)

    def _check_choice(self, name: str, choices: tuple[str | None, ...]) -> None:
        value = getattr(self, name)
        if value not in choices:
            raise BadSetting(f"{name} is {value!r}; it is one of {', '.join(map(str, choices))}")


def from_folder(models: Path) -> Options:
    """Returns the options set in a models folder, or the defaults.

    Raises `BadSetting` for an unknown name or an invalid value.
    """
    path = models / FILE
    given = read_json(path) if path.is_file() else {}
    known = {field.name for field in fields(Options)}
    if set(given) - known:
        raise BadSetting(f"{path} sets unknown options: {', '.join(sorted(set(given) - known))}")
    return Options(**{name: _typed(path, name, value) for name, value in given.items()})


def _typed(path: Path, name: str, value: Any) -> Any:
    wanted = get_type_hints(Options)[name]
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted in (int, float, str) and type(value) is not wanted:
        raise BadSetting(f"{path} sets {name} to {value!r}, which is not a valid {wanted.__name__}")
    return value
