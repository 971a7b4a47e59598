"""Compiled code runs the attention kernel that is chosen, also after another choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.model.attention import attend
from voidbridge_backend.engines.void.model.denoiser import Denoiser, Text

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")  # torch's compiler has some.


class Quiet:
    def step(self, stage: str, done: int, of: int) -> None: ...

    def warn(self, text: str) -> None:
        raise AssertionError(text)


def wave(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def kernels_of(denoiser: Denoiser) -> set[str]:
    with torch.profiler.profile() as profile:
        denoiser.velocity(
            wave(1, 6, 16, 4, 6), wave(1, 6, 32, 4, 6), Text(wave(1, 226, 16)), 500, 1
        )
    names = {event.key for event in profile.key_averages() if "_scaled_dot_product" in event.key}
    return {"math" if "math" in name else "flash" for name in names}


def test_a_compiled_block_runs_the_kernel_of_the_last_choice(tiny: Path) -> None:
    denoiser = networks.denoiser(tiny, 1, torch.float32)
    torch._dynamo.reset()
    denoiser.compiled.begin(Quiet(), backend="aot_eager")  # It traces down to torch's kernels.
    for choice in ("math", "flash"):
        denoiser.attention = choice
        assert kernels_of(denoiser) == {choice}
    assert denoiser.compiled.is_on


def test_the_graph_names_its_kernel_so_a_cache_on_disk_knows_it(tiny: Path) -> None:
    seen: list[Any] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Any:
        seen.extend(node.args[3] for node in graph.graph.nodes if "attend" in str(node.target))
        return graph.forward

    denoiser = networks.denoiser(tiny, 1, torch.float32)
    torch._dynamo.reset()
    denoiser.compiled.begin(Quiet(), backend=backend)  # type: ignore[arg-type]
    denoiser.attention = "math"
    kernels_of(denoiser)
    assert set(seen) == {"math"}


@pytest.mark.parametrize("choice", ["torch", "math", "flash"])
def test_the_operation_is_one_that_torch_s_compiler_may_trust(choice: str) -> None:
    tensors = [wave(2, 3, 40, 16).transpose(1, 2).contiguous().transpose(1, 2) for _ in range(3)]
    torch.library.opcheck(attend, (*tensors, choice))
    assert attend(*tensors, choice).is_contiguous()
