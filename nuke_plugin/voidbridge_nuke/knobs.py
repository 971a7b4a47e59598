"""The knobs of a node: their description, and the panels that every operation has.

The Group's text, the command line, the outdated check, and the tables in docs/nuke.md are generated from knobs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Mapping, Union

NODE_VERSION = 1
"""Version of the Group's text and its knobs. A saved node carries its version, and is migrated."""

Value = Union[str, int, float, bool]

TAB, INT, FLOAT, BOOL, CHOICE, STRING, FILE, BUTTON, TEXT, COLOR, POINT, BOX = (
    "tab",
    "int",
    "float",
    "bool",
    "choice",
    "string",
    "file",
    "button",
    "text",
    "color",
    "point",
    "box",
)
ARRAYS = (COLOR, POINT, BOX)
"""Kinds with several numbers: three of a color, x and y, and left, bottom, right and top."""


@dataclass(frozen=True)
class Knob:
    """One knob. `option` is the matching option of the operation's command, if there is one.

    The value of a color, a point or a box is its numbers, with spaces in between.
    """

    name: str
    kind: str
    label: str
    tooltip: str
    default: Value = ""
    since: int = 1
    """The first `NODE_VERSION` that has it."""
    choices: tuple[str, ...] = ()
    option: str = ""
    makes_result: bool = False
    """True if a change of its value changes the result, so that an existing one is out of date."""
    same_line: bool = False
    hidden: bool = False
    picks: str = ""
    """Of a choice: the color knob whose value its last choice stands for."""

    @property
    def has_value(self) -> bool:
        return self.kind not in (TAB, BUTTON, TEXT)


CHANNELS = ("alpha", "red", "green", "blue")
RANGES = ("the plate's", "custom")
DEPTHS = ("16 bit half", "32 bit float")
FARMS = ("openjd", "deadline", "opencue", "tractor")
GUARDS = ("the studio's", "refuse", "warn", "off")
NO_VERSION = "none"
COLORS_OF_LAYER = ("red", "green", "blue")

SETTINGS = json.loads(Path(__file__).with_name("controls.json").read_text(encoding="utf-8"))
"""By operation and name the settings: option, kind, label, tooltip, default, choices. Made by `make docs`."""
KINDS = {"choice": CHOICE, "integer": INT, "number": FLOAT, "string": STRING, "boolean": BOOL}


def setting(
    operation: str,
    name: str,
    choices: tuple[str, ...] = (),
    same_line: bool = False,
    picks: str = "",
    within: str = "",
    default: Value | None = None,
) -> Knob:
    """The knob of a setting. With `choices` it offers only these.

    `within` completes the tooltip of a setting that the node itself carries out: the command is not told.
    """
    said = SETTINGS[operation][name]
    return Knob(
        name,
        CHOICE if choices else KINDS[said["kind"]],
        said["label"],
        f"{said['tip']} {within}".rstrip(),
        said["default"] if default is None else default,
        choices=choices or tuple(said.get("choices", ())),
        option="" if within else said["option"],
        makes_result=True,
        same_line=same_line,
        picks=picks,
    )


def _job_buttons() -> tuple[Knob, ...]:
    return (
        Knob(
            "test_frame", BUTTON, "Test frame",
            "Make a version of the current frame only, with the handles around it.",
            same_line=True,
        ),
        Knob("cancel", BUTTON, "Cancel", "Stop the job of this node.", same_line=True),
        Knob(
            "estimate", BUTTON, "Estimate",
            "Estimate time and memory of the job from your earlier jobs with the same settings.",
            same_line=True,
        ),
    )  # fmt: skip


def work_panel(
    title: str,
    button: Knob,
    outputs: tuple[str, ...],
    output_tip: str,
    handles: int,
    beside_output: tuple[Knob, ...] = (),
) -> tuple[Knob, ...]:
    """The first tab. `handles` is the default number of frames; the first of `outputs` is the default output."""
    return (
        Knob("voidbridge", TAB, title, ""),
        Knob("status", TEXT, "status", "State of the result.", "not rendered"),
        button,
        *_job_buttons(),
        Knob("output", CHOICE, "output", output_tip, outputs[0], choices=outputs),
        *beside_output,
        Knob(
            "version_shown", CHOICE, "version",
            "The version that is shown. Only Purge versions and Archive versions remove one.",
            NO_VERSION, choices=(NO_VERSION,),
        ),
        Knob("reveal", BUTTON, "Reveal", "Show the folder of this result.", same_line=True),
        Knob(
            "make_read", BUTTON, "Read", "Make a plain Read of this result beside the node.", same_line=True
        ),
        Knob(
            "browse", BUTTON, "Open in browser",
            "Show the job of this node on the daemon's page: progress, player, compare.",
            same_line=True,
        ),
        Knob(
            "frame_range", CHOICE, "frame range", "The plate's range, or first and last below.",
            "the plate's", choices=RANGES,
        ),
        Knob("first", INT, "first", "First frame of the result, for a custom range.", 1001),
        Knob("last", INT, "last", "Last frame of the result, for a custom range.", 1100, same_line=True),
        Knob(
            "handles", INT, "handles",
            "Frames before and after a custom range that help and are not returned. They end at the plate's "
                "ends.",
            handles, option="--handles", makes_result=True,
        ),
    )  # fmt: skip


