"""Turns knob values into a checked request and command lines. Pure, no I/O."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import Iterator, Mapping, Sequence

from . import generating, prompts, upstream_hash
from .knobs import BOOL, COLORS_OF_LAYER, Value, channel_name, chosen
from .node_error import NodeError as NodeError
from .operations import HostOperation, NodeInput, operation_of
from .scene import Range, Scene

UPSTREAM = "upstream of "
"""Prefix of an input's name under which its upstream hash is recorded."""
CONNECTED = "connected"
"""Recorded for an input whose picture comes from no file."""
CHANNEL_KNOBS = ("layer", "matte_channel", "affected_channel", "matte_start")
"""Knobs that inner nodes carry out."""
ROLES = frozenset(
    "default reference data scene_linear rendering compositing_linear compositing_log color_picking color_timing "
    "texture_paint matte_paint aces_interchange cie_xyz_d65_interchange".split()
)
"""From: OpenColorIO, "Config Syntax", roles. The daemon's config may be another one than the host's."""
PIECE = 20
"""Frames rendered at once: the next ones are rendered while these are sent."""


@dataclass(frozen=True)
class NodeRequest:
    """One press of the button that starts a job. Frames are inclusive."""

    operation: HostOperation
    wanted: Range
    rendered: Range
    """With handles, within the plate."""
    views: tuple[str, ...]
    sources: Mapping[str, str]
    """As in the scene."""
    settings: Mapping[str, Value]
    """Values of every knob that makes the result, by name, with color space and picked colors filled in."""
    daemon: str
    priority: int
    trees: Mapping[str, str]
    listed: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By role, the only frames of an input that the artist listed, rising."""
    earlier: tuple[int, str] | None = None
    """A frame, and the folder of an earlier result whose frames before it are kept."""
    matte_offset: int = 0
    """Frames by which the mattes are moved to the plate's numbers."""

    @property
    def roles(self) -> tuple[str, ...]:
        """The inputs of which every frame is rendered, in the operation's order."""
        specs = self.operation.inputs
        return tuple(s.role for s in specs if s.role in self.sources and s.role not in self.listed)


def resolve(values: Mapping[str, Value], scene: Scene) -> NodeRequest:
    """Raises `NodeError` before anything is rendered."""
    operation = operation_of(values)
    mode = str(values[operation.leading]) if operation.leading else ""
    scene = generating.used(operation, mode, scene)
    for spec in operation.inputs:
        if spec.missing and spec.role not in scene.sources and spec.is_used(mode):
            raise NodeError(f"Nothing is connected to the input {spec.role}.", spec.missing)
    first, last = scene.plate
    if values["frame_range"] == "custom":
        first, last = int(values["first"]), int(values["last"])
    handles = int(values.get("handles", operation.reach))
    if first > last:
        raise NodeError(
            f"The frame range {first}-{last} is empty.",
            "Set first to a frame that is not after last.",
        )
    if first < 0:
        raise NodeError(
            f"The frame range begins at {first}.",
            "File names have no negative numbers: shift the plate with TimeOffset.",
        )
    if mode:
        generating.check_beside(operation, mode, (first, last), scene.plate)
    elif first < scene.plate[0] or last > scene.plate[1]:
        raise NodeError(
            f"Frames {first}-{last} are requested, but the plate has {_spelled(scene.plate)}.",
            "Choose a range within the plate.",
        )
    if handles < 0:
        raise NodeError(f"Handles are {handles}.", "Set them to 0 or more.")
    settings = _chosen(operation, values)
    _check_channels(settings, scene)
    if "prompts" in settings:
        _check_prompts(str(settings["prompts"]), scene)
    settings["color_space"] = _space(str(settings["color_space"]).strip() or scene.working_space)
    rendered = max(first - handles, scene.plate[0]), min(last + handles, scene.plate[1])
    views = wanted_views(str(values["views_wanted"]), scene.views)
    settings["views_wanted"] = ",".join(views)
    listed = {
        spec.role: _listed_frames(spec, str(values[spec.listed_by]), scene, rendered)
        for spec in operation.inputs
        if spec.listed_by and spec.is_used(mode)
    }
    listed.update(generating.firsts(operation, scene, listed))
    return NodeRequest(
        operation=operation,
        wanted=(first, last),
        rendered=rendered,
        views=views,
        sources=scene.sources,
        settings=settings,
        daemon=str(values["daemon"]).strip(),
        priority=int(values["priority"]),
        trees=scene.trees,
        listed={role: frames for role, frames in listed.items() if frames},
        matte_offset=_matte_offset(str(settings.get("matte_start", "")), scene.plate[0]),
    )


