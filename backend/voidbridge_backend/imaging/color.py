"""Determines a plate's color space and converts it to scene-linear and back.

Only this module and `display` use OpenColorIO. Pixels are float32, [height, width, 3], RGB. A scene-linear plate
is used unchanged, to the bit. A log or display-encoded plate is converted to scene-linear ACEScg for the work. No
direction clamps.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import PyOpenColorIO as ocio
from numpy.typing import NDArray

from voidbridge_backend.exr.header import Part
from voidbridge_backend.formats.color_tags import unnamed
from voidbridge_backend.formats.synthetic import SOURCE
from voidbridge_protocol.errors import BadColorSpace

Pixels = NDArray[np.float32]
Matrix = NDArray[np.float64]
"""[3, 3], multiplied with a column of R, G, B."""

BUILTIN = "ocio://studio-config-latest"
"""The Academy's studio config in OpenColorIO: the CG spaces and the camera spaces."""
ASSUMED = "ACEScg"
WORKING = "lin_ap1"
REC709 = "lin_rec709"

How = Literal["declared", "acesImageContainerFlag", "colorInteropID", "tag", "assumed"]

CINEON = "Cineon Log"
"""Printing density as film scanners write it, with Rec.709 primaries; added to a config that has none."""

ALIASES = {
    "acescg": ("lin_ap1", "lin_ap1_scene", "ACES - ACEScg"),
    "lin_ap1": ("lin_ap1_scene", "ACEScg", "ACES - ACEScg"),
    "aces2065-1": ("lin_ap0", "lin_ap0_scene", "ACES - ACES2065-1"),
    "lin_ap0": ("lin_ap0_scene", "ACES2065-1", "ACES - ACES2065-1"),
    "lin_rec709": ("lin_rec709_scene", "lin_srgb", "Utility - Linear - sRGB"),
    "linear": ("lin_rec709", "lin_srgb"),
    "scene-linear rec.709-srgb": ("lin_rec709", "lin_srgb"),
    "srgb": ("srgb_texture", "sRGB - Texture", "Utility - sRGB - Texture"),
    "srgb_rec709": ("srgb_texture", "sRGB - Texture"),
    "itu709_rec709": ("Camera Rec.709", "camera_rec709"),
    "cineon": (CINEON,),
    "cineon log": (CINEON,),
    "cineon_rec709": (CINEON,),
    "kodaklog": (CINEON,),
    "pq": ("Rec.2100-PQ - Display",),
    "st2084": ("Rec.2100-PQ - Display",),
    "hlg": ("Rec.2100-HLG - Display",),
    "rec709": ("Camera Rec.709", "Rec.1886 Rec.709 - Display"),
    "rec.709": ("Camera Rec.709", "Rec.1886 Rec.709 - Display"),
    "alexav3logc": ("arri_logc3_ei800",),
    "logc3": ("arri_logc3_ei800",),
    "logc4": ("arri_logc4",),
    "davinci wg": ("davinci_intermediate_widegamut",),
    "davinci wide gamut intermediate": ("davinci_intermediate_widegamut",),
    "davinci intermediate": ("davinci_intermediate_widegamut",),
    "slog3": ("slog3_sgamut3",),
    "log3g10": ("log3g10_redwidegamutrgb",),
}
"""Names in other configs and hosts, with the config names of the same space."""

PRIMARIES = {
    "lin_ap0": (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767),
    "lin_ap1": (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767),
    "lin_rec709": (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329),
    "lin_rec2020": (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329),
    "lin_p3d65": (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329),
    "lin_adobergb": (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, 0.3127, 0.329),
}
"""CIE xy of red, green, blue and white: SMPTE ST 2065-1, AMPAS S-2014-004, ITU-R BT.709 and BT.2020,
SMPTE EG 432-1, Adobe RGB (1998)."""


