"""One shot to work on, as a client asks for it: settings, and files by the hash of their content.

Frozen dataclasses of plain values that check themselves. A daemon's job is such a request and a user.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from .errors import BadMessage, BadSetting

ROLES = ("plate", "matte", "affected")
MATTE_KINDS = ("auto", "matte", "quadmask")
MATTE_COLORS = ("refuse", "undo")
REGIONS = ("union", "track", "full")
GRAINS = ("auto", "off")
QUALITIES = ("full", "preview")


@dataclass(frozen=True)
class Settings:
    """What the artist chose. A field that a daemon does not know is refused, never ignored.

    Distances are in pixels of the plate.
    """

    engine: str = "cleanplate"
    prompt: str = ""
    seed: int = 0
    steps: int = 0
    """Denoising steps; 0 leaves the choice to the engine."""
    passes: int = 1
    matte_kind: str = "auto"
    threshold: float = 0.1
    """A plain matte counts as set from this value on; soft edges and motion blur are inside."""
    grow: int = 8
    """The matte is grown by this much before anything is removed."""
    soften: int = 8
    """Behind the growth the result fades into the plate over this much."""
    color_space: str = ""
    """An OpenColorIO name of what the plate's pixels are; empty: what the file says, else ACEScg."""
    matte_color: str = "refuse"
    """What to do with a quadmask that went through a color transform on its way."""
    region: str = "union"
    """What an engine of a fixed size is shown: all that is removed in the shot, a crop that follows it, or all."""
    grain: str = "auto"
    """Whether the plate's grain is put on generated pixels that lack it."""
    grain_amount: float = 1.0
    """How much of what is missing."""
    result_layer: bool = False
    """Leave the plate's picture as it is, and put the result beside it as the layer `voidbridge` with its matte."""
    quality: str = "full"
    """Whether void works for the final picture or for a quick look; other engines know no difference."""
    detail: float = 0.0
    """How strongly void works the enlarged result over at the plate's resolution; 0: not at all."""

    @property
    def is_preview(self) -> bool:
        """Whether the result is one to look at and not one to deliver."""
        return self.engine == "void" and self.quality == "preview"

    def __post_init__(self) -> None:
        if not 0 <= self.detail < 1:
            raise BadSetting(f"the detail {self.detail:g} is not in [0, 1[")
        for name, value, known in (
            ("matte kind", self.matte_kind, MATTE_KINDS),
            ("matte color", self.matte_color, MATTE_COLORS),
            ("region", self.region, REGIONS),
            ("grain", self.grain, GRAINS),
            ("quality", self.quality, QUALITIES),
        ):
            if value not in known:
                raise BadSetting(f"{name} {value!r} is none of {', '.join(known)}")
        if not 0 <= self.grain_amount <= 4:
            raise BadSetting(f"the grain amount {self.grain_amount:g} is not in [0, 4]")
        if not 0 < self.threshold <= 1:
            raise BadSetting(f"the matte threshold {self.threshold:g} is not in ]0, 1]")
        for name, low, high in (
            ("grow", 0, 4096),
            ("soften", 0, 4096),
            ("seed", 0, 2**63 - 1),
            ("steps", 0, 1000),
            ("passes", 1, 2),
        ):
            number = getattr(self, name)
            if not low <= number <= high:
                raise BadSetting(f"{name} is {number}; it goes from {low} to {high}")


def check_file(sha256: str, size: int) -> None:
    """The daemon and the client make file names of hashes: nothing else may pass for one."""
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise BadMessage(f"{sha256[:80]!r} is no SHA-256 in hexadecimal")
    if size < 1:
        raise BadMessage(f"a file of {size} bytes")


@dataclass(frozen=True)
class FrameFile:
    """One file of the shot: what it is for, which frame it shows, and its content's name."""

    role: str
    frame: int
    sha256: str
    size: int

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise BadMessage(f"a file for {self.role!r}; the roles are {', '.join(ROLES)}")
        check_file(self.sha256, self.size)


@dataclass(frozen=True)
class Request:
    """One shot to work on: the result is wanted from `first` to `last`, both included.

    The files may reach further on both sides: those frames are handles, seen and not returned.
    """

    first: int
    last: int
    settings: Settings
    files: tuple[FrameFile, ...]

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise BadMessage(f"the frame range {self.first}-{self.last} runs backwards")
        order = [(file.role, file.frame) for file in self.files]
        seen = set(order)
        if len(seen) != len(order) or order != sorted(order):
            raise BadMessage("the files are not sorted by role and frame, one for each")
        plate = {frame for role, frame in seen if role == "plate"}
        matte = {frame for role, frame in seen if role == "matte"}
        affected = {frame for role, frame in seen if role == "affected"}
        # Counted, not listed: two frames a billion apart must not fill the memory.
        if not plate or max(plate) - min(plate) + 1 != len(plate):
            raise BadMessage("the plate's frames are not one run without gaps")
        if matte != plate or (affected and affected != plate):
            raise BadMessage("the matte covers other frames than the plate")
        if not (min(plate) <= self.first and self.last <= max(plate)):
            raise BadMessage(f"no plate for all of {self.first}-{self.last}")

    def canonical(self) -> bytes:
        """The request as bytes that are the same for the same request: what its key is the hash of."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()

    def key(self, user: str) -> str:
        """The id of this job: the same request of the same user is the same job."""
        return hashlib.sha256(user.encode() + b"\0" + self.canonical()).hexdigest()[:24]
