"""Networks come to a device and go again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from voidbridge_backend.engines.void.files import networks
from voidbridge_backend.engines.void.model.device_placement import DevicePlacement
from voidbridge_backend.engines.void.model.memory import PLANS, Plan

# A device that every machine has, on which tensors have shapes and no values.
ELSEWHERE = "meta"


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_on_a_cpu_a_network_stays_where_it_is(tiny: Path, plan: Plan) -> None:
    network = networks.vae(tiny, torch.float32).network
    before = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    with DevicePlacement("cpu").working(network, plan, in_blocks=True):
        assert network.device.type == "cpu"
    assert {name: tensor.data_ptr() for name, tensor in network.state_dict().items()} == before


@pytest.mark.parametrize("name", ["swapped", "swapped-tiled"])
def test_a_swapped_network_goes_home_to_the_very_tensors_it_had(tiny: Path, name: str) -> None:
    network = networks.vae(tiny, torch.bfloat16).network
    before = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    with DevicePlacement(ELSEWHERE).working(network, Plan(name)):  # type: ignore[arg-type]
        assert network.device.type == ELSEWHERE
    assert {name: tensor.data_ptr() for name, tensor in network.state_dict().items()} == before


def test_a_network_goes_home_when_its_work_fails(tiny: Path) -> None:
    network = networks.vae(tiny, torch.float32).network
    with pytest.raises(KeyError), DevicePlacement(ELSEWHERE).working(network, Plan("swapped")):
        raise KeyError
    assert network.device.type == "cpu"


def test_a_resident_network_stays_until_all_are_sent_home(tiny: Path) -> None:
    network = networks.vae(tiny, torch.float32).network
    placement = DevicePlacement(ELSEWHERE)
    for _ in range(2):
        with placement.working(network, Plan("resident")):
            assert network.device.type == ELSEWHERE
    assert network.device.type == ELSEWHERE
    placement.clear()
    assert network.device.type == "cpu"


class Work(TorchDispatchMode):
    """Names what is done to tensors that have values."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(isinstance(one, torch.Tensor) and not one.is_meta for one in args):
            self.seen.add(func.overloadpacket.__name__)
        return func(*args, **kwargs or {})


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/maps")
def test_weights_are_the_pages_of_their_files_and_nothing_is_drawn_or_copied(tiny: Path) -> None:
    with Work() as work:
        made = {
            "diffusion_pytorch_model.safetensors": networks.vae(tiny, torch.bfloat16).network,
            "void_pass1.safetensors": networks.denoiser(tiny, 1, torch.bfloat16).network,
        }
    costly = {"normal_", "uniform_", "zero_", "fill_", "clone", "copy_", "_to_copy", "empty_like"}
    assert not work.seen & costly
    assert work.seen  # What maps them is seen.
    for file, network in made.items():
        for name, tensor in network.state_dict().items():
            assert mapped_from(tensor.data_ptr()).endswith(file), name


def mapped_from(address: int) -> str:
    """The file whose page lies at an address of this process."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *_, file = line.split()
        first, last = (int(end, 16) for end in span.split("-"))
        if first <= address < last:
            return file
    return "nothing"
