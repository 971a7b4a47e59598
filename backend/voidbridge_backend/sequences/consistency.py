"""Whether the files of a shot fit together, from their headers alone. Standard library only.

Asked by whoever submits, before a byte is sent, and again by whoever works on the shot.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from voidbridge_backend.exr.header import Header, Part, PixelType, Window, plate_part, rgb_names
from voidbridge_protocol.errors import FrameMismatch, UnsupportedFrame

from .patterns import compact


def agree(plate: Mapping[int, Header], mattes: Mapping[str, Mapping[int, Header]]) -> Window:
    """The window that holds every frame's pixels, if the shot is one. Headers are given by frame.

    All frames of the plate have one format (display window and pixel aspect); so has each matte, and it is
    the plate's. Data windows may differ. Raises `FrameMismatch` or `UnsupportedFrame`, naming the frames.
    """
    parts = {frame: _plate_part(frame, header) for frame, header in plate.items()}
    formats = {frame: (part.display_window, part.pixel_aspect) for frame, part in parts.items()}
    _one_format("plate", formats)
    (display, _), *_ = formats.values()
    for role, headers in mattes.items():
        windows = {
            frame: (header.parts[0].display_window, 1.0) for frame, header in headers.items()
        }
        _one_format(role, windows)
        for frame, (window, _) in windows.items():
            if window != display:
                raise FrameMismatch(
                    f"the {role} is {_size(window)} and the plate {_size(display)} (frame {frame})"
                )
    found = [part.data_window for part in parts.values()]
    return Window(
        min(window.xmin for window in found),
        min(window.ymin for window in found),
        max(window.xmax for window in found),
        max(window.ymax for window in found),
    )


def _plate_part(frame: int, header: Header) -> Part:
    try:
        part = header.parts[plate_part(header)]
    except UnsupportedFrame as error:
        raise UnsupportedFrame(f"frame {frame}: {error.text}", error.hint) from error
    names = rgb_names(part) or ()
    kinds = {channel.type for channel in part.channels if channel.name in names}
    if PixelType.UINT in kinds:
        raise UnsupportedFrame(f"frame {frame}: {', '.join(names)} are integers, not light")
    return part


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
