"""Every knob of the node, in the order of its panel: the one place that knows their names, types and defaults.

The Group's text, the command line, what makes a result stale, and the table in docs/nuke.md come from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

NODE_VERSION = 2
"""Of the Group's text and its knobs. A saved node carries the one it was made with, and is migrated."""

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
    """One knob. `option` is the option of `voidbridge run` that it becomes, if it becomes one as it is."""

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
    """Whether another value makes another result, so that the one at hand is stale."""
    same_line: bool = False
    hidden: bool = False


CHANNELS = ("alpha", "red", "green", "blue")
OUTPUTS = ("result", "plate", "quadmask", "result layer only", "difference")
RANGES = ("the plate's", "custom")
DEPTHS = ("16 bit half", "32 bit float")
NO_VERSION = "none"

KNOBS = (
    Knob("voidbridge", TAB, "Voidbridge", ""),
    Knob("status", TEXT, "status", "How the result stands.", "not rendered"),
    Knob("remove", BUTTON, "Remove", "Render plate and matte, remove, and show the result."),
    Knob("cancel", BUTTON, "Cancel", "Stop the job of this node.", same_line=True),
    Knob(
        "output", CHOICE, "output",
        "What the node gives: the result, the untouched plate, the quadmask as far as it reaches, only what was "
        "generated (its alpha says where), or how much result and plate differ.",
        "result", choices=OUTPUTS,
    ),
    Knob(
        "preview", BUTTON, "Quadmask preview",
        "Look at what would be removed (black), is affected (gray) and is kept (white), growth and softness "
        "included; press again to go back.",
        same_line=True,
    ),
    Knob(
        "version_shown", CHOICE, "version",
        "Which of the earlier results is shown. None is ever deleted.",
        NO_VERSION, choices=(NO_VERSION,),
    ),
    Knob("reveal", BUTTON, "Reveal", "Show the folder of this result.", same_line=True),
    Knob(
        "frame_range", CHOICE, "frame range", "The range of the plate, or first and last below.",
        "the plate's", choices=RANGES,
    ),
    Knob("first", INT, "first", "First frame of the result, for a custom range.", 1001),
    Knob("last", INT, "last", "Last frame of the result, for a custom range.", 1100, same_line=True),
    Knob(
        "handles", INT, "handles",
        "Frames before and after a custom range that help and are not returned. They end where the plate ends.",
        0, option="--handles", makes_result=True,
    ),
    Knob("matte", TAB, "Matte", ""),
    Knob(
        "matte_channel", CHOICE, "matte channel", "Where in the input matte the matte is.",
        "alpha", choices=CHANNELS, makes_result=True,
    ),
    Knob(
        "matte_invert", BOOL, "invert", "Take 1 for outside and 0 for the object.",
        False, makes_result=True, same_line=True,
    ),
    Knob(
        "affected_channel", CHOICE, "affected channel", "Where in the input affected its matte is.",
        "alpha", choices=CHANNELS, makes_result=True,
    ),
    Knob(
        "matte_kind", CHOICE, "kind",
        "A plain matte, or a quadmask with the codes 0, 63, 127 and 255 (or those divided by 255). auto looks.",
        "auto", choices=("auto", "matte", "quadmask"), option="--matte-kind", makes_result=True,
    ),
    Knob(
        "matte_color", CHOICE, "color managed",
        "When a quadmask went through a color transform: refuse it, or undo what was done to it.",
        "refuse", choices=("refuse", "undo"), option="--matte-color", makes_result=True, same_line=True,
    ),
    Knob(
        "threshold", FLOAT, "threshold", "A plain matte counts from this value on, above 0 and at most 1.",
        0.1, option="--threshold", makes_result=True,
    ),
    Knob(
        "grow", INT, "grow", "Grow the matte by so many pixels of the plate.",
        8, option="--grow", makes_result=True,
    ),
    Knob(
        "soften", INT, "soften", "Behind the growth, fade into the plate over so many pixels.",
        8, option="--soften", makes_result=True,
    ),
    Knob("engine_tab", TAB, "Engine", ""),
    Knob(
        "engine", CHOICE, "engine",
        "cleanplate fetches the background from other frames, on the CPU; void is the model.",
        "cleanplate", choices=("cleanplate", "void"), option="--engine", makes_result=True,
    ),
    Knob(
        "prompt", STRING, "prompt", "The scene without the object, for void.",
        "", option="--prompt", makes_result=True,
    ),
    Knob("seed", INT, "seed", "Another seed, another invention.", 0, option="--seed", makes_result=True),
    Knob(
        "passes", CHOICE, "passes", "Passes of void: two are steadier in time and take twice as long.",
        "1", choices=("1", "2"), option="--passes", makes_result=True,
    ),
    Knob(
        "quality", CHOICE, "quality",
        "Of void: preview takes half the time or less and is for looking; deliver full.",
        "full", since=2, choices=("full", "preview"), option="--quality", makes_result=True,
    ),
    Knob(
        "steps", INT, "steps", "Denoising steps of void; 0 leaves it to the engine.",
        0, option="--steps", makes_result=True,
    ),
    Knob(
        "region", CHOICE, "region",
        "What void is shown: one rectangle around all that is removed (union), one that follows it (track; the "
        "most detail), or the whole frame (full).",
        "union", choices=("union", "track", "full"), option="--region", makes_result=True,
    ),
    Knob(
        "detail", FLOAT, "detail",
        "How strongly void works its result over at the plate's resolution, 0 to below 1; 0: not at all.",
        0.0, option="--detail", makes_result=True,
    ),
    Knob(
        "grain", CHOICE, "grain", "Put the plate's grain on generated pixels that lack it.",
        "auto", choices=("auto", "off"), option="--grain", makes_result=True,
    ),
    Knob(
        "grain_amount", FLOAT, "amount", "How much of the grain that is missing, 0 to 4.",
        1.0, option="--grain-amount", makes_result=True, same_line=True,
    ),
    Knob("setup", TAB, "Setup", ""),
    Knob(
        "color_space", STRING, "color space",
        "What the plate's pixels are, as OpenColorIO or Nuke names it. Empty: the working space of this script.",
        "", makes_result=True,
    ),
    Knob(
        "depth", CHOICE, "depth", "Of the files that are exchanged. A plate that was half stays exact as half.",
        "16 bit half", choices=DEPTHS, makes_result=True,
    ),
    Knob(
        "views_wanted", STRING, "views",
        "Which views, with commas between. Empty: every view of this script. Each is a job of its own.",
        "", makes_result=True,
    ),
    Knob(
        "daemon", STRING, "daemon",
        "Address of a daemon, as tcp://127.0.0.1:5577. Empty: each job starts one of its own on this machine.",
        "",
    ),
    Knob("check", BUTTON, "Check connection", "A tiny round trip through the daemon.", same_line=True),
    Knob("priority", INT, "priority", "Higher runs first on a shared daemon.", 0, option="--priority"),
    Knob(
        "cache", FILE, "cache folder",
        "Where plates and results go. Empty: beside the script; before that is saved, the temporary folder.",
        "",
    ),
    Knob(
        "report", BUTTON, "Copy report", "Versions, settings and how the last job went, for whoever helps.",
    ),
    Knob("state", STRING, "state", "The status in few words, for the node's label.", "not rendered", hidden=True),
    Knob("node_version", INT, "node version", "What this node was made with.", NODE_VERSION, hidden=True),
    Knob("node_id", STRING, "node id", "Tells this node from its copies.", "", hidden=True),
    Knob("homes", STRING, "homes", "Folders that hold versions of this node, newest last.", "", hidden=True),
    Knob("result_files", STRING, "result files", "The frames that are shown.", "", hidden=True),
    Knob("plate_files", STRING, "plate files", "The plate that they were made from.", "", hidden=True),
    Knob("result_first", INT, "first shown", "First frame of the result.", 0, hidden=True),
    Knob("result_last", INT, "last shown", "Last frame; below the first without a result.", -1, hidden=True),
)  # fmt: skip

BY_NAME = {knob.name: knob for knob in KNOBS}


def with_values() -> tuple[Knob, ...]:
    """Those that hold something: no tabs, no buttons, no text."""
    return tuple(knob for knob in KNOBS if knob.kind not in (TAB, BUTTON, TEXT))
