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
OURS = "the daemon's"


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
    outcome = farm.Farm(shots, CARDS, OURS, SEED).run(failures=50)
    assert outcome.losses > 20
    assert sorted(outcome.done + outcome.failed) == sorted(shot.id for shot in shots)
    assert len(outcome.failed) < len(outcome.done) / 4


def test_turns_shorten_the_wait_of_artists_with_few_shots(farm: ModuleType) -> None:
    shots = farm.drawn_shots(SHOTS, ARTISTS, SEED)

    def light(policy: str) -> float:
        outcome = farm.Farm(shots, 1, policy, SEED).run()
        return float(farm.summary(shots, outcome, 1)["light_half_of_users"][0])

    assert light(OURS) < light("one queue") / 2


def test_urgent_shots_wait_less_than_without_priorities(farm: ModuleType) -> None:
    shots = farm.drawn_shots(SHOTS, ARTISTS, SEED)

    def urgent(policy: str) -> float:
        outcome = farm.Farm(shots, 1, policy, SEED).run()
        return float(farm.summary(shots, outcome, 1)["urgent"][0])

    assert urgent(OURS) < urgent("no priorities") / 2


def test_loaded_engines_shorten_the_wait_and_nobody_is_overtaken_without_end(
    farm: ModuleType,
) -> None:
    shots = farm.drawn_shots(SHOTS, ARTISTS, SEED)
    ours, strict, endless = (
        farm.Farm(shots, 1, policy, SEED).run() for policy in (OURS, "strict turns", "no limit")
    )
    assert ours.loads < strict.loads / 2
    waits = [farm.summary(shots, outcome, 1)["mean_minutes"] for outcome in (ours, strict)]
    assert waits[0] < waits[1]
    assert strict.most_overtaken == 0
    assert ours.most_overtaken <= farm.MAX_OVERTAKEN < endless.most_overtaken


def test_an_artist_with_one_shot_waits_minutes_beside_heavy_ones(farm: ModuleType) -> None:
    """Four artists send 200 shots each, 40 of others one each, on a farm that is full for hours."""
    heavy = [farm.Shot(f"h{n}", f"heavy{n % 4}", "cleanplate", 0, 0.0, 100.0) for n in range(800)]
    single = [
        farm.Shot(f"s{n}", f"single{n}", ("cleanplate", "void")[n % 2], 0, 60.0 * n + 1.0, 100.0)
        for n in range(40)
    ]
    outcome = farm.Farm([*heavy, *single], 10, OURS, SEED).run(failures=0)
    waits = sorted(outcome.waits[shot.id] for shot in single)
    assert waits[round(0.95 * (len(waits) - 1))] < 300.0
    assert max(outcome.waits.values()) > 2 * 3600.0


def test_the_same_seed_gives_the_same_farm(farm: ModuleType) -> None:
    first, second = (
        farm.Farm(farm.drawn_shots(SHOTS, ARTISTS, SEED), CARDS, OURS, SEED).run(failures=50)
        for _ in range(2)
    )
    assert first == second
