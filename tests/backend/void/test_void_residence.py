"""Networks come to a device and go again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from voidbridge_backend.engine.void import networks
from voidbridge_backend.engine.void.memory import PLANS, Plan
from voidbridge_backend.engine.void.residence import Residence

# A device that every machine has, on which tensors have shapes and no values.
ELSEWHERE = "meta"


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_on_a_cpu_a_network_stays_where_it_is(tiny: Path, plan: Plan) -> None:
    network = networks.vae(tiny, torch.float32).network
    before = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    with Residence("cpu").working(network, plan, in_blocks=True):
        assert network.device.type == "cpu"
    assert {name: tensor.data_ptr() for name, tensor in network.state_dict().items()} == before


@pytest.mark.parametrize("name", ["swapped", "swapped-tiled"])
def test_a_swapped_network_goes_home_to_the_very_tensors_it_had(tiny: Path, name: str) -> None:
    network = networks.vae(tiny, torch.bfloat16).network
    before = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    with Residence(ELSEWHERE).working(network, Plan(name)):  # type: ignore[arg-type]
        assert network.device.type == ELSEWHERE
    assert {name: tensor.data_ptr() for name, tensor in network.state_dict().items()} == before


def test_a_network_goes_home_when_its_work_fails(tiny: Path) -> None:
    network = networks.vae(tiny, torch.float32).network
    with pytest.raises(KeyError), Residence(ELSEWHERE).working(network, Plan("swapped")):
        raise KeyError
    assert network.device.type == "cpu"


def test_a_resident_network_stays_until_all_are_sent_home(tiny: Path) -> None:
    network = networks.vae(tiny, torch.float32).network
    residence = Residence(ELSEWHERE)
    for _ in range(2):
        with residence.working(network, Plan("resident")):
            assert network.device.type == ELSEWHERE
    assert network.device.type == ELSEWHERE
    residence.clear()
    assert network.device.type == "cpu"