def setup_panel() -> tuple[Knob, ...]:
    """The last tab."""
    return (
        Knob("setup", TAB, "Setup", ""),
        Knob(
            "color_space", STRING, "color space",
            "The plate's color space, as OpenColorIO or Nuke names it. Empty: the working space of this script.",
            "", makes_result=True,
        ),
        Knob(
            "depth", CHOICE, "depth", "Depth of the exchanged files. A half plate stays exact as half.",
            "16 bit half", choices=DEPTHS, makes_result=True,
        ),
        Knob(
            "views_wanted", STRING, "views",
            "Views, separated by commas. Empty: every view of this script. Each view is its own job.",
            "", makes_result=True,
        ),
        Knob(
            "daemon", STRING, "daemon",
            "Address of a daemon, as tcp://127.0.0.1:5577. Empty: each job starts a local daemon on this "
                "machine.",
            "",
        ),
        Knob("check", BUTTON, "Check connection", "Test the daemon with a tiny round trip.", same_line=True),
        Knob(
            "guard", CHOICE, "guard",
            "If a render would use a missing or outdated result: refuse stops it, warn writes to the console. The "
                "studio's is the variable NUKE_VOIDBRIDGE_GUARD; without it, refuse on the farm and warn with a "
                "GUI.",
            GUARDS[0], choices=GUARDS,
        ),
        Knob(
            "priority", INT, "priority",
            "Waiting jobs with a larger number start first on a shared daemon; users with the same number take "
                "turns.",
            0, option="--priority",
        ),
        Knob(
            "cache", FILE, "cache folder",
            "Folder for plates and results. Empty: beside the script; for an unsaved script, the temporary "
                "folder.",
            "",
        ),
        *site_knobs(),
        Knob(
            "report", BUTTON, "Copy report", "Versions, settings and the last job's output, for support.",
        ),
    )  # fmt: skip


def site_knobs() -> tuple[Knob, ...]:
    """The knobs for old versions and farms, on the last tab."""
    return (
        Knob(
            "purge", BUTTON, "Purge versions",
            "Delete every version but the one that is shown, after a question with their sizes.",
        ),
        Knob(
            "archive", BUTTON, "Archive versions",
            "Move every version but the one that is shown to the archive folder, after a question with their "
                "sizes. Each copy is verified before anything is deleted.",
            same_line=True,
        ),
        Knob(
            "archive_to", FILE, "archive folder", "Folder of the archive. Each node gets a folder in it.", "",
        ),
        Knob("farm", CHOICE, "farm", "The farm that gets the job files.", FARMS[0], choices=FARMS),
        Knob(
            "farm_then", STRING, "render behind it",
            "Command that waits for the result, such as nuke -x shot.nk 1001,1100. Empty: a render of the script.",
            "",
        ),
        Knob(
            "submit", BUTTON, "Submit",
            "Write the farm's files for this job and the render behind it. A site's command sends them.",
        ),
    )  # fmt: skip


def bookkeeping(operation: str) -> tuple[Knob, ...]:
    """The hidden knobs, which a saved node needs to find its results again."""
    return (
        Knob("operation", STRING, "operation", "The node's operation.", operation, hidden=True),
        Knob(
            "state", STRING, "state", "The status in few words, for the node's label.", "not rendered",
            hidden=True,
        ),
        Knob("node_version", INT, "node version", "The version that made this node.", NODE_VERSION, hidden=True),
        Knob("node_id", STRING, "node id", "Distinguishes this node from its copies.", "", hidden=True),
        Knob("homes", STRING, "homes", "Folders that hold versions of this node, newest last.", "", hidden=True),
        Knob("last_version", INT, "last version", "The highest number of its versions so far.", 0, hidden=True),
        Knob("result_files", STRING, "result files", "The frames that are shown.", "", hidden=True),
        Knob("plate_files", STRING, "plate files", "The plate of that result.", "", hidden=True),
        Knob(
            "version_record", FILE, "request record",
            "The record of the request, a file that asset collectors find.", "", hidden=True,
        ),
        Knob(
            "result_record", FILE, "result record",
            "The record of the result, a file that asset collectors find.", "", hidden=True,
        ),
        Knob("result_first", INT, "first shown", "First frame of the result.", 0, hidden=True),
        Knob("result_last", INT, "last shown", "Last frame; below the first without a result.", -1, hidden=True),
    )  # fmt: skip


def channel_name(text: str) -> str:
    """Returns a channel's full name: alpha is rgba.alpha."""
    return text if "." in text else f"rgba.{text}"


def with_values(table: Iterable[Knob]) -> tuple[Knob, ...]:
    """Returns the knobs with a value: no tabs, no buttons, no text."""
    return tuple(knob for knob in table if knob.has_value)


def chosen(knob: Knob, values: Mapping[str, Value]) -> Value:
    """Returns the value for the command: a choice that stands for a color is that color."""
    value = values[knob.name]
    return values[knob.picks] if knob.picks and value == knob.choices[-1] else value