def _chosen(operation: HostOperation, values: Mapping[str, Value]) -> dict[str, Value]:
    """Returns the values that make the result."""
    found = {knob.name: chosen(knob, values) for knob in operation.knobs if knob.makes_result}
    for name in CHANNEL_KNOBS:
        if name in found:
            found[name] = str(found[name]).strip()
    return found


def _space(name: str) -> str:
    """Returns a color space's name. Raises `NodeError` for a role."""
    if name.lower() in ROLES:
        raise NodeError(
            f"{name} is a role, which other OpenColorIO configs give to other spaces.",
            "Write the name of the color space into 'color space', as ACEScg.",
        )
    return name


def _check_channels(settings: Mapping[str, Value], scene: Scene) -> None:
    """Raises `NodeError` if an input lacks a channel that is named."""
    plate, layer = scene.channels.get("plate", ()), str(settings.get("layer", ""))
    there = [name[: -len(".red")] for name in plate if name.endswith(".red")]
    whole = [name for name in there if {f"{name}.{c}" for c in COLORS_OF_LAYER} <= set(plate)]
    if layer and plate and layer not in whole:
        raise NodeError(
            f"The plate has no layer {layer} with red, green and blue.",
            "Its layers are {}.".format(", ".join(whole) or "none"),
        )
    for role in ("matte", "affected"):
        found = scene.channels.get(role, ())
        wanted = channel_name(str(settings.get(f"{role}_channel", "")))
        if found and wanted not in found:
            raise NodeError(
                f"The input {role} has no channel {wanted}.",
                "Its channels are {}.".format(", ".join(found)),
            )


def _check_prompts(text: str, scene: Scene) -> None:
    """Raises `NodeError` for a prompt that cannot be read, and if nothing says where an object is."""
    try:
        found = prompts.entries(text)
    except ValueError as error:
        raise NodeError(
            f"The prompt {str(error)!r} cannot be read.",
            "Write it as point 1001:640,360 or box 1001:600,300,760,480, or drop it.",
        ) from error
    if not found and "seed" not in scene.sources:
        raise NodeError(
            "Nothing says where the object is.",
            "Move the point onto it and press On the object, or connect a matte to the input seed.",
        )


def _matte_offset(text: str, plate_first: int) -> int:
    """Returns the frames by which mattes are moved. Raises `NodeError`."""
    if not text:
        return 0
    if not re.match(r"^-?\d+$", text):
        raise NodeError(
            f"The matte start {text!r} is not a number.",
            "Write the number of the mattes' first frame, as 0, or leave it empty.",
        )
    return plate_first - int(text)


def _listed_frames(spec: NodeInput, text: str, scene: Scene, rendered: Range) -> tuple[int, ...]:
    """Returns the frames that the artist listed for an input. Raises `NodeError`."""
    role, is_connected = spec.role, spec.role in scene.sources
    found: set[int] = set()
    for word, first, last in _runs(role, text):
        is_outside = spec.is_within and (first < rendered[0] or last > rendered[1])
        if first > last or is_outside:
            raise NodeError(
                f"The {role} frames {word} are not within the frames {_spelled(rendered)} that are sent.",
                "Name frames of this range, or raise the handles.",
            )
        found.update(range(first, last + 1))
    if (found and not is_connected) or (spec.is_within and is_connected and not found):
        raise NodeError(
            f"Frames of {role} are named, but nothing is connected to the input {role}."
            if found
            else f"The input {role} is connected, but no {role} frames are named.",
            f"Connect the input {role}, and name its frames in {role} frames.",
        )
    return tuple(sorted(found))


def listed(label: str, text: str) -> list[int]:
    """Returns the frames of a list as 1009,1050-1052, rising. Raises `NodeError`."""
    return sorted(
        {frame for _, first, last in _runs(label, text) for frame in range(first, last + 1)}
    )


def _runs(label: str, text: str) -> Iterator[tuple[str, int, int]]:
    """Yields each word of a list of frames with its first and last frame. Raises `NodeError`."""
    for word in filter(None, re.split(r"[,\s]+", text.strip())):
        match = re.match(r"^(\d+)(?:-(\d+))?$", word)
        if match is None:
            raise NodeError(
                f"The {label} frames {text!r} cannot be read.", "Write them as 1009,1050-1052."
            )
        yield word, int(match.group(1)), int(match.group(2) or match.group(1))