@dataclass(frozen=True)
class ColorPlan:
    """The plate's color space, its source, and the conversion to scene-linear light and back."""

    space: str
    """Name as the config spells it."""
    how: How
    config: str
    linear: bool
    """True if the plate's own values are scene-linear light."""
    warnings: tuple[str, ...]
    to_rec709: Matrix = field(repr=False)
    """From the scene-linear pixels of `to_scene` to linear Rec.709."""
    _decode: Any = field(default=None, repr=False, compare=False)
    _encode: Any = field(default=None, repr=False, compare=False)

    @classmethod
    def choose(
        cls, declared: str, part: Part | None = None, ocio_config: Path | str | None = None
    ) -> ColorPlan:
        """Chooses the declared space, otherwise the one in the file's header, otherwise ACEScg with a warning.

        `declared`     a name of the config, an alias, a role, an interop id, or the value of a Nuke knob;
                       "" for none.
        `part`         the plate's header; if it contradicts the choice, a warning follows, never a change.
        `ocio_config`  a config file or "ocio://..." instead of the built-in ACES studio config.

        The order of evidence follows the Color Interop Forum's recommendation 1.0 for EXR. Chromaticities are
        only compared, because hosts forward them after a conversion. Raises `BadColorSpace`.
        """
        config = opened_config(ocio_config)
        wanted, how = _evidence(declared, part)
        space = _find(config, wanted)
        if space is None:
            raise BadColorSpace(*_unknown(config, wanted, how))
        if space.isData():
            raise BadColorSpace(
                f"the plate's color space is {space.getName()!r} ({how}), which is data, not color"
            )
        name = space.getName()
        linear = bool(config.isColorSpaceLinear(name, space.getReferenceSpaceType()))
        warnings = list(_contradictions(config, name, how, part))
        if how == "assumed":
            warnings.insert(0, _ASSUMPTION)
        source, start = (config, name) if linear else (_builtin(), WORKING)
        return cls(
            space=name,
            how=how,
            config=config.getName() or _content_name(config),
            linear=linear,
            warnings=tuple(warnings),
            to_rec709=_matrix(processor_between(source, start, _builtin(), REC709)),
            _decode=None if linear else processor_between(config, name, _builtin(), WORKING),
            _encode=None if linear else processor_between(_builtin(), WORKING, config, name),
        )

    def to_scene(self, rgb: Pixels) -> Pixels:
        """Converts the plate's values to scene-linear light. Scene-linear values keep their bits."""
        return _applied(self._decode, rgb)

    def from_scene(self, rgb: Pixels) -> Pixels:
        """Inverse of `to_scene`."""
        return _applied(self._encode, rgb)

    @property
    def notes(self) -> list[str]:
        """Returns notes for the artist: the space and how it is known, then the warnings."""
        known = [] if self.how == "assumed" else [f"the plate is {self.space} ({self.how})"]
        return [*known, *self.warnings]

    def describe(self) -> dict[str, str]:
        """Returns the color entries of a result's provenance."""
        return {"space": self.space, "known": self.how, "config": self.config}


def sanitize(rgb: Pixels) -> Pixels:
    """Returns finite pixels for an engine. They must never be written into a result.

    A NaN becomes the mean of the finite pixels within 2 pixels, or 0. An infinity becomes the largest finite
    value of its sign in the picture. Finite pixels keep their bits.
    """
    finite = np.isfinite(rgb)
    if finite.all():
        return rgb
    clean = np.where(finite, rgb, np.float32(0))
    # float64, because the sum of a neighborhood of large floats can overflow
    total = cv2.blur(clean.astype(np.float64), (5, 5), borderType=cv2.BORDER_CONSTANT)
    weight = cv2.blur(finite.astype(np.float64), (5, 5), borderType=cv2.BORDER_CONSTANT)
    around = (total / np.maximum(weight, 0.01)).astype(np.float32)
    high, low = np.maximum(clean.max(), 0), np.minimum(clean.min(), 0)
    clean[np.isnan(rgb)] = around[np.isnan(rgb)]
    clean[rgb == np.inf] = high
    clean[rgb == -np.inf] = low
    return clean


_ASSUMPTION = (
    f"the plate's color space is unknown; {ASSUMED} is assumed. Name it with --color-space"
)


def _evidence(declared: str, part: Part | None) -> tuple[str, How]:
    """Raises `BadColorSpace` for integers that nothing names: they are never scene-linear light."""
    if declared.strip():
        return declared, "declared"
    if part is not None and part.is_aces_container:
        return "ACES2065-1", "acesImageContainerFlag"
    stated = part.color_interop_id if part is not None else None
    source = part.text(SOURCE) if part is not None else None
    if stated and stated != "unknown":
        return stated, "colorInteropID" if source is None else "tag"
    if source is not None and "float" not in source:
        raise unnamed(source)
    return ASSUMED, "assumed"


def _content_name(config: Any) -> str:
    """A name for a config without one. Its path says nothing on another machine."""
    return f"sha256:{hashlib.sha256(config.serialize().encode()).hexdigest()}"


def opened_config(path: Path | str | None) -> Any:
    """The OpenColorIO config at `path`, or the built-in one. Raises `BadColorSpace`."""
    if path is None:
        return _builtin()
    return _with_cineon(_loaded(path))


def _loaded(path: Path | str) -> Any:
    try:
        if str(path).startswith("ocio://"):
            return ocio.Config.CreateFromBuiltinConfig(str(path))
        return ocio.Config.CreateFromFile(str(path))
    except (ocio.Exception, ocio.ExceptionMissingFile) as error:
        raise BadColorSpace(
            f"the OpenColorIO config {path} cannot be read: {error}",
            "Check the path of the config, or omit it to use the built-in ACES config.",
        ) from error


@cache
def _builtin() -> Any:
    return _with_cineon(ocio.Config.CreateFromBuiltinConfig(BUILTIN))


