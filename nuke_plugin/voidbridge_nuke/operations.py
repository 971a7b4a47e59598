"""The operations that have a node, as data: inputs, knobs, outputs and command.

Everything else of a node is the same for all: rendering, the job, its status, versions, the farm. An operation that
gets a node needs an entry here and the inside of its Group.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Mapping

from .knobs import (
    BOOL,
    BOX,
    BUTTON,
    CHANNELS,
    CHOICE,
    COLOR,
    POINT,
    STRING,
    TAB,
    Knob,
    Value,
    bookkeeping,
    setting,
    setup_panel,
    work_panel,
)


@dataclass(frozen=True)
class NodeInput:
    """One input of a node, whose frames are rendered to files."""

    role: str
    """Its name, and that of its files."""
    option: str = ""
    """Option of the command for its files; empty: they are an argument, in the order of the inputs."""
    missing: str = ""
    """Advice if nothing is connected; empty: the input is optional."""
    listed_by: str = ""
    """Knob that lists its frames; empty: it has all that are rendered."""
    is_within: bool = False
    """True if the listed frames have to be named and lie among the rendered ones. Each is an option of its own."""
    only_for: tuple[str, ...] = ()
    """Values of the operation's `leading` knob that use it; empty: all."""
    from_first: int = 0
    """Number of its frames that are rendered, from its own first frame; 0: those of the plate."""
    is_instead: bool = False
    """True if one frame of it stands for the plate's last one."""

    def is_used(self, mode: str) -> bool:
        return not self.only_for or mode in self.only_for


@dataclass(frozen=True)
class HostOperation:
    """One operation as a node shows it. The first input is the plate."""

    name: str
    node: str
    """Name of a new node."""
    command: str
    button: str
    """Label of the button that starts a job."""
    inputs: tuple[NodeInput, ...]
    knobs: tuple[Knob, ...]
    free_outputs: tuple[str, ...]
    """Outputs that show no result, so that none is needed."""
    flags: tuple[str, ...] = ()
    """Words that every command of the operation has."""
    reach: int = 0
    """Frames on each side of the range that are rendered, if no knob says it."""
    leading: str = ""
    """Knob whose value is the first word behind the command."""
    beyond: tuple[str, ...] = ()
    """Values of `leading` whose frames adjoin the plate. Those of others have plate on both sides."""
    by_length: tuple[str, ...] = ()
    """Values of `leading` whose command takes the number of frames."""

    @property
    def by_name(self) -> dict[str, Knob]:
        return {knob.name: knob for knob in self.knobs}

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.by_name["output"].choices


PLATE = NodeInput("plate", missing="Connect the plate.")

