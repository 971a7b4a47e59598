"""A client's request for one shot: settings, and files named by the hash of their content.

Frozen dataclasses of plain values that validate themselves. A daemon's job is a request plus its user.
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
    """The artist's settings. A daemon refuses fields that it does not know.

    Distances are in pixels of the plate.
    """

    engine: str = "cleanplate"
    prompt: str = ""
    seed: int = 0
    steps: int = 0
    """Denoising steps; 0 lets the engine choose."""
    passes: int = 1
    matte_kind: str = "auto"
    threshold: float = 0.1
    """Value from which a plain matte counts as set. Soft edges and motion blur are included."""
    grow: int = 8
    """Pixels by which the matte grows before the removal."""
    soften: int = 8
    """Feather width outside the grown matte, in pixels."""
    color_space: str = ""
    """OpenColorIO name of the plate's color space. If empty, the file decides, otherwise ACEScg."""
    matte_color: str = "refuse"
    """How to treat a quadmask that a color transform has changed."""
    region: str = "union"
    """The region that an engine of a fixed size sees: the union of all holes, a crop that follows them, or the
    full frame.
    """
    grain: str = "auto"
    """Whether to add matching plate grain to generated pixels that lack it."""
    grain_amount: float = 1.0
    """Multiple of the missing grain that is added."""
    result_layer: bool = False
    """Keep the plate's picture and add the result as the layer `voidbridge` with its matte."""
    quality: str = "full"
    """Quality of void: the final picture or a quick preview. Other engines ignore it."""
    detail: float = 0.0
    """Strength of the full-resolution detail pass (void only); 0 = off."""

    layer: str = ""
    """The plate's layer to work on, as `ViewLayer.Combined`; empty: R, G and B, else the only layer there is."""
    matte_channel: str = ""
    """The channel that is the matte, as `Object_1.Y`; empty: the alpha where it is one, else the only one."""
    affected_channel: str = ""
    """The same in the files of what is affected."""
    allow_full_matte: bool = False
    """Go on with a matte that covers the whole picture in every frame."""

    @property
    def is_preview(self) -> bool:
        """Returns True if the result is a preview that should not be delivered."""
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
                raise BadSetting(f"{name} {value!r} is not one of {', '.join(known)}")
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
    """Raises `BadMessage` unless both are valid. Hashes become file names, so nothing else may pass."""
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise BadMessage(f"{sha256[:80]!r} is no SHA-256 in hexadecimal")
    if size < 1:
        raise BadMessage(f"a file of {size} bytes")


@dataclass(frozen=True)
class FrameFile:
    """One file of the shot: its role, its frame number, and the hash and size of its content."""

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
    """A request to work on one shot. Results cover `first` to `last`, both included.

    Files outside that range are handles: the engine sees them, but returns no result for them.
    """

    first: int
    last: int
    settings: Settings
    files: tuple[FrameFile, ...]

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise BadMessage(f"the frame range {self.first}-{self.last} ends before it begins")
        order = [(file.role, file.frame) for file in self.files]
        seen = set(order)
        if len(seen) != len(order) or order != sorted(order):
            raise BadMessage("the files are not sorted by role and frame, one for each")
        plate = {frame for role, frame in seen if role == "plate"}
        matte = {frame for role, frame in seen if role == "matte"}
        affected = {frame for role, frame in seen if role == "affected"}
        # Counted, not listed: two frames a billion apart must not exhaust memory.
        if not plate or max(plate) - min(plate) + 1 != len(plate):
            raise BadMessage("the plate's frames are not one run without gaps")
        if matte != plate or (affected and affected != plate):
            raise BadMessage("the matte covers different frames than the plate")
        if not (min(plate) <= self.first and self.last <= max(plate)):
            raise BadMessage(f"the plate does not cover all of {self.first}-{self.last}")

    def canonical(self) -> bytes:
        """Returns the same bytes for the same request. Their hash is part of the job's key."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()

    def key(self, user: str) -> str:
        """Returns the id of this job. The same request of the same user has the same id."""
        return hashlib.sha256(user.encode() + b"\0" + self.canonical()).hexdigest()[:24]