def _with_cineon(config: Any) -> Any:
    """The config with a space of Cineon log if it knows linear Rec.709 and has no such space.

    Black is at code 95 of 1023 and white at 685. The density is 0.002 a code, the negative gamma 0.6. From: Kodak,
    "Conversion of 10-bit Log Film Data to 8-bit Linear or Video Data for the Cineon Digital Film System", 1995.
    """
    linear = _find(config, REC709)
    if linear is None or config.getColorSpace(CINEON) is not None:
        return config
    black = 10 ** ((95 - 685) * 0.002 / 0.6)
    log = ocio.LogAffineTransform(
        logSideSlope=[300 / 1023] * 3,
        logSideOffset=[685 / 1023] * 3,
        linSideSlope=[1 - black] * 3,
        linSideOffset=[black] * 3,
        direction=ocio.TRANSFORM_DIR_INVERSE,
    )
    log.setBase(10)
    to_reference = linear.getTransform(ocio.COLORSPACE_DIR_TO_REFERENCE)
    steps = [log, *([to_reference] if to_reference is not None else [])]
    space = ocio.ColorSpace(
        name=CINEON, toReference=ocio.GroupTransform(steps), encoding="log", family="Film"
    )
    config = copy.deepcopy(config)
    config.addColorSpace(space)
    return config


def _spellings(name: str) -> Iterator[str]:
    """Yields the possible meanings of a name, the most literal first."""
    # A Nuke knob holds the name, a tab, and the family.
    name = name.split("\t")[0].strip()
    yield name
    # Interop ids of other authorities are ns:name. They are read by stripping from the left.
    while ":" in name:
        name = name.partition(":")[2].strip()
        yield name
    plain = name.removesuffix("_scene")
    yield plain
    yield from ALIASES.get(plain.lower(), ())
    # Nuke shows a role as "scene_linear (ACES - ACEScg)".
    inner = re.fullmatch(r".*\((.+)\)", name)
    if inner:
        yield inner[1]


def _find(config: Any, name: str) -> Any:
    for spelling in _spellings(name):
        space = config.getColorSpace(spelling) if spelling else None
        if space is not None:
            return space
    return None


def _unknown(config: Any, wanted: str, source: How) -> tuple[str, str]:
    names = {}
    for space in config.getColorSpaces():
        for name in (space.getName(), *space.getAliases()):
            names[name.lower()] = space.getName()
    near = difflib.get_close_matches(wanted.lower(), names, n=6, cutoff=0.4)
    near += [name for name in names if wanted.lower() in name]
    listed = ", ".join(list(dict.fromkeys(names[name] for name in near))[:4])
    every = ", ".join(sorted(set(names.values()), key=str.lower))
    hint = f"Similar names: {listed}." if listed else f"It has: {every}."
    return f"{config.getName() or 'the config'} has no color space {wanted!r} ({source})", hint


def _contradictions(config: Any, name: str, source: How, part: Part | None) -> Iterator[str]:
    if part is None:
        return
    stated = part.color_interop_id
    if stated and stated not in ("unknown", "data") and source not in ("colorInteropID", "tag"):
        space = _find(config, stated)
        if space is not None and space.getName() != name:
            yield f"the plate is worked on as {name} ({source}), but its colorInteropID says {stated}"
    if part.is_aces_container and source == "declared":
        aces = _find(config, "ACES2065-1")
        if aces is not None and aces.getName() != name:
            yield f"the plate is worked on as {name} (declared), but its ACES flag says ACES2065-1"
    for known in _known_by_primaries(part.chromaticities):
        spaces = {space.getName() for other in PRIMARIES if (space := _find(config, other))}
        meant = _find(config, known)
        if meant is not None and name in spaces and meant.getName() != name:
            yield (
                f"the plate is worked on as {name} ({source}), but its chromaticities are those of "
                f"{meant.getName()}; hosts forward them unchanged, so they are not followed"
            )


def _known_by_primaries(chromaticities: tuple[float, ...] | None) -> Iterator[str]:
    for name, primaries in PRIMARIES.items():
        if chromaticities and np.allclose(chromaticities, primaries, rtol=0, atol=1e-3):
            yield name


def processor_between(source: Any, name: str, target: Any, target_name: str) -> Any:
    """Returns the exact transform between spaces of two configs. Raises `BadColorSpace` if they share no space."""
    try:
        processor = ocio.Config.GetProcessorFromConfigs(source, name, target, target_name)
        # The default optimization approximates logs and powers. No optimization keeps pairs of inverse
        # matrices, in which float32 cancels.
        return processor.getOptimizedCPUProcessor(
            ocio.BIT_DEPTH_F32, ocio.BIT_DEPTH_F32, ocio.OPTIMIZATION_LOSSLESS
        )
    except (ocio.Exception, ocio.ExceptionMissingFile) as error:
        raise BadColorSpace(
            f"there is no conversion from {name} to {target_name}: {error}",
            "The config needs the role aces_interchange; otherwise name a space of the built-in ACES config.",
        ) from error


def _matrix(processor: Any) -> Matrix:
    """Returns the matrix of a processor between linear spaces."""
    columns = np.eye(3, dtype=np.float32)[None]
    processor.applyRGB(columns)
    matrix = columns[0].T.astype(np.float64)
    return np.eye(3) if np.allclose(matrix, np.eye(3), rtol=0, atol=1e-6) else matrix


def _applied(processor: Any, rgb: Pixels) -> Pixels:
    if processor is None:
        return rgb
    pixels = np.array(rgb, np.float32, order="C")
    processor.applyRGB(pixels)
    return pixels
