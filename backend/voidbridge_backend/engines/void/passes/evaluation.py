"""One evaluation of the transformer, as bytes for another process, and its answer.

The bytes are a line of JSON with the circumstances, then the tensors as safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from voidbridge_backend.engines.void.model.denoiser import Denoiser, Text


@dataclass(frozen=True)
class Evaluation:
    """The input of one evaluation: latents [1, t, 16, h, w] and known channels [1, t, 32, h, w], float32.

    `half` is 0 for the negative prompt only and 1 for the prompt only; None asks for the velocity.
    """

    latents: Tensor
    known: Tensor
    text: Text
    timestep: int
    guidance: float
    half: int | None = None

    def answered(self, denoiser: Denoiser) -> Tensor:
        """Returns the velocity [1, t, 16, h, w], or the output for one prompt, float32 on the CPU."""
        if self.half is None:
            found = denoiser.velocity(
                self.latents, self.known, self.text, self.timestep, self.guidance
            )
        else:
            prompt = self.text.prompts(self.guidance)[self.half]
            found = denoiser.outputs(self.latents, self.known, [prompt], self.timestep)
        return found.cpu()


def encoded(circumstances: Mapping[str, Any], evaluation: Evaluation) -> bytes:
    """Returns an evaluation as bytes. `circumstances` are values for JSON."""
    tensors = {
        "latents": evaluation.latents,
        "known": evaluation.known,
        "prompt": evaluation.text.prompt,
    }
    if evaluation.text.negative is not None:
        tensors["negative"] = evaluation.text.negative
    numbers = {
        "timestep": evaluation.timestep,
        "guidance": evaluation.guidance,
        "half": evaluation.half,
    }
    return packed({"circumstances": circumstances, "numbers": numbers}, tensors)


def decoded(data: bytes) -> tuple[dict[str, Any], Evaluation]:
    """Returns the circumstances and the evaluation of `encoded`."""
    words, tensors = unpacked(data)
    text = Text(tensors["prompt"], tensors.get("negative"))
    evaluation = Evaluation(tensors["latents"], tensors["known"], text, **words["numbers"])
    return words["circumstances"], evaluation


def packed(words: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """Returns values for JSON and tensors as bytes."""
    # The negative prompt may be the prompt itself; safetensors wants memory of its own for each.
    stored = {name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()}
    return json.dumps(words).encode() + b"\n" + save(stored)


def unpacked(data: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Returns the values and tensors of `packed`, on the CPU."""
    line, _, tensors = data.partition(b"\n")
    return json.loads(line), load(tensors)
