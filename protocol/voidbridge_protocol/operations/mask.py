"""The operation `mask`: tracks mattes of objects through a plate, and combines them into a quadmask.

Objects travel as one JSON text in the settings: a list of objects with `name`, `role`, `points`, `boxes`, `keys`
and `noun`. Pixels are counted from the top left corner of the display window.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.settings import OperationSettings, setting

from .operation import Operation, Role

ROLES = ("primary", "belonging", "affected")
RULES = ("shadow", "reflection", "contact")
"""Affected areas that can be found without a prompt; each becomes an object of that name."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
MAX_OBJECTS = 8
"""Each may have key mattes, which travel under a role of their own."""
MAX_PROMPTS = 1000
NOUN_ENGINE = "sam3"
"""The engine that finds objects by a noun."""
MAX_NOUN = 100
"""Characters of a noun."""
TOP_LEFT, BOTTOM_LEFT, PERCENT = ORIGINS = "top-left", "bottom-left", "bottom-left-percent"
"""Where prompts count from: the page, Nuke, and Fusion, whose shares of width and height are given in percent."""
HINT = "See `voidbridge mask --help` for the forms of --point, --not, --box, --key and --noun."


@dataclass(frozen=True)
class Point:
    """A click on `frame`; `label` is 1 on the object and 0 beside it."""

    frame: int
    x: float
    y: float
    label: int = 1


@dataclass(frozen=True)
class Box:
    """A rectangle around the object on `frame`; right and bottom are excluded."""

    frame: int
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class MaskObject:
    """One object with its prompts. `keys` are frames whose matte the artist gave as a file.

    A `noun`, as "the man", names everything in the shot that is one, and stands in place of all other prompts.
    """

    name: str = "object"
    role: str = "primary"
    points: tuple[Point, ...] = ()
    boxes: tuple[Box, ...] = ()
    keys: tuple[int, ...] = ()
    noun: str = ""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or self.name == "quadmask":
            raise BadSetting(
                f"{ascii(self.name)[:60]} cannot be the name of an object",
                "Use up to 32 letters, digits, - and _, a letter first; `quadmask` is taken.",
            )
        if self.role not in ROLES:
            raise BadSetting(f"the role {ascii(self.role)[:60]} is not one of {', '.join(ROLES)}")
        if self.noun:
            self._check_noun()
        else:
            self._check_prompts()

    @property
    def frames(self) -> list[int]:
        """Frames with a prompt that starts a matte, in order."""
        clicked = {point.frame for point in self.points if point.label}
        return sorted(clicked | {box.frame for box in self.boxes} | set(self.keys))

    def _check_noun(self) -> None:
        if self.points or self.boxes or self.keys:
            raise BadSetting(
                f"the object {self.name} has a noun, and clicks, boxes or key mattes too",
                "Give these an object of their own; objects of one role are combined.",
            )
        if len(self.noun) > MAX_NOUN or not self.noun.isprintable() or not self.noun.strip():
            raise BadSetting(
                f"the noun of {self.name} is not 1 to {MAX_NOUN} printable characters",
                'Write a short noun phrase, as "the man in the red coat".',
            )
        if ":" in self.noun:
            raise BadSetting(
                f"the noun of {self.name} holds a colon, which stands before an object's name",
                'Write it without the colon, as "the man in the red coat".',
            )

    def _check_prompts(self) -> None:
        if not self.frames:
            raise BadSetting(
                f"the object {self.name} has no click on it, no box, no key matte and no noun", HINT
            )
        if len(self.points) + len(self.boxes) + len(self.keys) > MAX_PROMPTS:
            raise BadSetting(f"the object {self.name} has more than {MAX_PROMPTS} prompts")
        numbers = [n for p in self.points for n in (p.x, p.y)]
        numbers += [n for b in self.boxes for n in (b.left, b.top, b.right, b.bottom)]
        if not all(math.isfinite(number) for number in numbers):
            raise BadSetting(f"the object {self.name} has a prompt that is not a number", HINT)
        for box in self.boxes:
            if box.right - box.left < 1 or box.bottom - box.top < 1:
                raise BadSetting(
                    f"the box of {self.name} on frame {box.frame} is empty: "
                    f"{box.left:g},{box.top:g} to {box.right:g},{box.bottom:g}",
                    "Give left, top, right and bottom, with right and bottom larger.",
                )
        lone = {p.frame for p in self.points if not p.label} - set(self.frames)
        if lone:
            raise BadSetting(
                f"frame {min(lone)} of {self.name} has only clicks beside the object",
                "Add a click on the object or a box on that frame.",
            )


