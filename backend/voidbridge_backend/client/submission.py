"""A job as it was asked for on the command line, as a request with its files. Nothing is sent here.

Everything that can be found wrong before a byte travels is found here: patterns, gaps, formats that differ.
Standard library only, so that a workstation needs none of the daemon's packages.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path

from voidbridge_backend.exr.header import Header, read_header
from voidbridge_backend.formats.kinds import STILLS, format_of
from voidbridge_backend.sequences.consistency import agree
from voidbridge_backend.sequences.patterns import FrameRange, Sequence, compact, frames_for
from voidbridge_protocol.errors import (
    BadPattern,
    FrameMismatch,
    JobCancelled,
    MissingFrames,
    OverwritesSource,
    RequestError,
    VoidbridgeError,
)
from voidbridge_protocol.job_task import JobTask
from voidbridge_protocol.operations import operation
from voidbridge_protocol.settings import OperationSettings
from voidbridge_protocol.transfer.upload import hash_file
from voidbridge_protocol.wire.messages import FrameFile, Request

from .plate_color import check_color

SIDECAR = ".voidbridge.json"
RANGE = re.compile(r"(-?\d+)(?:-(-?\d+))?")
HASHERS = 4
MOST_AUTO_HANDLES = 24
"""Frames on each side of a range that `--handles auto` takes.

