"""DaVinci Resolve STUDIO only: removes an object from the clip under the playhead, and puts the result above it.

The clip is the plate, an OpenEXR sequence. The matte is the OpenEXR sequence on the next higher track that has a
clip there. Disable every clip above the plate: the playhead's clip is the topmost visible one. The used part, with
handles, goes through `voidbridge run`. The result comes back as a new version on the first free track above both.

Installed as Voidbridge generate it makes frames, and puts each take above: between the marks In and Out inside of
the clip, otherwise in the gap behind it, up to the next clip of its track. Nothing is replaced.

Workspace > Scripts > Edit. The free edition runs no Python: use the macro on the Fusion page instead. The files
are read as they are on disk, so their color space is the files' own, not the timeline's.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

if TYPE_CHECKING:
    from fusionscript import MediaPool, Resolve, Timeline, TimelineItem
    from fusionscript.fusionscript import MediaPoolClipInfo

HANDLES = 12
"""Frames before and after the used part that help and are not returned, as far as files exist."""
OPTIONS: tuple[str, ...] = ()
"""More options of `voidbridge run`, as `"--engine=void"`, `"--color-space=ACEScg"`, `"--daemon=tcp://127.0.0.1:5577"`."""
TAKE_OPTIONS: tuple[str, ...] = ()
"""More options of `voidbridge generate --shots`, as `"--engine=ltx"`, `"--prompt=rain"`, `"--takes=3"`."""
ACTION = "remove"
"""`remove` or `generate`, as the installation writes it here."""
FUSION = ""
"""Fusion's folder, which the installation writes here: a menu of Resolve may name no file of a script."""
RULES = "Modules/Lua/voidbridge/child_environment.json"
COMMAND = "Modules/Lua/voidbridge/voidbridge.json"
"""The installation's record of the command, in Fusion's folder."""


class TimelineError(Exception):
    """The request is impossible; the text gives the reason and the next step."""


@dataclass(frozen=True)
class TimelineClip:
    """A clip on the timeline that shows an OpenEXR sequence at its own speed."""

    pattern: str
    """As /shots/plate.%04d.exr."""
    first: int
    """Number of the first shown file."""
    start: int
    """Frame of the timeline at which it begins."""
    frames: int

    @property
    def last(self) -> int:
        return self.first + self.frames - 1

    @property
    def end(self) -> int:
        """The timeline frame after its last."""
        return self.start + self.frames

    def number_at(self, frame: int) -> int:
        return self.first + frame - self.start


def sequence(path: str) -> tuple[str, int, int]:
    """Parses a sequence as the media pool writes it, plate.[1001-1100].exr: pattern, first and last number."""
    found = re.fullmatch(r"(.*)\[(\d+)-(\d+)\](\.exr)", path, re.IGNORECASE)
    if not found:
        raise TimelineError(
            f"{path or 'The clip'} is not an OpenEXR sequence. Render the clip to OpenEXR first, or use the macro "
            "Voidbridge on the Fusion page."
        )
    head, first, last, tail = found.groups()
    return f"{head}%0{len(first)}d{tail}", int(first), int(last)


def clip_of(item: TimelineItem) -> TimelineClip:
    """Raises `TimelineError` if the clip is not a sequence, or is retimed."""
    media = item.GetMediaPoolItem()
    path = str(media.GetClipProperty("File Path")) if media else ""
    pattern, first, last = sequence(path)
    left, right = round(item.GetLeftOffset(False)), round(item.GetRightOffset(False))
    frames = round(item.GetDuration(False))
    if left + frames + right != last - first + 1:
        raise TimelineError(
            f"{item.GetName()} has {last - first + 1} files and shows {left + frames + right} frames: it is "
            "retimed. Remove the object before the retime."
        )
    return TimelineClip(pattern, first + left, round(item.GetStart(False)), frames)


def check_matte(plate: TimelineClip, matte: TimelineClip) -> None:
    """Checks that it covers the plate with the same frame numbers. Raises `TimelineError`."""
    if matte.start > plate.start or matte.end < plate.end:
        raise TimelineError(
            f"The matte covers {matte.start}-{matte.end - 1} of the timeline, the plate "
            f"{plate.start}-{plate.end - 1}."
        )
    if matte.number_at(plate.start) != plate.first:
        raise TimelineError(
            f"The first frame of the plate, file {plate.first}, is under file {matte.number_at(plate.start)} of "
            "the matte. Both need the same frame numbers."
        )


