"""Every knob of the node, in panel order, with name, type and default.

The Group's text, the command line, the outdated check, and the table in docs/nuke.md are generated from it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Union

NODE_VERSION = 1
"""Version of the Group's text and its knobs. A saved node carries its version, and is migrated."""

Value = Union[str, int, float, bool]

TAB, INT, FLOAT, BOOL, CHOICE, STRING, FILE, BUTTON, TEXT = (
    "tab",
    "int",
    "float",
    "bool",
    "choice",
    "string",
    "file",
    "button",
    "text",
)


@dataclass(frozen=True)
class Knob:
    """One knob. `option` is the matching option of `voidbridge run`, if there is one."""

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


CHANNELS = ("alpha", "red", "green", "blue")
OUTPUTS = ("result", "plate", "quadmask", "result layer only", "difference")
RANGES = ("the plate's", "custom")
DEPTHS = ("16 bit half", "32 bit float")
GUARDS = ("the studio's", "refuse", "warn", "off")
NO_VERSION = "none"

SETTINGS = json.loads(Path(__file__).with_name("controls.json").read_text(encoding="utf-8"))
"""The settings of `voidbridge run` by name: option, kind, label, tooltip, default, choices. Made by `make docs`."""
KINDS = {"choice": CHOICE, "integer": INT, "number": FLOAT, "string": STRING, "boolean": BOOL}


def _setting(name: str, choices: tuple[str, ...] = (), same_line: bool = False) -> Knob:
    """The knob of a setting. With `choices` it offers only these."""
    said = SETTINGS[name]
    return Knob(
        name,
        CHOICE if choices else KINDS[said["kind"]],
        said["label"],
        said["tip"],
        said["default"],
        choices=choices or tuple(said.get("choices", ())),
        option=said["option"],
        makes_result=True,
        same_line=same_line,
    )


KNOBS = (
    Knob("voidbridge", TAB, "Voidbridge", ""),
    Knob("status", TEXT, "status", "State of the result.", "not rendered"),
    Knob("remove", BUTTON, "Remove", "Render plate and matte, remove, and show the result."),
    Knob("cancel", BUTTON, "Cancel", "Stop the job of this node.", same_line=True),
    Knob(
        "output", CHOICE, "output",
        "The node's output: the result, the untouched plate, the quadmask, only the generated pixels (with "
            "their alpha), or the difference between result and plate.",
        "result", choices=OUTPUTS,
    ),
    Knob(
        "preview", BUTTON, "Quadmask preview",
        "Show the quadmask: removed (black), affected (gray) and kept (white), growth and softness included; "
            "press again to go back.",
        same_line=True,
    ),
    Knob(
        "version_shown", CHOICE, "version",
        "The version that is shown. Versions are never deleted.",
        NO_VERSION, choices=(NO_VERSION,),
    ),
    Knob("reveal", BUTTON, "Reveal", "Show the folder of this result.", same_line=True),
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
        "Frames before and after a custom range that help and are not returned. They end at the plate's ends.",
        24, option="--handles", makes_result=True,
    ),
    Knob(
        "clean_frames", STRING, "clean frames",
        "Frames on which the input clean holds the painted background, as 1009,1050-1052; cleanplate only.",
        "", makes_result=True,
    ),
    Knob(
        "clean_whole", BOOL, "whole frames",
        "The input clean holds whole frames. Otherwise its alpha is 1 where paint lies.",
        False, makes_result=True, same_line=True,
    ),
    Knob("matte", TAB, "Matte", ""),
    Knob(
        "matte_channel", CHOICE, "matte channel",
        "The channel of the input matte that holds the matte. Shuffle a matte of another layer into one of these.",
        "alpha", choices=CHANNELS, makes_result=True,
    ),
    Knob(
        "matte_invert", BOOL, "invert", "Treat 1 as outside and 0 as the object.",
        False, makes_result=True, same_line=True,
    ),
    Knob(
        "affected_channel", CHOICE, "affected channel", "The channel of the input affected that holds its matte.",
        "alpha", choices=CHANNELS, makes_result=True,
    ),
    _setting("matte_kind"),
    _setting("matte_color", same_line=True),
    _setting("threshold"),
    _setting("grow"),
    _setting("soften"),
    _setting("allow_full_matte"),
    Knob("engine_tab", TAB, "Engine", ""),
    _setting("engine", choices=("cleanplate", "void")),
    _setting("prompt"),
    _setting("seed"),
    _setting("passes"),
    _setting("quality"),
    _setting("steps"),
    _setting("region"),
    _setting("detail"),
    _setting("grain"),
    _setting("grain_amount", same_line=True),
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
        "Address of a daemon, as tcp://127.0.0.1:5577. Empty: each job starts a local daemon on this machine.",
        "",
    ),
    Knob("check", BUTTON, "Check connection", "A tiny round trip through the daemon.", same_line=True),
    Knob(
        "guard", CHOICE, "guard",
        "If a render would use a missing or outdated result: refuse stops it, warn writes to the console. The "
            "studio's is the variable NUKE_VOIDBRIDGE_GUARD; without it, refuse on the farm and warn with a GUI.",
        GUARDS[0], choices=GUARDS,
    ),
    Knob("priority", INT, "priority", "Higher runs first on a shared daemon.", 0, option="--priority"),
    Knob(
        "cache", FILE, "cache folder",
        "Folder for plates and results. Empty: beside the script; for an unsaved script, the temporary folder.",
        "",
    ),
    Knob(
        "report", BUTTON, "Copy report", "Versions, settings and the last job's output, for support.",
    ),
    Knob("state", STRING, "state", "The status in few words, for the node's label.", "not rendered", hidden=True),
    Knob("node_version", INT, "node version", "The version that made this node.", NODE_VERSION, hidden=True),
    Knob("node_id", STRING, "node id", "Distinguishes this node from its copies.", "", hidden=True),
    Knob("homes", STRING, "homes", "Folders that hold versions of this node, newest last.", "", hidden=True),
    Knob("result_files", STRING, "result files", "The frames that are shown.", "", hidden=True),
    Knob("plate_files", STRING, "plate files", "The plate of that result.", "", hidden=True),
    Knob(
        "version_record", FILE, "request record", "The record of the request, a file that asset collectors find.",
        "", hidden=True,
    ),
    Knob(
        "result_record", FILE, "result record", "The record of the result, a file that asset collectors find.",
        "", hidden=True,
    ),
    Knob("result_first", INT, "first shown", "First frame of the result.", 0, hidden=True),
    Knob("result_last", INT, "last shown", "Last frame; below the first without a result.", -1, hidden=True),
)  # fmt: skip

BY_NAME = {knob.name: knob for knob in KNOBS}


def with_values() -> tuple[Knob, ...]:
    """Returns the knobs with a value: no tabs, no buttons, no text."""
    return tuple(knob for knob in KNOBS if knob.kind not in (TAB, BUTTON, TEXT))
