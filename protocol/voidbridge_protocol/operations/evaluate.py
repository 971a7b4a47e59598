"""The operation `evaluate`: a LoRA on the held-out pairs of its show, beside the base without it.

The result is a contact sheet (PNG). The figures are in the record of the job, under `evaluation`.
"""

from __future__ import annotations

from dataclasses import dataclass

from voidbridge_protocol.errors import BadSetting
from voidbridge_protocol.settings import OperationSettings, setting

from .operation import Operation, Role

SHEET = 1
"""Number of the result."""
MOST_STRENGTHS = 12
"""Strengths that one evaluation compares at most, so that the sheet stays readable."""
STRONGEST = 4.0
"""Largest strength of either sign, as in a removal."""
SHOW, COMPARISON = "the show", "the comparison"


@dataclass(frozen=True)
class EvaluateSettings(OperationSettings):
    """How a LoRA is compared with its base."""

    engine: str = setting(
        "void",
        "`void` evaluates a LoRA for the engine of that name",
        group=COMPARISON,
        metavar="NAME",
        is_option=False,
    )
    show: str = setting("", "name of the show, for the sheet", group=SHOW, is_option=False)
    pass_number: int = setting(
        1, "the pass that the LoRA is for", group=SHOW, choices=(1, 2), is_option=False
    )
    strengths: str = setting(
        "0,0.25,0.5,0.75,1",
        "strengths of the LoRA to compare",
        group=COMPARISON,
        metavar="LIST",
    )
    steps: int = setting(
        0,
        "steps of each pass; 0: as many as a removal",
        group=COMPARISON,
        metavar="N",
        least=0,
        most=1000,
    )
    seed: int = setting(
        0, "seed of the noise", group=COMPARISON, metavar="N", least=0, most=2**63 - 1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.values  # noqa: B018  # raises for a list that cannot be read

    @property
    def values(self) -> tuple[float, ...]:
        """The strengths, each once, in order. Raises `BadSetting`."""
        try:
            found = tuple(dict.fromkeys(float(word) for word in self.strengths.split(",")))
        except ValueError as error:
            raise BadSetting(
                f"strengths {self.strengths[:80]!r} is not a list of numbers",
                "Write it as 0,0.5,1.",
            ) from error
        if len(found) > MOST_STRENGTHS:
            raise BadSetting(f"{len(found)} strengths; one evaluation has at most {MOST_STRENGTHS}")
        if wrong := [value for value in found if not abs(value) <= STRONGEST]:
            raise BadSetting(f"the strength {wrong[0]:g} does not lie in [-4, 4]")
        return found


OPERATION = Operation(
    "evaluate",
    EvaluateSettings,
    (
        Role("held", covers_all=False, is_picture=False),
        Role("lora", covers_all=False, is_picture=False),
    ),
    is_exclusive=True,
)
