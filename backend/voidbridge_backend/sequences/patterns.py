"""Frames as files: patterns, ranges, and the frames on disk. Standard library only.

A pattern names a whole sequence: `plate.%04d.exr`, `plate.####.exr`, `plate.@@@@.exr`, `plate.$F4.exr`, or one
file, `plate.1001.exr`. Folders are taken literally; the number is always in the file's name.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from voidbridge_protocol.errors import BadPattern, BadSetting, MissingFrames

_PLACEHOLDER = re.compile(r"%(0?)(\d*)d|(#+)|(@+)|\$F(\d*)")
_FOLDER_NUMBER = re.compile(r"%(?:0\d+)?d(?![A-Za-z0-9])")
"""A frame number in a folder's name. `pct%20dir` and `100%done` are plain names."""
_VIEW = re.compile(r"%[vV](?![\w%])|%V")
_GLOB = re.compile(r"[*?]|\[[^\]]*\]")
_LAST_NUMBER = re.compile(r"(-?\d+)(?!.*\d)")

HINT_NOTHING = "Check the folder and the name. Quote a pattern that your shell would change."
NEIGHBOURS = 3
"""Number of existing files that an error lists."""


@dataclass(frozen=True)
class Sequence:
    """A file for each frame. `width` 0 means numbers without padding; a longer number is written in full."""

    folder: Path
    prefix: str
    suffix: str
    width: int
    single: int | None = None
    """The frame of the one file, if the pattern has no placeholder."""
    offset: int = 0
    """A frame's number less that in its file's name; of a clip, the number of its first frame."""
    clip: int = 0
    """Frames in the one file that `prefix` names; 0 for a file of one frame."""

    @classmethod
    def parse(cls, pattern: str | Path) -> Sequence:
        """Parses a pattern. Raises `BadPattern`, which names the problem.

        A name without a placeholder is one file. Its frame is the last number in its stem, otherwise 1.
        """
        text = str(pattern)
        _check_length(text)
        folder, name = _split(text)
        found = _places(name) if not Path(text).is_file() else []
        if not name or (not found and Path(text).is_dir()):
            raise BadPattern(f"{text or 'an empty name'} is a folder, not a sequence of files")
        if _VIEW.search(text):
            raise BadPattern(
                f"{text} has a placeholder for the view",
                "Run one job for each view, with the view's name written out: plate.left.%04d.exr.",
            )
        if _FOLDER_NUMBER.search(str(folder)) and not folder.is_dir():
            raise BadPattern(
                f"{text} has a frame number in its folder's name",
                "Only the file's name may hold the frame number.",
            )
        if len(found) > 1:
            raise BadPattern(
                f"{name} has {len(found)} places for a frame number: "
                + " and ".join(match.group() for match in found),
                "Leave one place for the frame number and spell out the rest, e.g. the view.",
            )
        if not found:
            return _single(text, folder, name)
        match = found[0]
        return cls(folder, name[: match.start()], name[match.end() :], _width(match, name))

    def path(self, frame: int) -> Path:
        """Returns the file of this frame, even if it does not exist."""
        if self.single is not None:
            if frame != self.single:
                raise MissingFrames(f"{self} is frame {self.single} only; there is no {frame}")
            return self.folder / self.prefix
        if self.clip:
            return self.folder / self.prefix
        # Nuke, Fusion and printf count the sign as one digit of the padding.
        number = frame - self.offset
        return self.folder / f"{self.prefix}{number:0{self.width or 1}d}{self.suffix}"

    def index(self, frame: int) -> int:
        """The place of a frame in its file: 0 but for a clip."""
        return frame - self.offset if self.clip else 0

    @property
    def folders(self) -> list[Path]:
        """The folders of the files."""
        return [self.folder]

    def absolute(self) -> str:
        """The pattern with an absolute path."""
        return os.path.abspath(str(self))

    def scan(self) -> list[int]:
        """Returns the frames on disk, rising; empty if the folder does not exist."""
        if self.single is not None:
            return [self.single] if self.path(self.single).is_file() else []
        if self.clip:
            return list(range(self.offset, self.offset + self.clip))
        return sorted(frame for name, frame in self._numbered() if self.path(frame).name == name)

    def otherwise_spelled(self) -> list[tuple[str, str]]:
        """Returns files whose number is spelled in another way, as `p.-0003.exr` of `p.%04d.exr`: (name, own name).

        They are no frames of the sequence. Those whose frame is there under its own name are not listed.
        """
        if self.single is not None or self.clip:
            return []
        own = [(name, self.path(frame)) for name, frame in self._numbered()]
        odd = [(name, path) for name, path in own if name != path.name]
        return sorted((name, path.name) for name, path in odd if not path.is_file())

    def _numbered(self) -> Iterator[tuple[str, int]]:
        """The files with a number in the pattern's place, however it is spelled, and their frames."""
        shape = re.compile(re.escape(self.prefix) + r"(-?\d+)" + re.escape(self.suffix))
        for name in _names_in(self.folder):
            if match := shape.fullmatch(name):
                yield name, int(match[1]) + self.offset

    def __str__(self) -> str:
        if self.single is not None or self.clip:
            return str(self.folder / self.prefix)
        number = f"%0{self.width}d" if self.width > 1 else "%d"
        return str(self.folder / f"{self.prefix}{number}{self.suffix}")