_remove = partial(setting, "remove")
REMOVE = HostOperation(
    "remove", "Voidbridge", "run", "Remove",
    (
        PLATE,
        NodeInput("matte", missing="Connect a matte that is 1 on the object."),
        NodeInput("affected", "--affected"),
        NodeInput("clean", "--clean", listed_by="clean_frames", is_within=True),
    ),
    (
        *work_panel(
            "Voidbridge",
            Knob("remove", BUTTON, "Remove", "Render plate and matte, remove, and show the result."),
            ("result", "plate", "quadmask", "result layer only", "difference"),
            "The node's output: the result, the untouched plate, the quadmask, only the generated pixels (with "
                "their alpha), or the difference between result and plate.",
            24,
            (
                Knob(
                    "preview", BUTTON, "Quadmask preview",
                    "Show the quadmask: removed (black), affected (gray) and kept (white), growth and softness "
                        "included; press again to go back.",
                    same_line=True,
                ),
            ),
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
        _remove("layer", within="Spelled as Nuke shows it, as beauty; empty: red, green and blue."),
        Knob("matte", TAB, "Matte", ""),
        _remove("matte_channel", within="Spelled as Nuke shows it, as mask.red.", default="alpha"),
        Knob(
            "matte_invert", BOOL, "invert", "Treat 1 as outside and 0 as the object.",
            False, makes_result=True, same_line=True,
        ),
        _remove("affected_channel", within="Spelled as Nuke shows it.", default="alpha"),
        Knob(
            "matte_start", STRING, "matte start",
            "Number of the mattes' first frame, as 0 for tools that count from 0. Empty: the mattes have the "
                "plate's numbers.",
            "", makes_result=True,
        ),
        _remove("matte_kind"),
        _remove("matte_color", same_line=True),
        _remove("threshold"),
        _remove("grow"),
        _remove("soften"),
        _remove("allow_full_matte"),
        Knob("engine_tab", TAB, "Engine", ""),
        _remove("engine", choices=("cleanplate", "void")),
        _remove("prompt"),
        _remove("lora"),
        _remove("seed"),
        _remove("passes"),
        _remove("quality"),
        _remove("half_rate"),
        _remove("steps"),
        _remove("region"),
        _remove("detail"),
        _remove("grain"),
        _remove("grain_amount", same_line=True),
        *setup_panel(),
        *bookkeeping("remove"),
    ),
    ("plate", "quadmask"),
)  # fmt: skip

_key = partial(setting, "key")
KEY = HostOperation(
    "key", "VoidbridgeKey", "key", "Key",
    (
        PLATE,
        NodeInput("hint"),
        NodeInput("screen", "--clean-screen", listed_by="screen_frames"),
    ),
    (
        *work_panel(
            "Voidbridge Key",
            Knob("key", BUTTON, "Key", "Render all connected inputs, key, and show the result."),
            ("premultiplied", "straight", "alpha", "clean screen", "all layers", "plate"),
            "The node's output: the foreground with its alpha, premultiplied or straight; the alpha; the screen "
                "without the foreground; the layers fg, alpha and screen as in the file; or the untouched plate.",
            8,
        ),
        _key("layer", within="Spelled as Nuke shows it, as beauty; empty: red, green and blue."),
        Knob("screen_tab", TAB, "Screen", ""),
        _key("screen_color", choices=("auto", "green", "blue", "picked"), picks="screen_rgb"),
        Knob(
            "screen_rgb", COLOR, "picked",
            "The color of the screen, for picked: choose the eyedropper, and pick a bright part in the viewer.",
            "0.06 0.42 0.1",
        ),
        Knob(
            "screen_frames", STRING, "screen frames",
            "Frames of the input screen to send, as 1001,1050-1052; each frame takes the nearest. Empty: every "
                "frame that is keyed. One is enough if the camera stands still.",
            "", makes_result=True,
        ),
        _key("despill"),
        _key("despill_balance"),
        Knob("hint", TAB, "Hint", ""),
        Knob(
            "hint_channel", CHOICE, "hint channel",
            "The channel of the input hint that holds the rough alpha of the foreground.",
            "alpha", choices=CHANNELS, makes_result=True,
        ),
        Knob(
            "hint_invert", BOOL, "invert", "Treat 1 as screen and 0 as foreground.",
            False, makes_result=True, same_line=True,
        ),
        _key("core"),
        _key("garbage"),
        _key("despeckle"),
        Knob("engine_tab", TAB, "Engine", ""),
        _key("engine", choices=("chroma", "corridorkey")),
        _key("quality"),
        _key("refiner"),
        *setup_panel(),
        *bookkeeping("key"),
    ),
    ("plate",),
)  # fmt: skip

_mask = partial(setting, "mask")
MASK = HostOperation(
    "mask", "VoidbridgeMask", "mask", "Track",
    (
        PLATE,
        NodeInput("seed", "--key", listed_by="key_frames", is_within=True),
    ),
    (
        *(
            knob
            for knob in work_panel(
                "Track",
                Knob("track", BUTTON, "Track", "Render the plate, track the objects, and show their mattes."),
                ("mattes", "overlay", "quadmask", "plate"),
                "The node's output: the mattes, with what is removed in alpha and what is affected in red; both "
                    "over the plate; the quadmask; or the untouched plate.",
                0,
                (
                    Knob(
                        "again", BUTTON, "Re-track from here",
                        "Keep the frames before the current one, and track again from it on.",
                        same_line=True,
                    ),
                    Knob(
                        "use", BUTTON, "Remove with these",
                        "Connect the mattes to the selected Voidbridge node, or to a new one.",
                        same_line=True,
                    ),
                ),
            )
            if knob.name != "handles"
        ),
        _mask("layer", within="Spelled as Nuke shows it, as beauty; empty: red, green and blue."),
        Knob(
            "prompts", STRING, "prompts",
            "All prompts, separated by semicolons, as point 1001:640,360; not 1001:900,200; "
                "box 1001:600,300,760,480:ball; role ball=affected. Pixels count from the bottom left.",
            "", makes_result=True,
        ),
        Knob("undo_prompt", BUTTON, "Drop last", "Remove the last prompt.", same_line=True),
        Knob(
            "point", POINT, "point",
            "A place in the viewer. Link it to the track of a Tracker to take many frames at once.", "960 540",
        ),
        Knob("add_point", BUTTON, "On the object", "Add the point as a click on the object."),
        Knob("add_not", BUTTON, "Beside it", "Add the point as a click beside the object.", same_line=True),
        Knob("box", BOX, "box", "A rectangle around the whole object.", "800 400 1120 680"),
        Knob("add_box", BUTTON, "Add box", "Add the box for the object."),
        Knob("noun", STRING, "noun", "The object in words, such as the man in the red coat; for sam3.", ""),
        Knob(
            "add_noun", BUTTON, "Add noun", "Add the noun for the object, in place of clicks.", same_line=True
        ),
        Knob(
            "prompt_frames", STRING, "at frames",
            "Frames at which point and box are taken, as 1001,1020-1024. Empty: the current frame.", "",
        ),
        Knob("object", STRING, "object", "Name of the object that a new prompt is for.", "object"),
        Knob(
            "object_role", CHOICE, "role",
            "Role of a new prompt's object: primary and belonging are removed, affected is what they change.",
            "primary", choices=("primary", "belonging", "affected"), same_line=True,
        ),
        Knob(
            "key_frames", STRING, "key frames",
            "Frames on which the alpha of the input seed holds a painted or roto matte, as 1001,1050.",
            "", makes_result=True,
        ),
        _mask("find"),
        Knob(
            "affected", STRING, "affected mattes",
            "Files of existing affected mattes, such as the answer of a language model: asked/affected.%04d.exr.",
            "", option="--affected", makes_result=True,
        ),
        Knob(
            "ask", BUTTON, "Ask for what is affected",
            "Draw the pictures for a vision language model, name their folder, and send them after a yes.",
        ),
        Knob("engine_tab", TAB, "Engine", ""),
        _mask("engine", choices=("flow", "sam2", "sam3")),
        *setup_panel(),
        *bookkeeping("mask"),
    ),
    ("plate",),
    ("--one-file", "--origin=bottom-left"),
)  # fmt: skip

_generate = partial(setting, "generate")
GENERATE = HostOperation(
    "generate", "VoidbridgeGenerate", "generate", "Generate",
    (
        PLATE,
        NodeInput("tail", missing="Connect the clip behind the gap.", only_for=("bridge",), from_first=16),
        NodeInput(
            "reference", listed_by="reference_frame", only_for=("from-frame",), from_first=1, is_instead=True
        ),
    ),
    (
        *(
            knob
            for knob in work_panel(
                "Generate",
                Knob("generate", BUTTON, "Generate", "Render the frames around the range, and make the new ones."),
                ("result", "plate"),
                "The node's output: the new frames, with the plate everywhere else; or the untouched plate.",
                0,
                (
                    Knob(
                        "next_take", BUTTON, "Next take", "Raise the seed by one, and generate.",
                        same_line=True,
                    ),
                ),
            )
            if knob.name not in ("handles", "test_frame")
        ),
        Knob(
            "mode", CHOICE, "mode",
            "retake makes frames of the plate again, or those of a gap; bridge joins it to the first frame of the "
                "input tail; extend carries it on, ahead or behind; text and from-frame make a clip behind it; hdr "
                "finds scene-linear light. The last three need ltx.",
            "retake", choices=("retake", "bridge", "extend", "from-frame", "text", "hdr"), makes_result=True,
        ),
        Knob(
            "reference_frame", STRING, "reference frame",
            "Frame of the input reference from which from-frame continues, instead of the plate's last one. Empty: "
                "its first.",
            "", makes_result=True,
        ),
        _generate("motion"),
        _generate("grain"),
        Knob("engine_tab", TAB, "Engine", ""),
        _generate("engine", choices=("morph", "ltx")),
        _generate("prompt"),
        _generate("negative_prompt"),
        _generate("seed"),
        _generate("lora"),
        _generate("schedule"),
        _generate("steps"),
        _generate("upscale"),
        _generate("sound"),
        _generate("precision"),
        *setup_panel(),
        *bookkeeping("generate"),
    ),
    ("plate",),
    reach=16,
    leading="mode",
    beyond=("bridge", "extend", "from-frame", "text"),
    by_length=("bridge",),
)  # fmt: skip

OPERATIONS = {operation.name: operation for operation in (REMOVE, KEY, MASK, GENERATE)}
ROLES = tuple(dict.fromkeys(spec.role for one in OPERATIONS.values() for spec in one.inputs))
"""Names of the files that any node renders."""


def operation_of(values: Mapping[str, Value]) -> HostOperation:
    """Returns the operation of a node with these values."""
    return OPERATIONS[str(values["operation"])]
