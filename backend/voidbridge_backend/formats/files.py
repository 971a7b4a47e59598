"""One frame of any format: its header, and its pixels. OpenImageIO is loaded with the first still."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from voidbridge_backend.exr import reader
from voidbridge_backend.exr.header import Header
from voidbridge_backend.exr.header import read_header as read_exr_header
from voidbridge_backend.exr.layers import Selection
from voidbridge_backend.exr.reader import Choose, Frame

from .kinds import format_of
from .open_clips import Clips


@dataclass(frozen=True)
class FrameReader:
    """Reads frames of any format; keeps clips open. Safe between threads."""

    _clips: Clips = field(default_factory=Clips)

    def header(self, path: Path, name: str, index: int = 0, *, as_matte: bool = False) -> Header:
        """The frame's header, of OpenEXR or as it would be there.

        `name` is what errors call the file; `index` is the frame's place in a clip.
        Raises `UnreadableFrame` or `UnsupportedFrame`.
        """
        found = format_of(path, name)
        if found.kind == "exr":
            return read_exr_header(path, name)
        if found.kind == "clip":
            return self._clips.get(path, found, name).header(index)
        from . import stills

        return stills.read_header(path, found, name, as_matte=as_matte)

    def read(
        self,
        path: Path,
        name: str,
        choose: Choose,
        checked: Callable[[Header], Header],
        index: int = 0,
        *,
        as_matte: bool = False,
    ) -> Frame:
        """The frame, decoded. `checked` sees its header before a pixel is, and may refuse it."""
        found = format_of(path, name)

        def chosen(header: Header) -> Selection:
            return choose(checked(header))

        if found.kind == "exr":
            return reader.read(path, chosen, name)
        if found.kind == "clip":
            return self._clips.get(path, found, name).read(index, chosen)
        from . import stills

        return stills.read(path, found, name, chosen, as_matte=as_matte)
