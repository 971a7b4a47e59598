"""Every knob of the node, in panel order, with name, type and default.

The Group's text, the command line, the outdated check, and the table in docs/nuke.md are generated from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

NODE_VERSION = 2
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
NO_VERSION = "none"

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
        "frame_range", CHOICE, "frame range", "The plate's range, or first and last below.",
        "the plate's", choices=RANGES,
    ),
    Knob("first", INT, "first", "First frame of the result, for a custom range.", 1001),
    Knob("last", INT, "last", "Last frame of the result, for a custom range.", 1100, same_line=True),
    Knob(
        "handles", INT, "handles",
        "Frames before and after a custom range that help and are not returned. They end at the plate's ends.",
        0, option="--handles", makes_result=True,
    ),
    Knob("matte", TAB, "Matte", ""),
    Knob(
        "matte_channel", CHOICE, "matte channel", "The channel of the input matte that holds the matte.",
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
    Knob(
        "matte_kind", CHOICE, "kind",
        "A plain matte, or a quadmask with the codes 0, 63, 127 and 255 (or codes / 255). auto detects it.",
        "auto", choices=("auto", "matte", "quadmask"), option="--matte-kind", makes_result=True,
    ),
    Knob(
        "matte_color", CHOICE, "color managed",
        "If a quadmask went through a color transform: refuse it, or undo the transform.",
        "refuse", choices=("refuse", "undo"), option="--matte-color", makes_result=True, same_line=True,
    ),
    Knob(
        "threshold", FLOAT, "threshold", "A plain matte counts from this value on, above 0 and at most 1.",
        0.1, option="--threshold", makes_result=True,
    ),
    Knob(
        "grow", INT, "grow", "Grow the matte by this many pixels of the plate.",
        8, option="--grow", makes_result=True,
    ),
    Knob(
        "soften", INT, "soften", "Feather width outside the grown matte, in pixels of the plate.",
        8, option="--soften", makes_result=True,
    ),
    Knob("engine_tab", TAB, "Engine", ""),
    Knob(
        "engine", CHOICE, "engine",
        "cleanplate takes the background from other frames, on the CPU; void is the generative model.",
        "cleanplate", choices=("cleanplate", "void"), option="--engine", makes_result=True,
    ),
    Knob(
        "prompt", STRING, "prompt", "The scene without the object, for void.",
        "", option="--prompt", makes_result=True,
    ),
    Knob("seed", INT, "seed", "Another seed gives another variation.", 0, option="--seed", makes_result=True),
    Knob(
        "passes", CHOICE, "passes", "Passes of void: two are steadier in time and take twice as long.",
        "1", choices=("1", "2"), option="--passes", makes_result=True,
    ),
    Knob(
        "quality", CHOICE, "quality",
        "void only: preview takes half the time or less and is not for delivery; deliver full.",
        "full", since=2, choices=("full", "preview"), option="--quality", makes_result=True,
    ),
    Knob(
        "steps", INT, "steps", "Denoising steps of void; 0 lets the engine choose.",
        0, option="--steps", makes_result=True,
    ),
    Knob(
        "region", CHOICE, "region",
        "The region that void sees: one rectangle around the whole removal (union), one that follows it "
            "(track; the most detail), or the whole frame (full).",
        "union", choices=("union", "track", "full"), option="--region", makes_result=True,
    ),
    Knob(
        "detail", FLOAT, "detail",
        "Strength of the full-resolution detail pass (void only), 0 to below 1; 0 = off.",
        0.0, option="--detail", makes_result=True,
    ),
    Knob(
        "grain", CHOICE, "grain", "Add matching plate grain to generated pixels.",
        "auto", choices=("auto", "off"), option="--grain", makes_result=True,
    ),
    Knob(
        "grain_amount", FLOAT, "amount", "Multiple of the missing grain that is added, 0 to 4.",
        1.0, option="--grain-amount", makes_result=True, same_line=True,
    ),
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
    Knob("result_first", INT, "first shown", "First frame of the result.", 0, hidden=True),
    Knob("result_last", INT, "last shown", "Last frame; below the first without a result.", -1, hidden=True),
)  # fmt: skip

BY_NAME = {knob.name: knob for knob in KNOBS}


def with_values() -> tuple[Knob, ...]:
    """Returns the knobs with a value: no tabs, no buttons, no text."""
    return tuple(knob for knob in KNOBS if knob.kind not in (TAB, BUTTON, TEXT))