@dataclass(frozen=True)
class MaskSettings(OperationSettings):
    """The artist's choices and prompts."""

    engine: str = setting(
        "flow",
        "`flow` needs no weights; `sam2` and `sam3` have weights that are your own",
        group="the engine",
        metavar="NAME",
    )
    objects: str = setting(
        "", "prompts of all objects, as JSON", group="the prompts", is_option=False
    )
    color_space: str = setting(
        "",
        "color space of the plate, as the OpenColorIO config spells it; default: as the file says, else ACEScg",
        group="the shot",
        metavar="NAME",
    )
    layer: str = setting(
        "",
        "layer of the plate to look at, as `ViewLayer.Combined`",
        group="the shot",
        metavar="NAME",
    )
    grid: bool = setting(
        True,
        "widen affected areas to the cells of the model's grid, 8 on the short side",
        group="the matte",
        is_option=False,
    )
    find: str = setting(
        "",
        "affected areas to find by rules, separated by commas: shadow, reflection, contact",
        group="the matte",
        metavar="RULES",
        is_option=False,
    )
    origin: str = setting(
        TOP_LEFT,
        "corner of the display window that prompts count from; percent: of its width and height",
        choices=ORIGINS,
        group="the prompts",
        is_option=False,
    )
    layered: bool = setting(
        False,
        "write one picture a frame: A is removed, R affected, G the quadmask, B also removed",
        group="the matte",
        is_option=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        objects = parsed(self.objects) if self.objects else ()
        named = {found.name for found in objects}
        nouns = [found.noun for found in objects if found.noun]
        if nouns and self.engine != NOUN_ENGINE:
            raise BadSetting(
                f"the engine {self.engine} finds nothing by a noun, and {nouns[0]!a} is one",
                f"Use --engine {NOUN_ENGINE}, or click on the object.",
            )
        for rule in self.rules:
            if rule not in RULES:
                raise BadSetting(
                    f"no rule finds {ascii(rule)[:60]}", f"The rules are: {', '.join(RULES)}."
                )
            if rule in named:
                raise BadSetting(
                    f"{rule} is an object with prompts, and a rule would find it too",
                    "Drop the rule, or give the object another name.",
                )

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules of `find`, each once."""
        return tuple(dict.fromkeys(rule.strip() for rule in self.find.split(",") if rule.strip()))

    def masked(self) -> tuple[MaskObject, ...]:
        """The objects. Raises `BadSetting` without any."""
        if not self.objects:
            raise BadSetting("no object is named", HINT)
        return parsed(self.objects)


def written(objects: Iterable[MaskObject]) -> str:
    """The objects as the JSON text of the settings; the same objects give the same text."""
    return json.dumps([asdict(found) for found in objects], sort_keys=True, separators=(",", ":"))


UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError)
"""Raised by values of another kind. JSON also has numbers that are too large for Python's conversions."""


def parsed(text: str) -> tuple[MaskObject, ...]:
    """The objects in this JSON text. Raises `BadSetting`."""
    try:
        objects = tuple(_object(entry) for entry in json.loads(text))
    except (*UNREADABLE, RecursionError) as error:
        raise BadSetting(f"the prompts cannot be read: {ascii(str(error))[:120]}", HINT) from error
    names = [found.name for found in objects]
    if len(set(names)) != len(names):
        raise BadSetting(f"two objects have the same name among {', '.join(names)}")
    if not 1 <= len(objects) <= MAX_OBJECTS:
        raise BadSetting(
            f"{len(objects)} objects are named; from 1 to {MAX_OBJECTS} can be tracked at once",
            HINT,
        )
    return objects


def key_role(index: int) -> str:
    """The role of files with key mattes of object `index`."""
    return f"key-{index}"


def _object(entry: dict[str, Any]) -> MaskObject:
    return MaskObject(
        name=str(entry.get("name", "object")),
        role=str(entry.get("role", "primary")),
        points=tuple(
            Point(int(p["frame"]), float(p["x"]), float(p["y"]), int(p.get("label", 1)))
            for p in entry.get("points", ())
        ),
        boxes=tuple(
            Box(int(b["frame"]), *(float(b[edge]) for edge in ("left", "top", "right", "bottom")))
            for b in entry.get("boxes", ())
        ),
        keys=tuple(int(frame) for frame in entry.get("keys", ())),
        noun=str(entry.get("noun", "")),
    )


OPERATION = Operation(
    "mask",
    MaskSettings,
    (
        Role("plate"),
        *(Role(key_role(i), is_required=False, covers_all=False) for i in range(MAX_OBJECTS)),
    ),
)