def wanted_views(text: str, views: Sequence[str]) -> tuple[str, ...]:
    """Returns the chosen views in the script's order. Raises `NodeError`."""
    named = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in named if name not in views]
    if unknown:
        raise NodeError(
            "This script has no view {}.".format(", ".join(unknown)),
            "Its views are {}.".format(", ".join(views)),
        )
    return tuple(name for name in views if name in named or not named)


def described(request: NodeRequest) -> dict[str, Value]:
    """Returns all values that decide the result, for the record beside it."""
    found = dict(request.settings)
    found["frames"] = _spelled(request.wanted)
    found["rendered"] = _spelled(request.rendered)
    for role, source in request.sources.items():
        found[role] = source or CONNECTED
    for role, text in request.trees.items():
        found[UPSTREAM + role] = text
    return found


def differences(one: Mapping[str, Value], other: Mapping[str, Value]) -> list[str]:
    """Returns the names whose values differ, sorted. Requests with equal results from equal inputs have none.

    Upstream hashes that cannot be compared do not count as different.
    """
    return sorted(
        name
        for name in set(one) | set(other)
        if one.get(name) != other.get(name) and _is_comparable(name, one, other)
    )


def _is_comparable(name: str, one: Mapping[str, Value], other: Mapping[str, Value]) -> bool:
    if not name.startswith(UPSTREAM):
        return True
    return upstream_hash.is_known(str(one.get(name, "")), str(other.get(name, "")))


def files(folder: str, role: str, view: str = "%V") -> str:
    """Returns a sequence in a version's folder, with forward slashes as the host wants them on every system."""
    return posixpath.join(folder.replace("\\", "/"), f"{role}.{view}.%04d.exr")


def pieces(frames: Range) -> list[Range]:
    """Returns the runs of frames in which a plate is rendered."""
    first, last = frames
    return [(begin, min(begin + PIECE - 1, last)) for begin in range(first, last + 1, PIECE)]


def command(
    executable: Sequence[str], request: NodeRequest, folder: str, view: str, growing: bool = False
) -> list[str]:
    """Returns the command of one view's child process. Values are bound with `=`, so none is read as an option.

    `growing` is True if it starts before all frames are rendered.
    """
    words = [*list(executable), request.operation.command]
    if request.operation.leading:
        words.append(str(request.settings[request.operation.leading]))
    words += _inputs(request, folder, view)
    words += [
        "--output",
        files(folder, "result", view),
        generating.range_word(request.operation, request.settings, request.wanted),
        "--json",
        *request.operation.flags,
        *prompts.options(str(request.settings.get("prompts", ""))),
    ]
    if request.earlier:
        frame, kept = request.earlier
        words += [f"--again-from={frame}", "--earlier={}".format(files(kept, "result", view))]
    for knob in request.operation.knobs:
        if knob.option and knob.makes_result:
            value = request.settings[knob.name]
            if knob.kind != BOOL:
                words.append(f"{knob.option}={value}")
            elif value:
                words.append(knob.option)
    if request.settings["color_space"]:
        words.append("--color-space={}".format(request.settings["color_space"]))
    words.append(f"--priority={request.priority}")
    if request.daemon:
        words.append(f"--daemon={request.daemon}")
    return [*words, "--frames-from-stdin"] if growing else words


def _inputs(request: NodeRequest, folder: str, view: str) -> list[str]:
    """Returns the words for the files of the inputs: arguments first, as every parser takes them."""
    arguments, words = [], []
    for spec in request.operation.inputs:
        pattern = files(folder, spec.role, view)
        if spec.role not in request.sources:
            continue
        if spec.is_instead:  # of the plate, whose last frame it stands for
            arguments = [pattern % request.listed[spec.role][0]]
            words.append(f"--plate-start={request.wanted[0] - 1}")
        elif not spec.option:
            arguments.append(pattern)
        elif spec.is_within:
            frames = request.listed[spec.role]
            words += [f"{spec.option}={frame}={pattern % frame}" for frame in frames]
        else:
            words.append(f"{spec.option}={pattern}")
    return arguments + words


def shown(command_line: Sequence[str]) -> str:
    """Returns a command in the form in which a person would type it."""
    return " ".join(f'"{word}"' if " " in word else word for word in command_line)


def _spelled(frames: Range) -> str:
    return f"{frames[0]}-{frames[1]}"
