"""Timelines of OpenTimelineIO: the first picture track as a cut, and a cut with its takes as a timeline.

In a timeline that comes in, an item with the metadata `voidbridge` is generated: {"mode": "bridge", "prompt": ...},
the words of a table's row. Its length is the item's.

The written file has the forms that hosts write themselves, because nothing describes what they read. Resolve's own
export of an image sequence and the importer of Hiero and Nuke Studio (hiero-otio) have these in common: plain paths
instead of addresses, an ImageSequenceReference, and ranges that count from 0 at the first file. Resolve's key is
DEFAULT_MEDIA. The importer puts a host's name before an address that has none, so `file:///` leads it nowhere. It
takes the sequence's rate from `global_start_time`, and the start of a clip's range as a number inside the files.
Resolve's ranges of files with a time code begin at it, so no file fits both; those of the importer are written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from voidbridge_backend.client.small_files import read_small
from voidbridge_backend.client.submission import sound_file
from voidbridge_backend.sequences import patterns
from voidbridge_backend.sequences.found import find
from voidbridge_backend.sequences.patterns import FrameRange
from voidbridge_protocol.errors import BadTimeline

from .cut import OWN_FRAMES, Cut, Item, KeptClip, NewShot

ENDING = ".otio"
KEY = "voidbridge"
ACTIVE = "DEFAULT_MEDIA"
"""Key of the media that is shown, as hosts write it."""
MOST_RATE, MOST_FRAMES = 1e5, 1e7
"""Frames a second, and frames, of which no timeline has more."""
NEAR = 0.01
"""Frames a second up to which a rate is a rounded one of SMPTE, as 23.98 is 24000/1001."""
WORDS = ("mode", "takes", "before", "reference")
HINT = "Export the timeline again as OpenTimelineIO, with media linked."


def library() -> Any:
    """The package. Raises `BadTimeline` where it is not installed."""
    try:
        import opentimelineio
    except ImportError as error:
        raise BadTimeline(
            f"timelines need the package opentimelineio: {error}",
            "Install it with: pip install 'voidbridge[timeline]'",
        ) from error
    return opentimelineio


def read_timeline(path: Path) -> Cut:
    """Reads the first picture track that is not empty. Raises `BadTimeline`, `BadSetting`, `MissingFrames`."""
    otio = library()
    try:
        found = otio.adapters.read_from_string(read_small(path).decode(), "otio_json")
    except OSError as error:
        raise BadTimeline(
            f"{path} cannot be read: {error.strerror or error}", "Check the name after --shots."
        ) from error
    except (ValueError, RecursionError, otio.exceptions.OTIOError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadTimeline(f"{path} cannot be read as a timeline: {said}", HINT) from error
    if not isinstance(found, otio.schema.Timeline):
        raise BadTimeline(f"{path} holds no timeline but {type(found).__name__}", HINT)
    tracks = [track for track in found.video_tracks() if len(track)]
    if not tracks:
        raise BadTimeline(f"{path} has no picture track with clips", HINT)
    reader = _Reader(otio, path)
    items = [
        reader.item(item) for item in tracks[0] if not isinstance(item, otio.schema.Transition)
    ]
    return Cut(found.name or path.stem, reader.rate or 24.0, tuple(items))


class _Reader:
    """Reads items, which have one rate."""

    def __init__(self, otio: Any, path: Path) -> None:
        self._otio, self._path = otio, path
        self.rate = 0.0

    def item(self, item: Any) -> Item:
        name = item.name or "without a name"
        try:
            length = self._frames(item.trimmed_range().duration, name)
        except self._otio.exceptions.OTIOError as error:
            raise self._wrong(name, f"has no length: {error}") from error
        words = item.metadata.get(KEY)
        if words is not None:
            return self._new(item, name, length, words)
        if isinstance(item, self._otio.schema.Gap):
            return length
        if not isinstance(item, self._otio.schema.Clip):
            raise self._wrong(name, f"is a {type(item).__name__}, and only clips and gaps are read")
        return self._clip(item, name, length)

    def _new(self, item: Any, name: str, length: int, words: Any) -> NewShot:
        try:
            given = {str(key): _plain(value) for key, value in words.items()}
        except AttributeError as error:
            raise self._wrong(name, f"has the metadata {KEY} = {words!r}") from error
        kinds = {"mode": str, "takes": int, "before": bool, "reference": str}
        for word, kind in kinds.items():
            if word in given and type(given[word]) is not kind:
                raise self._wrong(name, f"has {word} = {given[word]!r}")
        mode, clip = given.get("mode", ""), None
        if mode in OWN_FRAMES:
            clip = self._clip(item, name, length)
        elif "reference" in given:
            media = find(str(self._path.absolute().parent / Path(given["reference"])))
            there = media.scan() or patterns.frames_for(media, None)
            clip = KeptClip(name, media, FrameRange(there[0], there[-1]))
        settings = {word: value for word, value in given.items() if word not in WORDS}
        takes, before = given.get("takes", 0), given.get("before", False)
        return NewShot(name, mode, length, settings, clip, takes, before)

    def _clip(self, clip: Any, name: str, length: int) -> KeptClip:
        schema = self._otio.schema
        reference = getattr(clip, "media_reference", None)
        if isinstance(reference, schema.ImageSequenceReference):
            pattern = reference.abstract_target_url("#" * max(reference.frame_zero_padding, 1))
            if not reference.target_url_base:  # beside the timeline; the package puts a / before it
                pattern = pattern.removeprefix("/")
            media = find(self._local(pattern, name))
            begin = reference.start_frame
        elif isinstance(reference, schema.ExternalReference) and reference.target_url:
            media = find(self._local(reference.target_url, name))
            begin = (media.scan() or patterns.frames_for(media, None))[0]
        else:
            raise self._wrong(name, f"has no media, and no metadata {KEY}")
        seen = clip.trimmed_range()
        offset = 0
        if reference.available_range is not None:
            offset = self._frames(seen.start_time - reference.available_range.start_time, name)
        elif clip.source_range is not None:
            raise self._wrong(name, "has media without a range, so its frames are unknown")
        return KeptClip(name, media, FrameRange(begin + offset, begin + offset + length - 1))

    def _frames(self, time: Any, name: str) -> int:
        if not 0 < time.rate < MOST_RATE:
            raise self._wrong(name, f"has {time.rate:g} frames a second")
        rate = _exact(self._otio, time.rate)
        self.rate = self.rate or rate
        if rate != self.rate:
            raise self._wrong(name, f"has {time.rate:g} frames a second, the others {self.rate:g}")
        if not abs(time.value) < MOST_FRAMES or time.value != round(time.value):
            raise self._wrong(
                name,
                f"has {time.value:g} frames, which is not a whole number up to {MOST_FRAMES:.0f}",
            )
        whole: int = round(time.value)
        return whole

    def _local(self, url: str, name: str) -> str:
        if Path(url).is_absolute():
            return url
        parts = urlsplit(url)
        if parts.scheme not in ("", "file"):
            raise self._wrong(name, f"has media at {url}, which is not a file")
        if parts.scheme:
            # A number's place, ####, looks like the fragment of an address.
            text = unquote(url2pathname(url[len("file://") :]))
            return text.removeprefix("localhost")
        return str(self._path.absolute().parent / unquote(url))

    def _wrong(self, name: str, text: str) -> BadTimeline:
        return BadTimeline(f"{self._path}: the item {name} {text}", HINT)


def write_timeline(cut: Cut, takes: Mapping[int, Sequence[KeptClip]]) -> bytes:
    """The cut as a timeline. A generated shot has each take as a media reference; the first is active."""
    otio = library()
    rate = _exact(otio, cut.rate)
    begin = otio.opentime.RationalTime(0, rate)
    timeline = otio.schema.Timeline(
        cut.name, global_start_time=begin, metadata={KEY: {"generator": KEY}}
    )
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    timeline.tracks.append(track)
    for at, item in enumerate(cut.items):
        if isinstance(item, int):
            track.append(otio.schema.Gap(duration=otio.opentime.RationalTime(item, rate)))
            continue
        if isinstance(item, KeptClip):
            whole = _all_frames(item)
            seen = _range(otio, item.frames.first - whole.first, len(item.frames), rate)
            clip = otio.schema.Clip(item.name, source_range=seen)
            clip.set_media_references({ACTIVE: _reference(otio, item, whole, rate)}, ACTIVE)
        else:
            shown = {n: _reference(otio, t, t.frames, rate) for n, t in enumerate(takes[at], 1)}
            seen = _range(otio, 0, len(takes[at][0].frames), rate)
            clip = _clip_of_takes(otio, item.name, seen, shown)
            clip.metadata[KEY] = {"generated": True, "mode": item.mode, **item.settings}
        track.append(clip)
    sound = _sound_track(otio, cut, takes, rate)
    if sound is not None:
        timeline.tracks.append(sound)
    text: str = otio.adapters.write_to_string(timeline, "otio_json", indent=2)
    return text.encode()


def _clip_of_takes(otio: Any, name: str, seen: Any, references: Mapping[int, Any]) -> Any:
    """A clip with the media of each take, by its number. The first is shown."""
    keyed: dict[str, Any] = {}
    for number, reference in references.items():
        reference.metadata[KEY] = {"take": number}
        keyed[f"take {number}" if keyed else ACTIVE] = reference
    clip = otio.schema.Clip(name, source_range=seen)
    clip.set_media_references(keyed, ACTIVE)
    return clip


def _sound_track(
    otio: Any, cut: Cut, takes: Mapping[int, Sequence[KeptClip]], rate: float
) -> Any | None:
    """The sound of the takes below their frames; None if no take has any."""
    track = otio.schema.Track("A1", kind=otio.schema.TrackKind.Audio)
    heard = False
    for at, item in enumerate(cut.items):
        length = item if isinstance(item, int) else len(_shown(item, takes.get(at, ())))
        whole = _range(otio, 0, length, rate)
        references = {
            number: _file(otio, path.absolute(), whole)
            for number, take in enumerate(takes.get(at, ()), 1)
            if (path := sound_file(take.media, take.frames)).is_file()
        }
        if isinstance(item, int) or not references:
            track.append(otio.schema.Gap(duration=whole.duration))
            continue
        heard = True
        track.append(_clip_of_takes(otio, item.name, whole, references))
    return track if heard else None


def _shown(item: Item, versions: Sequence[KeptClip]) -> FrameRange:
    return (item if isinstance(item, KeptClip) else versions[0]).frames


def is_own(path: Path) -> bool:
    """Whether a file is a timeline that `write_timeline` made."""
    try:
        found = json.loads(read_small(path))
        return bool(found["metadata"][KEY]["generator"] == KEY)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _range(otio: Any, first: int, length: int, rate: float) -> Any:
    time = otio.opentime.RationalTime
    return otio.opentime.TimeRange(time(first, rate), time(length, rate))


def _exact(otio: Any, rate: float) -> float:
    """The rate of SMPTE that a rounded one stands for; any other rate as it is."""
    found: float = otio.opentime.RationalTime.nearest_smpte_timecode_rate(rate)
    return found if abs(found - rate) < NEAR else rate


def _all_frames(clip: KeptClip) -> FrameRange:
    """All frames of the media that follow each other around those that are seen."""
    there = {*clip.media.scan()}
    first, last = clip.frames.first, clip.frames.last
    while first - 1 in there:
        first -= 1
    while last + 1 in there:
        last += 1
    return FrameRange(first, last)


def _reference(otio: Any, clip: KeptClip, frames: FrameRange, rate: float) -> Any:
    """The media with these frames, the first of which is at 0."""
    media, available = clip.media, _range(otio, 0, len(frames), rate)
    folder = media.folder.absolute()
    if media.single is not None or media.clip:
        return _file(otio, folder / media.prefix, available)
    reference = otio.schema.ImageSequenceReference(
        target_url_base=str(folder),
        name_prefix=media.prefix,
        name_suffix=media.suffix,
        start_frame=frames.first,
        rate=rate,
        frame_zero_padding=media.width,
        available_range=available,
    )
    numbers = "-".join(f"{number:0{media.width}d}" for number in (frames.first, frames.last))
    reference.name = f"{media.prefix}[{numbers}]{media.suffix}"
    return reference


def _file(otio: Any, path: Path, available: Any) -> Any:
    reference = otio.schema.ExternalReference(str(path), available)
    reference.name = path.name
    return reference


def _plain(value: Any) -> Any:
    """OpenTimelineIO reads integers of JSON as they are; a whole float is one too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