`cleanplate` considers every source up to this distance, and gives one at it half the weight (`plan.NEAR`, `FADE`).
`void` sees windows of 85 frames, which handles fill instead of mirrored frames.
"""
AUTO_HANDLES = {"echo": 0}
"""Engines that see nothing in handles."""


@dataclass(frozen=True)
class Submission:
    """The patterns and choices of one job, whatever its operation."""

    files: Mapping[str, Sequence]
    """By role. The first gives the names, and usually the range, of the results."""
    settings: OperationSettings
    frames: FrameRange | None = None
    """Frames of the results; None: every frame of the role that the operation takes its range from."""
    handles: int | None = 0
    """Frames on each side of the range that are seen and not returned; None: as far as they help."""
    operation: str = "remove"
    priority: int = 0
    force: bool = False
    parts: Mapping[str, FrameRange] = field(default_factory=dict)
    """By role: the only frames to send, of a role that need not cover all; others send every frame there is."""

    @property
    def sound(self) -> int | None:
        """The number of the result that is sound, as in `Request`; None without one."""
        return self.frames.last + 1 if self.frames and self.settings.has_sound else None

    def task(
        self,
        target: Callable[[int], Path],
        on_file: Callable[[int, int], None],
        should_cancel: Callable[[], bool],
        hash_of: Callable[[Path, str, int], FrameFile] = hash_file,
    ) -> JobTask:
        """Checks the files, hashes them and makes the request. Raises `RequestError`.

        `on_file` receives the number of hashed files and their total.
        """
        frames, wanted = self.ranges()
        headers = {
            role: {frame: _header(role, self.files[role], frame) for frame in found}
            for role, found in frames.items()
            if self._is_picture(role)
        }
        self._agree(headers)
        self._check_color(frames)
        paths = [
            (role, frame, self.files[role].path(frame))
            for role in sorted(frames)
            for frame in frames[role]
        ]
        hashed = _hashed(paths, hash_of, on_file, should_cancel)
        files = [replace(file, index=self.files[file.role].index(file.frame)) for file in hashed]
        last = wanted.last if self.sound is None else self.sound
        request = Request(wanted.first, last, self.settings, tuple(files), self.operation)
        return JobTask(request, [path for _, _, path in paths], target, self.priority, self.force)

    def _is_picture(self, name: str) -> bool:
        return next(r.is_picture for r in operation(self.operation).roles if r.name == name)

    def _check_color(self, frames: Mapping[str, list[int]]) -> None:
        """Raises `BadColorSpace` for a plate, or a painted frame, whose color space nothing says."""
        declared = getattr(self.settings, "color_space", "")
        looked_at = [*frames.get("plate", [])[:1]], frames.get("clean", [])
        for role, some in zip(("plate", "clean"), looked_at, strict=True):
            for frame in some:
                files = self.files[role]
                check_color(files.path(frame), files.index(frame), declared)

    def ranges(self) -> tuple[dict[str, list[int]], FrameRange]:
        """The frames of each role, and those of the results. Raises `RequestError`."""
        roles = [role for role in operation(self.operation).roles if role.name in self.files]
        found = {role.name: self._part(role.name) for role in roles if not role.covers_all}
        wanted = self.frames
        covering = [role.name for role in roles if role.covers_all]
        if covering:
            frames = self._with_handles(covering)
            wanted = wanted or FrameRange(frames[0], frames[-1])
            for role in covering[1:]:
                _covers(role, self.files[role], frames)
            found.update(dict.fromkeys(covering, frames))
            for role in (role.name for role in roles if role.is_within):
                self._within(role, found[role], frames)
        if wanted is None:
            raise BadPattern(
                f"nothing says which frames {self.operation} is to make",
                "Give their range with --frames.",
            )
        return found, wanted

    def _part(self, role: str) -> list[int]:
        """The frames to send of a role that need not cover all. Raises `RequestError` where there is none."""
        sequence = self.files[role]
        there = sequence.scan() or frames_for(sequence, None)  # the second says what is wrong
        part = self.parts.get(role)
        return [n for n in there if part is None or part.first <= n <= part.last]

    def _within(self, role: str, found: list[int], frames: list[int]) -> None:
        """Raises `FrameMismatch` for a file of a frame that is not sent, `MissingFrames` if it is not there."""
        if outside := [frame for frame in found if frame not in {*frames}]:
            raise FrameMismatch(
                f"the {role} frame {outside[0]} ({self.files[role].path(outside[0]).name}) is none of the "
                f"plate's frames that are sent: {compact(frames)}",
                self._reaching(outside, frames),
            )
        for frame in found:
            path = self.files[role].path(frame)
            if not path.is_file():
                raise MissingFrames(
                    f"{role} frame {frame}: there is no file {path}",
                    f"Name the file behind the equals sign: --{role} {frame}=FILE.",
                )

    def _reaching(self, outside: list[int], frames: list[int]) -> str:
        there = {*self.files["plate"].scan()}
        if self.frames is None or not there.issuperset(outside):
            return "Give the frame by the plate's own number."
        away = max(self.frames.first - outside[0], outside[-1] - self.frames.last)
        return f"Send the frames in between too, with --handles {away}."

    def _with_handles(self, covering: list[str]) -> list[int]:
        """The frames of the roles that cover all, rising, without gaps."""
        frames = frames_for(self.files[covering[0]], self.frames, self.handles or 0)
        if self.frames is None or self.handles is not None:
            return frames
        reach = AUTO_HANDLES.get(self.settings.engine, MOST_AUTO_HANDLES)
        before = range(frames[0] - 1, frames[0] - 1 - reach, -1)
        behind = range(frames[-1] + 1, frames[-1] + 1 + reach)
        return [
            *reversed(list(takewhile(self._fits(covering, frames[0]), before))),
            *frames,
            *takewhile(self._fits(covering, frames[-1]), behind),
        ]

    def _fits(self, covering: list[str], known: int) -> Callable[[int], bool]:
        """Whether a frame is there in these roles, readable, and of the format of the frame `known`."""

        def fits(frame: int) -> bool:
            try:
                self._agree(
                    {
                        role: {n: _header(role, self.files[role], n) for n in (known, frame)}
                        for role in covering
                    }
                )
            except RequestError:
                return False
            return True

        return fits

    def _agree(self, headers: dict[str, dict[int, Header | None]]) -> None:
        """Raises `RequestError` if the files do not fit together, as far as their headers are known here."""
        known = {
            role: {frame: header for frame, header in found.items() if header is not None}
            for role, found in headers.items()
        }
        plate = known.pop("plate", {})
        if plate:
            layer = getattr(self.settings, "layer", "")
            agree(plate, {role: found for role, found in known.items() if found}, layer)


def result_sequence(
    text: str, plate: Sequence, others: list[Sequence], new: FrameRange | None = None
) -> Sequence:
    """Where results go: a pattern, or a folder, which takes the plate's own names.

    `new` are frames that are made beside those of the plate, as by `generate`; None if its own are made again.
    Raises `BadPattern`, and `OverwritesSource` where a result has the name of a source.
    """
    if text.endswith(("/", "\\")) or os.path.isdir(text):
        result = _named_as(plate, Path(text))
    else:
        result = Sequence.parse(text)
    if result.single is not None and plate.single is None:
        raise BadPattern(
            f"{text} is one file, but the plate is a {'clip' if plate.clip else 'sequence'}: "
            "results are one file a frame",
            "Give the result with a placeholder for the frame, as result.%04d.exr, or name a folder with "
            "a / at its end.",
        )
    if plate.single is not None and result.single is not None:
        result = replace(result, single=plate.single)
    for other in (plate, *others):
        if _is_same(result, other):
            hit = _hit(result, other, new) if new and result.single is None else []
            if hit or not new or result.single is not None:
                frames = f", frames {compact(hit)}" if hit else ""
                raise OverwritesSource(
                    f"the result {result} would overwrite what it is made from{frames}"
                )
    return result


def _hit(result: Sequence, source: Sequence, new: FrameRange) -> list[int]:
    """The new frames whose files are there as those of `source`, under whatever number."""
    names = {source.path(frame).name.casefold() for frame in source.scan()}
    frames = range(new.first, new.last + 1)
    return [frame for frame in frames if result.path(frame).name.casefold() in names]


def _named_as(plate: Sequence, folder: Path) -> Sequence:
    """The plate's own names in this folder, as OpenEXR."""
    if plate.clip:
        return Sequence(folder, Path(plate.prefix).stem + ".", ".exr", 4)
    if plate.single is not None:
        return replace(plate, folder=folder, prefix=_as_exr(plate.prefix))
    return replace(plate, folder=folder, suffix=_as_exr(plate.suffix), offset=0)


