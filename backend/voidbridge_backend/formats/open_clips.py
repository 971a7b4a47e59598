"""The open clips of a job."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from .kinds import Format

if TYPE_CHECKING:
    from .clips import MovieClip


class Clips:
    """One open clip for each file. PyAV is loaded with the first: most workers never need it."""

    def __init__(self) -> None:
        self._open: dict[Path, MovieClip] = {}
        self._lock = threading.Lock()

    def get(self, path: Path, format_: Format, name: str) -> MovieClip:
        """Raises `UnreadableFrame` or `UnsupportedFrame`."""
        from .clips import MovieClip

        with self._lock:
            if path not in self._open:
                self._open[path] = MovieClip(path, format_, name)
            return self._open[path]