def free_track(
    tracks: Sequence[Sequence[tuple[int, int]]], above: int, start: int, end: int
) -> int:
    """Returns the lowest track above `above` that is empty from start to end, or a new one.

    Tracks count from 1; their clips are given as (start, end), the end not included.
    """
    for number, clips in enumerate(tracks, 1):
        if number > above and all(begin >= end or stop <= start for begin, stop in clips):
            return number
    return len(tracks) + 1


def new_folder(pattern: str, exists: Callable[[str], bool] = os.path.exists) -> str:
    """Returns a folder for a new version of a result, beside the plate."""
    folder, name = os.path.split(pattern)
    stem = re.sub(r"[._]?%0\d+d\.exr$", "", name, flags=re.IGNORECASE)
    for number in itertools.count(1):
        made = os.path.join(folder, "voidbridge", f"{stem}_v{number:03d}")
        if not exists(made):
            break
    return made


def words(
    command: Sequence[str], plate: TimelineClip, matte: TimelineClip, result: str
) -> list[str]:
    return [
        *command, "run", plate.pattern, matte.pattern, "--output", result,
        f"--frames={plate.first}-{plate.last}", f"--handles={HANDLES}", "--json", *OPTIONS,
    ]  # fmt: skip


def run(command: Sequence[str], on_status: Callable[[str], None]) -> list[str]:
    """Waits for the child and reports its status. Returns the takes that it made. Raises `TimelineError`."""
    child = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(os.environ, child_rules(), host_folder()),
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    assert child.stdout
    problem, last, takes = "no output", "", []
    with child.stdout as lines:
        for line in lines:
            event = json.loads(line.decode("utf-8"))
            said = _said(event)
            if said and said != last:
                on_status(said)
                last = said
            if event["event"] == "take":
                takes.append(str(event["result"]))
            if event["event"] == "error":
                problem = f"{event['text']} {event['hint']}"
    if child.wait() != 0:
        raise TimelineError(f"voidbridge ended with {child.returncode}: {problem}")
    return takes


def host_folder() -> str:
    """Returns Resolve's folder; empty if it is not known. Only Linux needs it."""
    try:
        folder = os.path.dirname(os.readlink("/proc/self/exe"))
    except (OSError, AttributeError):
        return ""
    folder = os.path.dirname(folder) if os.path.basename(folder) == "bin" else folder
    return "" if folder in ("/", "/usr", "/usr/local") else folder


def child_rules() -> dict[str, Any]:
    """Returns the installed rules of a child's environment; without an installation, there are none."""
    try:
        with open(os.path.join(FUSION, RULES), encoding="utf-8") as file:
            return dict(json.load(file))
    except (OSError, ValueError):
        return {"drop": [], "drop_prefixes": ["PYTHON"], "without_host_folders": [], "set": {}}


def environment(ours: Mapping[str, str], rules: Mapping[str, Any], host: str) -> dict[str, str]:
    """Returns a child's environment: ours, without the libraries that Resolve sets for itself."""
    kept = [name.strip() for name in ours.get("HOST_VOIDBRIDGE_KEEP", "").split(",")]
    found = {}
    for name, value in ours.items():
        if name in rules["without_host_folders"] and name not in kept:
            parts = [part for part in value.split(os.pathsep) if part]
            value = os.pathsep.join(
                p for p in parts if not host or not f"{p}/".startswith(f"{host}/")
            )
            if not value:
                continue
        is_dropped = name in rules["drop"] or name.startswith(tuple(rules["drop_prefixes"]))
        if name in kept or not is_dropped:
            found[name] = value
    return {**found, **{name: found.get(name, value) for name, value in rules["set"].items()}}


def _said(event: dict[str, Any]) -> str:
    if event["event"] == "status" and event["state"] == "running":
        return str(event["stage"])
    return str(event["text"]) if event["event"] in ("warning", "trouble") else ""


