"""Checks from headers alone that the files of a shot fit together. Standard library only.

It runs before the upload, and again before the work on the shot.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from voidbridge_backend.exr.header import Header, Part, Window
from voidbridge_backend.exr.layers import choose_picture
from voidbridge_backend.exr.matte_channels import READ_HINT
from voidbridge_backend.exr.part import flat_refusal
from voidbridge_backend.formats.synthetic import SOURCE, TURNED, VARIABLE
from voidbridge_protocol.errors import FrameMismatch, UnclearLayer, UnsupportedFrame

from .patterns import compact

KEY_ROLE = "key-"
"""How the roles of `mask`'s key mattes begin."""
NEAR = 8
"""Pixels that each edge of two display windows may differ by where the data windows are the same."""


def agree(
    plate: Mapping[int, Header], mattes: Mapping[str, Mapping[int, Header]], layer: str = ""
) -> tuple[Window, list[str]]:
    """The window that holds every frame's pixels, if the shot is one, and notes on what is odd but fits.

    Headers are given by frame; `layer` is the plate's, as it was named. All frames of the plate have one format
    (display window and pixel aspect); so has each matte, and it is the plate's. Data windows may differ. A file of
    a frame that the plate lacks, as of a clip behind it, is held against the plate's first.
    Raises `FrameMismatch`, `UnclearLayer` or `UnsupportedFrame`, naming the frames.
    """
    parts = {frame: _plate_part(frame, header, layer) for frame, header in plate.items()}
    _one_format("plate", {frame: _format(part) for frame, part in parts.items()})
    notes = [*_odd_aspects(parts), *_turned(parts), *_variable(parts)]
    for name, headers in mattes.items():
        role = "key matte" if name.startswith(KEY_ROLE) else name
        for frame, header in headers.items():
            _check_flat(role, frame, header)
        _one_format(role, {frame: _format(header.parts[0]) for frame, header in headers.items()})
        first = next(iter(parts.values()))
        fitting = [
            note
            for frame, header in headers.items()
            if (note := _fits(role, frame, header.parts[0], parts.get(frame, first)))
        ]
        notes += fitting[:1]
    found = [part.data_window for part in parts.values()]
    canvas = Window(
        min(window.xmin for window in found),
        min(window.ymin for window in found),
        max(window.xmax for window in found),
        max(window.ymax for window in found),
    )
    return canvas, notes


def _format(part: Part) -> tuple[Window, float]:
    return part.display_window, part.aspect


def _odd_aspects(parts: Mapping[int, Part]) -> list[str]:
    wrong = [frame for frame, part in parts.items() if part.aspect != part.pixel_aspect]
    if not wrong:
        return []
    said = parts[wrong[0]].pixel_aspect
    return [
        f"the plate's pixel aspect is {said:g}, which means nothing; its pixels are taken for square"
    ]


def _turned(parts: Mapping[int, Part]) -> list[str]:
    if not any(map(_is_turned, parts.values())):
        return []
    return [
        "the plate's file says that it is shown turned: it is worked on, and comes back, upright"
    ]


def _variable(parts: Mapping[int, Part]) -> list[str]:
    if not any(VARIABLE in (part.text(SOURCE) or "") for part in parts.values()):
        return []
    return [
        "the plate's frames are shown for different times (variable frame rate): each comes back as one "
        "frame, without frame rate and time code"
    ]


def _is_turned(part: Part) -> bool:
    return (part.text(SOURCE) or "").endswith(TURNED)


def _check_flat(role: str, frame: int, header: Header) -> None:
    """Raises `UnsupportedFrame` for a matte of which no part can be read."""
    reasons = [flat_refusal(part) for part in header.parts]
    if reasons and all(reasons):
        raise UnsupportedFrame(
            f"{role} frame {frame}: the {role} cannot be read: {reasons[0]}", READ_HINT
        )


def _fits(role: str, frame: int, matte: Part, plate: Part) -> str | None:
    """A note where the windows differ and the pixels agree all the same. Raises `FrameMismatch`."""
    if matte.aspect != plate.aspect:
        raise FrameMismatch(
            f"the {role} has a pixel aspect of {matte.aspect:g} and the plate {plate.aspect:g} "
            f"(frame {frame})",
            f"Write the {role} in the format of the plate, with the plate's pixel aspect.",
        )
    mine, wanted = matte.display_window, plate.display_window
    if mine == wanted:
        return None
    edges = zip(_edges(mine), _edges(wanted), strict=True)
    if matte.data_window == plate.data_window and all(abs(a - b) <= NEAR for a, b in edges):
        return (
            f"the {role}'s format is {_size(mine)} and the plate's {_size(wanted)}; their pixels lie in "
            "the same window, so they are used as they are"
        )
    turned = ", which its file says is shown turned" if _is_turned(plate) else ""
    raise FrameMismatch(
        f"the {role} is {_size(mine)} and the plate {_size(wanted)}{turned} (frame {frame})",
        f"Render the {role} and the plate at the same format and size.",
    )


def _edges(window: Window) -> tuple[int, int, int, int]:
    return window.xmin, window.ymin, window.xmax, window.ymax


def _plate_part(frame: int, header: Header, layer: str) -> Part:
    try:
        return header.parts[choose_picture(header, layer).part]
    except (UnclearLayer, UnsupportedFrame) as error:
        raise type(error)(f"plate frame {frame}: {error.text}", error.hint) from error


def _one_format(role: str, formats: Mapping[int, tuple[Window, float]]) -> None:
    if len(set(formats.values())) == 1:
        return
    runs = []
    for (window, aspect), frames in groupby(sorted(formats), key=lambda frame: formats[frame]):
        pixel = f", pixel aspect {aspect:g}" if aspect != 1 else ""
        runs.append(f"{_size(window)}{pixel} in {compact(frames)}")
    listed = "; ".join(runs[:4]) + ("; ..." if len(runs) > 4 else "")
    raise FrameMismatch(
        f"the {role} changes its format within the shot: {listed}",
        "Render the whole shot at one format.",
    )


def _size(window: Window) -> str:
    where = f" at {window.xmin},{window.ymin}" if (window.xmin, window.ymin) != (0, 0) else ""
    return f"{window.width}x{window.height}{where}"