@dataclass(frozen=True)
class ListedFiles(Sequence):
    """Files of single frames that share no pattern, as painted clean frames."""

    files: tuple[tuple[int, Path], ...] = ()
    """(frame, file), rising."""

    @classmethod
    def of(cls, files: Mapping[int, Path]) -> ListedFiles:
        """The files by frame; at least one."""
        listed = tuple(sorted(files.items()))
        return cls(listed[0][1].parent, "", "", 0, files=listed)

    def path(self, frame: int) -> Path:
        for number, path in self.files:
            if number == frame:
                return path
        raise MissingFrames(f"{self} has no frame {frame}")

    @property
    def folders(self) -> list[Path]:
        return list(dict.fromkeys(path.parent for _, path in self.files))

    def absolute(self) -> str:
        whole = {frame: Path(os.path.abspath(path)) for frame, path in self.files}
        return str(ListedFiles.of(whole))

    def scan(self) -> list[int]:
        """Every listed frame, whether or not its file is there."""
        return [frame for frame, _ in self.files]

    def otherwise_spelled(self) -> list[tuple[str, str]]:
        return []

    def __str__(self) -> str:
        return ", ".join(f"{frame}={path}" for frame, path in self.files)


@dataclass(frozen=True)
class FrameRange:
    """A range of frames, `first` and `last` included."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise BadSetting(
                f"the frame range {self.first}-{self.last} ends before it begins",
                f"Write it as {self.last}-{self.first}.",
            )

    @classmethod
    def parse(cls, text: str) -> FrameRange:
        """Parses `1001-1100`, `1001`, `-5-10`. Raises `BadSetting`."""
        match = re.fullmatch(r"\s*(-?\d{1,18})(?:\s*-\s*(-?\d{1,18}))?\s*", text)
        if match:
            return cls(int(match[1]), int(match[2] or match[1]))
        if re.fullmatch(r"\s*-?\d+\s*-\s*-?\d+\s*[xX:]\s*-?\d+\s*", text):
            raise BadSetting(
                f"the frame range {text.strip()} has a step",
                "Every frame of a range is needed. Write it without a step, as 1001-1100.",
            )
        if "," in text:
            raise BadSetting(
                f"the frame range {text.strip()} has several parts",
                "Run one job for each run of frames.",
            )
        raise BadSetting(
            f"{text[:60]!r} is not a frame range", "Write a range as 1001-1100 or 1001."
        )

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def frames_for(sequence: Sequence, selection: FrameRange | None, handles: int = 0) -> list[int]:
    """Returns the frames to read, rising and without gaps: `selection`, or all from the first to the last on disk.

    Up to `handles` more on either side are included, as far as they exist without a gap. Raises
    `MissingFrames`, which names the missing frames.
    """
    there = sequence.scan()
    if not there:
        raise MissingFrames(_nothing(sequence), HINT_NOTHING)
    if selection is None:
        selection = FrameRange(there[0], there[-1])
    present = set(there)
    missing = [
        frame for frame in range(selection.first, selection.last + 1) if frame not in present
    ]
    if missing:
        raise MissingFrames(
            f"{sequence} has no {compact(missing)} ({len(missing)} of {len(selection)} frames); "
            f"there are {compact(there)}"
        )
    first, last = selection.first, selection.last
    while first > selection.first - handles and first - 1 in present:
        first -= 1
    while last < selection.last + handles and last + 1 in present:
        last += 1
    return list(range(first, last + 1))


def compact(frames: Iterable[int], most: int = 12) -> str:
    """Formats frame numbers as runs, `1004, 1010-1012`; after `most` runs it only counts the rest."""
    runs: list[list[int]] = []
    for frame in sorted(frames):
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = frame
        else:
            runs.append([frame, frame])
    words = [str(FrameRange(first, last)) for first, last in runs]
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def _check_length(text: str) -> None:
    """Raises `BadPattern` if the system takes no name of that length."""
    try:
        os.stat(text)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise BadPattern(
                f"{text} is longer than a name may be", "Name shorter files."
            ) from error
    except ValueError as error:
        raise BadPattern(f"{text!r} is not a name: {error}") from error


def _split(text: str) -> tuple[Path, str]:
    """Splits into folder and name. A backslash separates too, unless it belongs to the name of an existing file."""
    cut = text.rfind("/")
    if "\\" in text and not Path(text).exists():
        cut = max(cut, text.rfind("\\"))
    return Path(text[: max(cut, 0)] or text[: cut + 1]), text[cut + 1 :]


def _places(name: str) -> list[re.Match[str]]:
    """Returns the possible places of the frame number.

    If there is a better place, a lone # or @ is a letter, and so is `%20d` in `a%20dark.####.exr`.
    """
    found = list(_PLACEHOLDER.finditer(name))
    found = [match for match in found if not _is_spaced(match)] or found
    return [match for match in found if len(match.group()) > 1] or found


def _is_spaced(match: re.Match[str]) -> bool:
    """Returns True for a placeholder as %4d, which pads with spaces."""
    return bool(match[2]) and not match[1]


def _single(text: str, folder: Path, name: str) -> Sequence:
    if _GLOB.search(name) and not (folder / name).exists():
        raise BadPattern(f"{text} is a wildcard, which does not show the frame number's place")
    if re.search(r"%\d*[a-zA-Z]", name) and not (folder / name).exists():
        raise BadPattern(f"{name} has an unknown placeholder")
    number = _LAST_NUMBER.search(Path(name).stem)
    # A hyphen between words is not a sign: shot-1001 is frame 1001.
    digits = number[1] if number else "1"
    if number and number.start() and digits.startswith("-"):
        before = Path(name).stem[number.start() - 1]
        digits = digits if before in "._" else digits[1:]
    return Sequence(folder, name, "", 0, int(digits))


def _width(match: re.Match[str], name: str) -> int:
    zero, width, hashes, ats, houdini = match.groups()
    if hashes or ats:
        return len(hashes or ats)
    if houdini is not None:
        return int(houdini or 1)
    if width and not zero:
        raise BadPattern(
            f"{name} pads the frame number with spaces", f"Write %0{width}d instead of %{width}d."
        )
    return int(width or 0)


def _names_in(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise MissingFrames(
            f"the folder {folder} cannot be read: {error.strerror}",
            "Check the folder's permissions.",
        ) from error


def _nothing(sequence: Sequence) -> str:
    if not sequence.folder.is_dir():
        text = f"there is no {sequence}: the folder {sequence.folder} does not exist"
        parent = sequence.folder.parent
        folders = [name for name in _names_in(parent) if (parent / name).is_dir()]
        return text + _did_you_mean(sequence.folder.name, folders)
    names = sorted(_names_in(sequence.folder))
    others = names if sequence.single is not None else map(_pattern_of, names)
    near = _did_you_mean(Path(str(sequence)).name, others)
    if near:
        return f"there is no {sequence}{near}"
    ending = Path(sequence.prefix + sequence.suffix).suffix.lower()
    alike = [name for name in names if ending and name.lower().endswith(ending)]
    if not alike:
        return f"there is no {sequence}: nothing in the folder ends in {ending or 'its name'}"
    shown = ", ".join(alike[:NEIGHBOURS])
    more = f" and {len(alike) - NEIGHBOURS} more" if len(alike) > NEIGHBOURS else ""
    return f"there is no {sequence}; the folder has {shown}{more}"


def _pattern_of(name: str) -> str:
    """`matte.%04d.exr` of `matte.1001.exr`; a name without a number as it is."""
    number = _LAST_NUMBER.search(Path(name).stem)
    if number is None:
        return name
    digits = number[1].lstrip("-")
    end = number.end(1)
    is_padded = digits.startswith("0") or len(digits) > 3
    return name[: end - len(digits)] + (f"%0{len(digits)}d" if is_padded else "%d") + name[end:]


def _did_you_mean(name: str, others: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, dict.fromkeys(others), 1, 0.75)
    return f"; did you mean {near[0]}?" if near else ""