def _as_exr(name: str) -> str:
    """The name with OpenEXR's ending in place of another format's."""
    ending = Path("x" + name).suffix
    return name.removesuffix(ending) + ".exr" if ending.lower() in STILLS[1:] else name


def sidecar(result: Sequence, frames: FrameRange) -> Path:
    """The JSON file beside the results: one for each range, so that tasks of a farm share a folder."""
    stem = result.prefix.removesuffix(".exr").rstrip("._-%# ") or "result"
    part = "" if result.single is not None else f".{frames}"
    return result.folder / f"{stem}{part}{SIDECAR}"


def sound_file(result: Sequence, frames: FrameRange) -> Path:
    """The WAV file beside the results."""
    beside = sidecar(result, frames)
    return beside.with_name(beside.name.removesuffix(SIDECAR) + ".wav")


def placed(result: Sequence, frames: FrameRange, sound: int | None) -> Callable[[int], Path]:
    """Where each result goes, by its number. `frames` are those that are pictures."""
    return lambda number: sound_file(result, frames) if number == sound else result.path(number)


def sidecars(result: Sequence) -> list[Path]:
    """The sidecars of any of the frames that are there, those that were written last first."""
    frames = result.scan()
    if not frames:
        return []
    if result.single is not None:
        found = [sidecar(result, FrameRange(frames[0], frames[0]))]
        return [path for path in found if path.is_file()]
    begin = sidecar(result, FrameRange(0, 0)).name.removesuffix(f"0{SIDECAR}")
    found = []
    for path in result.folder.iterdir():
        part = path.name.removeprefix(begin).removesuffix(SIDECAR)
        numbers = RANGE.fullmatch(part) if path.name == f"{begin}{part}{SIDECAR}" else None
        if numbers and path.is_file():
            first, last = int(numbers[1]), int(numbers[2] or numbers[1])
            if any(first <= frame <= last for frame in frames):
                found.append(path)
    return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def _covers(role: str, sequence: Sequence, frames: list[int]) -> None:
    there = set(sequence.scan())
    _same_count(role, sequence, frames, there)
    if sequence.single is not None and len(frames) > 1:
        raise FrameMismatch(
            f"the {role} {sequence} is one frame, but the plate has {len(frames)} "
            f"({compact(frames)})",
            "Give the matte as a sequence, and render it for every frame of the plate.",
        )
    if not there:
        frames_for(sequence, None)  # names the problem with the pattern
    missing = [frame for frame in frames if frame not in there]
    if missing:
        raise MissingFrames(
            f"the {role} {sequence} has no {compact(missing)}; "
            f"the plate's frames are {compact(frames)}, the {role}'s {compact(there)}",
            "Render the matte for the same range as the plate, or choose a range that both have "
            "with --frames.",
        )


