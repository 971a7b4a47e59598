"""Time code, key code, rate, camera data and color tags of still formats, as OpenEXR attributes."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from voidbridge_backend.exr.header import Attribute

from .color_tags import FILM, TRANSFERS, png_tag
from .kinds import Format
from .synthetic import key_code, number, rate, text, time_code

STRINGS = {
    "Make": "cameraMake",
    "Model": "cameraModel",
    "Exif:LensMake": "lensMake",
    "Exif:LensModel": "lensModel",
    "Exif:BodySerialNumber": "cameraSerialNumber",
    "ImageDescription": "comments",
    "Artist": "owner",
    "Copyright": "owner",
    "dpx:InputDevice": "cameraModel",
    "dpx:InputDeviceSerialNumber": "cameraSerialNumber",
    "DocumentName": "reelName",
}
"""OpenImageIO's name and OpenEXR's standard one."""
NUMBERS = {
    "ExposureTime": "expTime",
    "FNumber": "aperture",
    "Exif:PhotographicSensitivity": "isoSpeed",
    "Exif:ISOSpeedRatings": "isoSpeed",
    "Exif:FocalLength": "nominalFocalLength",
}
RATES = ("dpx:FrameRate", "dpx:TemporalFrameRate", "FramesPerSecond")


def extras_of(path: Path, format_: Format, spec: Any) -> list[Attribute]:
    """All that a frame says of itself and that OpenEXR has a name for."""
    found = [*_camera(spec), *_timing(spec)]
    tag = _color_tag(path, format_, spec)
    if tag:
        found.append(text("colorInteropID", tag))
    unique = {attribute.name: attribute for attribute in reversed(found)}
    return [unique[name] for name in sorted(unique)]


def _said(spec: Any, name: str) -> str:
    """A string of the file; empty for one that is none, as a damaged file has."""
    try:
        return str(spec.get_string_attribute(name))
    except UnicodeDecodeError:
        return ""


def _camera(spec: Any) -> Iterator[Attribute]:
    for theirs, ours in STRINGS.items():
        said = _said(spec, theirs)
        if said:
            yield text(ours, said)
    for theirs, ours in NUMBERS.items():
        value = spec.get_float_attribute(theirs, 0.0)
        if value > 0:
            yield number(ours, value)


def _timing(spec: Any) -> Iterator[Attribute]:
    code = spec.getattribute("smpte:TimeCode")
    if isinstance(code, tuple) and len(code) == 2 and code[0] not in (0, 0xFFFFFFFF):
        yield time_code(*code)
    keys = spec.getattribute("smpte:KeyCode")
    if isinstance(keys, tuple) and len(keys) == 7 and all(abs(key) < 1 << 31 for key in keys):
        yield key_code(keys)
    for name in RATES:
        value = spec.get_float_attribute(name, 0.0)
        if 1 <= value <= 1000:
            yield rate(_rate(value))
            return


def _rate(value: float) -> Fraction:
    """23.976 is 24000/1001: a rate near a thousandth below a whole one is that of NTSC."""
    whole = round(value * 1.001)
    if abs(whole / 1.001 - value) < 0.002 and abs(round(value) - value) > 0.005:
        return Fraction(whole * 1000, 1001)
    return Fraction(value).limit_denominator(1001)


def _color_tag(path: Path, format_: Format, spec: Any) -> str:
    """The color space that the file itself names; empty for none. A reader's assumption does not count."""
    if format_.plugin == "hdr":
        return "lin_rec709_scene"
    if format_.plugin == "cineon":
        return FILM
    if format_.plugin == "dpx":
        return TRANSFERS.get(_said(spec, "dpx:Transfer"), "")
    if "sRGB" in _said(spec, "ICCProfile:profile_description"):
        return "srgb_rec709_scene"
    if format_.plugin == "png":
        return png_tag(path)
    return "srgb_rec709_scene" if spec.get_int_attribute("Exif:ColorSpace") == 1 else ""
