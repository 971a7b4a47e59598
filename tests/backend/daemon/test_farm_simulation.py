"""The simulated farm of benchmarks/farm.py drives the daemon's scheduler through load and failures."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("simpy", reason="the simulated farm needs the extra dev")

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
SHOTS, ARTISTS, CARDS, SEED = 400, 20, 4, 3


@pytest.fixture(scope="module")
def farm() -> ModuleType:
    spec = importlib.util.spec_from_file_location("voidbridge_farm", BENCHMARKS / "farm.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["voidbridge_farm"] = module
    spec.loader.exec_module(module)
    return module


def test_every_shot_ends_once_although_cards_and_nodes_fail(farm: ModuleType) -> None:
    shots = farm.drawn_shots(SHOTS, ARTISTS, SEED)
    outcome = farm.Farm(shots, CARDS, "fair", SEED).run(failures=50)
    assert outcome.losses > 20
    assert sorted(outcome.done + outcome.failed) == sorted(shot.id for shot in shots)
    assert len(outcome.failed) < len(outcome.done) / 4


def test_turns_shorten_the_wait_of_artists_with_few_shots(farm: ModuleType) -> None:
    shots = farm.drawn_shots(SHOTS, ARTISTS, SEED)

    def light(policy: str) -> float:
        outcome = farm.Farm(shots, 1, policy, SEED).run()
        return float(farm.summary(shots, outcome, 1)["light_half_of_users"][0])

    assert light("fair") < light("one queue") / 2


def test_urgent_shots_wait_less_than_without_priorities(farm: ModuleType) -> None:
    shots = farm.drawn_shots(SHOTS, ARTISTS, SEED)

    def urgent(policy: str) -> float:
        outcome = farm.Farm(shots, 1, policy, SEED).run()
        return float(farm.summary(shots, outcome, 1)["urgent"][0])

    assert urgent("fair") < urgent("no priorities") / 2


def test_a_wide_choice_loads_engines_less_often(farm: ModuleType) -> None:
    shots = farm.drawn_shots(SHOTS, ARTISTS, SEED)
    loads = {p: farm.Farm(shots, 1, p, SEED).run().loads for p in ("fair", "wide affinity")}
    assert loads["wide affinity"] < loads["fair"]


def test_the_same_seed_gives_the_same_farm(farm: ModuleType) -> None:
    first, second = (
        farm.Farm(farm.drawn_shots(SHOTS, ARTISTS, SEED), CARDS, "fair", SEED).run(failures=50)
        for _ in range(2)
    )
    assert first == second
