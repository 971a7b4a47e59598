"""The processes that a launcher started to train one LoRA together, with accelerate.

They meet before each exchange. An error of one process reaches all others at the next meeting, so all end with it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from voidbridge_protocol.errors import EngineFailed, VoidbridgeError, from_code

NUMBERS = 2
"""Numbers on which all processes have to agree at a meeting."""
MOST_TEXT = 1000
"""Characters of an error's text and of its hint that the others get."""
ERROR_BYTES = 1 << 14
"""More than an error needs as JSON, six bytes a character."""


class ProcessGroup:
    """All processes of a training, each with a device of its own; one alone without a launcher."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.count = int(accelerator.num_processes)
        self.index = int(accelerator.process_index)
        self._is_over = self.count == 1

    @property
    def leads(self) -> bool:
        """True in the one process that writes files and reports."""
        return self.index == 0

    def meet(self, *agreed: int) -> None:
        """Waits for the others.

        Raises the error that one of them told, and `EngineFailed` if one died, or if the numbers in `agreed`
        differ.
        """
        if self.count > 1:
            self._meet(None, agreed)

    def finish(self) -> None:
        """Waits for the others a last time. Raises as `meet`."""
        self.meet()
        self._part()

    def tell(self, error: VoidbridgeError) -> None:
        """Ends the other processes with the error of this one, at their next meeting."""
        if not self._is_over:
            with suppress(VoidbridgeError):  # the error itself comes back
                self._meet(error, ())

    def gathered(self, own: Tensor) -> Tensor:
        """Returns `own` [n] of all processes, [processes, n]."""
        if self.count == 1:
            return own[None]
        try:
            found: Tensor = self.accelerator.gather(own[None].to(self.accelerator.device))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._is_over = True
            raise EngineFailed(
                f"another of the {self.count} processes of this training ended: {error}",
                "Start the same command again. It goes on from its last checkpoint.",
            ) from error
        return found

    def added(
        self,
        loss: float,
        parameters: Sequence[nn.Parameter],
        sums: Sequence[Tensor | None],
        parts: int,
    ) -> list[float]:
        """Makes each gradient `sums` plus those of the first `parts` processes, in their order.

        Returns their losses. Autograd adds the gradients of several pairs in one process in the same order.
        """
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        own = torch.cat([torch.tensor([loss]).to(gradients[0]), *(g.flatten() for g in gradients)])
        del gradients  # with the next lines it leaves the device before all others' come
        for parameter, before in zip(parameters, sums, strict=True):
            parameter.grad = before
        found = self.gathered(own)[:parts]
        for row in found:
            shares = row[1:].split([parameter.numel() for parameter in parameters])
            for parameter, share in zip(parameters, shares, strict=True):
                gradient = share.view_as(parameter)
                if parameter.grad is None:
                    parameter.grad = gradient.clone()
                else:
                    parameter.grad += gradient
        return [float(row[0]) for row in found]

    def _part(self) -> None:
        """Lets all processes receive the last exchange before one of them ends, which closes its connections."""
        if self.count > 1:
            with suppress(EngineFailed):
                self.gathered(torch.zeros(1))

    def _meet(self, error: VoidbridgeError | None, agreed: tuple[int, ...]) -> None:
        numbers = [int(error is not None), *agreed, *[0] * (NUMBERS - len(agreed))]
        found = self.gathered(torch.tensor(numbers)).cpu()
        if found[:, 0].any():
            self._is_over = True
            told = self.gathered(_encoded(error)).cpu()
            self._part()
            raise _decoded(told[int(found[:, 0].nonzero()[0])])
        if (found != found[0]).any():
            raise EngineFailed(
                f"the {self.count} processes of this training are at different places: {found[:, 1:].tolist()}",
                "Give all processes the same files. They read the dataset and the checkpoint themselves.",
            )


def _encoded(error: VoidbridgeError | None) -> Tensor:
    words = []
    if error is not None:
        words = [error.code, error.text[:MOST_TEXT], error.hint[:MOST_TEXT]]
    return torch.tensor(list(json.dumps(words).encode().ljust(ERROR_BYTES)), dtype=torch.uint8)


def _decoded(data: Tensor) -> VoidbridgeError:
    code, text, hint = json.loads(bytes(data.tolist()))
    return from_code(code, text, hint)