def _is_run(numbers: set[int]) -> bool:
    return max(numbers) - min(numbers) + 1 == len(numbers)


def _same_count(role: str, sequence: Sequence, frames: list[int], existing: set[int]) -> None:
    """As segmentation tools count: as many mattes as frames, and from another number, which may overlap."""
    option = "--hint-start" if role == "hint" else "--matte-start"
    if len(existing) == len(frames) > 1 and existing != set(frames) and _is_run(existing):
        raise MissingFrames(
            f"the {role} {sequence} has as many frames as the plate, under other numbers: "
            f"{compact(existing)}, the plate {compact(frames)}",
            f"If they belong together in this order, add {option} {frames[0]}.",
        )


def _header(role: str, sequence: Sequence, frame: int) -> Header | None:
    """The header of OpenEXR. None for another format: the daemon looks into it, here its first bytes are read."""
    path = sequence.path(frame)
    try:
        if format_of(path, path.name).kind != "exr":
            return None
        return read_header(path)
    except VoidbridgeError as error:
        raise type(error)(f"{role} frame {frame}: {error.text}", error.hint) from error


def _hashed(
    paths: list[tuple[str, int, Path]],
    hash_of: Callable[[Path, str, int], FrameFile],
    on_file: Callable[[int, int], None],
    should_cancel: Callable[[], bool],
) -> list[FrameFile]:
    """Each file is read once, as a clip is that gives many frames."""
    first = {path: (path, role, frame) for role, frame, path in reversed(paths)}
    known: dict[Path, FrameFile] = {}
    with ThreadPoolExecutor(HASHERS) as threads:
        for path, file in zip(
            first, threads.map(lambda item: hash_of(*item), first.values()), strict=True
        ):
            if should_cancel():
                threads.shutdown(cancel_futures=True)
                raise JobCancelled("cancelled while the frames were being read")
            known[path] = file
            on_file(len(known), len(first))
    return [replace(known[path], role=role, frame=frame) for role, frame, path in paths]


def _is_same(one: Sequence, other: Sequence) -> bool:
    """Returns True if two patterns name the same files, including future ones."""
    if one.folder.resolve() != other.folder.resolve() and not _is_same_folder(one, other):
        return False
    names, others = (one.prefix, one.suffix), (other.prefix, other.suffix)
    if names == others:
        return True
    alike = [name.casefold() for name in names] == [name.casefold() for name in others]
    return alike and _ignores_case(one.folder)


def _is_same_folder(one: Sequence, other: Sequence) -> bool:
    try:
        return one.folder.samefile(other.folder)
    except OSError:
        return False


def _ignores_case(folder: Path) -> bool:
    """Returns True if the file system ignores case, tested on an existing name; False if no name has letters."""
    first = sorted(folder.iterdir())[:1] if folder.is_dir() else []
    for path in (*first, folder.resolve()):
        changed = path.with_name(path.name.swapcase())
        if changed.name != path.name:
            try:
                return changed.samefile(path)
            except OSError:
                return False
    return False
