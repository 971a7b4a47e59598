"""The operation `train`: a LoRA for a show, from pairs of its own clips.

The files are pairs that `voidbridge dataset` encoded. Result 1 is the LoRA, result 2 a picture of the losses.
"""

from __future__ import annotations

from dataclasses import dataclass

from voidbridge_protocol.settings import OperationSettings, setting

from .operation import Operation, Role

LORA, PLOT = 1, 2
"""Numbers of the results."""
SHOW, LEARNING, MACHINE = "the show", "the learning", "the machine"


@dataclass(frozen=True)
class TrainSettings(OperationSettings):
    """How a LoRA is trained. The defaults are those of `docs/lora.md`."""

    engine: str = setting(
        "void", "`void` trains a LoRA for the engine of that name", group=MACHINE, metavar="NAME"
    )
    show: str = setting(
        "",
        "name of the show, for the file and for results",
        group=SHOW,
        metavar="NAME",
        is_option=False,
    )
    pass_number: int = setting(
        1, "the pass that the LoRA is for", group=SHOW, label="pass", choices=(1, 2)
    )
    rank: int = setting(64, "rank of the LoRA", group=LEARNING, metavar="N", least=1, most=1024)
    steps: int = setting(
        2000, "largest number of steps", group=LEARNING, metavar="N", least=1, most=1_000_000
    )
    accumulate: int = setting(
        4, "pairs in one step, one after the other", group=LEARNING, metavar="N", least=1, most=1024
    )
    learning_rate: float = setting(
        1e-4, "learning rate after the warm-up", group=LEARNING, metavar="X", above=0, most=1
    )
    warmup: int = setting(
        100, "steps in which the rate rises", group=LEARNING, metavar="N", least=0, most=1_000_000
    )
    weight_decay: float = setting(
        0.01, "weight decay of AdamW", group=LEARNING, metavar="X", least=0, most=1
    )
    clip: float = setting(
        1.0, "largest norm of a step's gradient", group=LEARNING, metavar="X", above=0, most=1000
    )
    hole_weight: float = setting(
        3.0,
        "additional weight of the loss inside primary and affected",
        group=LEARNING,
        metavar="X",
        least=0,
        most=1000,
    )
    caption_dropout: float = setting(
        0.1,
        "share of the pairs shown without their prompt",
        group=LEARNING,
        metavar="X",
        least=0,
        most=1,
    )
    validate_every: int = setting(
        100,
        "steps between two measurements of the held-out pairs",
        group=LEARNING,
        metavar="N",
        least=1,
        most=1_000_000,
    )
    patience: int = setting(
        5,
        "measurements without progress after which the training stops; 0 never stops early",
        group=LEARNING,
        metavar="N",
        least=0,
        most=1_000_000,
    )
    seed: int = setting(
        0, "seed of everything random", group=LEARNING, metavar="N", least=0, most=2**63 - 1
    )
    checkpoint_every: int = setting(
        50, "steps between two checkpoints", group=MACHINE, metavar="N", least=1, most=1_000_000
    )
    base: str = setting(
        "full",
        "`fp8` keeps the base's large layers in 8 bits, for less memory",
        group=MACHINE,
        choices=("full", "fp8"),
    )


OPERATION = Operation(
    "train",
    TrainSettings,
    (
        Role("pair", covers_all=False, is_picture=False),
        Role("held", is_required=False, covers_all=False, is_picture=False),
    ),
    is_exclusive=True,
    goes_on=True,
)