def marked(timeline: Timeline) -> tuple[int, int] | None:
    """Returns the timeline's frames at In and Out, or None. A mark before its start counts from there."""
    ask = getattr(timeline, "GetMarkInOut", None)
    found = (ask() or {}).get("video", {}) if ask else {}
    if "in" not in found or "out" not in found:
        return None
    offset = 0 if found["in"] >= timeline.GetStartFrame() else round(timeline.GetStartFrame())
    return found["in"] + offset, found["out"] + offset


def new_shot(
    clip: TimelineClip, marks: tuple[int, int] | None, behind: TimelineClip | None
) -> tuple[TimelineClip, str]:
    """Returns the place of the new frames, with their numbers, and a table of shots for `generate`."""
    if marks and is_inside(clip, marks):
        first, last = (clip.number_at(mark) for mark in marks)
        place = TimelineClip(clip.pattern, first, marks[0], last - first + 1)
        return place, _row(_name(place), place) + 'mode = "retake"\n'
    if behind is None or behind.start <= clip.end:
        raise TimelineError(
            "Mark In and Out inside of the clip, or leave a gap between it and the next one."
        )
    place = TimelineClip(clip.pattern, clip.last + 1, clip.end, behind.start - clip.end)
    new = f'[[shot]]\nname = "{_name(place)}"\nmode = "bridge"\nlength = {place.frames}\n'
    return place, _row("before", clip) + new + _row("behind", behind)


def is_inside(clip: TimelineClip, marks: tuple[int, int]) -> bool:
    """Whether a frame of the clip is left on both sides of the marks."""
    return clip.start < marks[0] <= marks[1] < clip.end - 1


def _name(place: TimelineClip) -> str:
    stem = re.sub(r"[._]?%0\d+d\.exr$", "", os.path.basename(place.pattern), flags=re.IGNORECASE)
    return re.sub(r"[^\w-]", "_", f"{stem}_{place.first}-{place.last}")


def _row(name: str, clip: TimelineClip) -> str:
    clip_text, frames = json.dumps(clip.pattern, ensure_ascii=False), f"{clip.first}-{clip.last}"
    return f'[[shot]]\nname = "{name}"\nclip = {clip_text}\nframes = "{frames}"\n'


def generate(app: Resolve, command: Sequence[str], on_status: Callable[[str], None]) -> str:
    """Makes new frames and puts every take above. Returns the last take's pattern. Raises `TimelineError`."""
    project, timeline, item = _under_playhead(app)
    clip, track = clip_of(item), _track_of(timeline, item)
    marks, behind = marked(timeline), None
    if not (marks and is_inside(clip, marks)):
        at = {round(o.GetStart(False)): o for o in timeline.GetItemListInTrack("video", track)}
        later = [start for start in at if start >= clip.end]
        behind = clip_of(at[min(later)]) if later else None
    place, table = new_shot(clip, marks, behind)
    folder = os.path.join(os.path.dirname(clip.pattern), "voidbridge", "takes")
    os.makedirs(folder, exist_ok=True)
    shots = os.path.join(folder, f"{clip.first}-{place.first}-{place.last}.toml")
    with open(shots, "w", encoding="utf-8", newline="\n") as file:
        file.write(table)
    words = ["generate", "--shots", shots, "--output", folder, "--json", *TAKE_OPTIONS]
    takes = run([*command, *words], on_status)
    for take in takes:
        _append(timeline, project.GetMediaPool(), place, take, track - 1)
    return takes[-1]


def _under_playhead(app: Resolve) -> tuple[Any, Timeline, TimelineItem]:
    project = app.GetProjectManager().GetCurrentProject()
    timeline = project.GetCurrentTimeline() if project else None
    item = timeline.GetCurrentVideoItem() if timeline else None
    if project is None or timeline is None or item is None:
        raise TimelineError("There is no clip under the playhead.")
    return project, timeline, item


def remove(app: Resolve, command: Sequence[str], on_status: Callable[[str], None]) -> str:
    """Runs the whole removal and returns the result's pattern. Raises `TimelineError`."""
    project, timeline, item = _under_playhead(app)
    plate = clip_of(item)
    track = _track_of(timeline, item)
    above = _item_above(timeline, track, plate)
    if above is None:
        raise TimelineError(
            f"There is no matte above {item.GetName()}. Put its OpenEXR sequence on the next track; if the "
            "clip is not a plate, disable it."
        )
    matte = clip_of(above)
    check_matte(plate, matte)
    result = os.path.join(new_folder(plate.pattern), os.path.basename(plate.pattern))
    run(words(command, plate, matte, result), on_status)
    _append(timeline, project.GetMediaPool(), plate, result, track)
    return result


def _track_of(timeline: Timeline, item: TimelineItem) -> int:
    """Returns the lowest track with a clip of that name that begins there."""
    for number in range(1, timeline.GetTrackCount("video") + 1):
        for other in timeline.GetItemListInTrack("video", number):
            if other.GetStart(False) == item.GetStart(False) and other.GetName() == item.GetName():
                return number
    raise TimelineError(f"{item.GetName()} is on no video track.")


def _item_above(timeline: Timeline, track: int, plate: TimelineClip) -> TimelineItem | None:
    """Returns the lowest clip over the plate."""
    for number in range(track + 1, timeline.GetTrackCount("video") + 1):
        for item in timeline.GetItemListInTrack("video", number):
            start = item.GetStart(False)
            if start < plate.end and start + item.GetDuration(False) > plate.start:
                return item
    return None


def _span(item: TimelineItem) -> tuple[int, int]:
    return round(item.GetStart(False)), round(item.GetStart(False) + item.GetDuration(False))


def _append(
    timeline: Timeline, pool: MediaPool, plate: TimelineClip, result: str, above: int
) -> None:
    numbers = range(1, timeline.GetTrackCount("video") + 1)
    tracks = [[_span(item) for item in timeline.GetItemListInTrack("video", n)] for n in numbers]
    number = free_track(tracks, above + 1, plate.start, plate.end)
    if number > len(tracks) and not timeline.AddTrack("video", {}):
        raise TimelineError(f"The result is {result}; Resolve made no new track for it.")
    imported = pool.ImportMedia(
        [{"FilePath": result, "StartIndex": plate.first, "EndIndex": plate.last}]
    )
    if not imported:
        raise TimelineError(f"The result is {result}; Resolve did not import it.")
    length = _place(timeline, pool, imported[0], plate, number, plate.frames)
    if length != plate.frames:  # whether endFrame is included differs between releases
        length = _place(timeline, pool, imported[0], plate, number, 2 * plate.frames - length)
    if length != plate.frames:
        raise TimelineError(
            f"The result is {result}; Resolve shows {length} of its {plate.frames} frames. Trim it by hand."
        )


def _place(
    timeline: Timeline, pool: MediaPool, media: Any, plate: TimelineClip, track: int, end: int
) -> int:
    """Puts the result over the plate, in place of an earlier attempt. Returns its length in frames."""
    earlier = [
        item
        for item in timeline.GetItemListInTrack("video", track)
        if round(item.GetStart(False)) == plate.start
    ]
    if earlier:
        timeline.DeleteClips(earlier, False)
    where: MediaPoolClipInfo = {
        "mediaPoolItem": media, "startFrame": 0, "endFrame": end, "recordFrame": plate.start,
        "trackIndex": track, "mediaType": 1,
    }  # fmt: skip
    append: Any = pool.AppendToTimeline  # the stubs lack the overload for positions
    made = append([where])
    if not made:
        raise TimelineError("Resolve did not put the result onto the timeline.")
    item: TimelineItem = made[0]
    return round(item.GetDuration(False))


def command_of(script: str) -> list[str]:
    """Returns the command `voidbridge`: the recorded one, otherwise the one on the path."""
    fusion = FUSION or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(script))))
    try:
        with open(os.path.join(fusion, COMMAND), encoding="utf-8") as file:
            return [str(word) for word in json.load(file)["command"]]
    except (OSError, ValueError, KeyError, TypeError):
        return ["voidbridge"]


def main(app: Resolve, script: str) -> bool:
    """The menu entry. Reports every error, and raises none into Resolve."""
    try:
        action = generate if ACTION == "generate" else remove
        result = action(app, command_of(script), lambda text: print(f"Voidbridge: {text}"))
    except (TimelineError, OSError) as error:
        print(f"Voidbridge: {error}")
        return False
    print(f"Voidbridge: done, {result}")
    return True


if "resolve" in globals():  # Resolve defines it before it runs a script
    main(globals()["resolve"], globals().get("__file__", ""))
