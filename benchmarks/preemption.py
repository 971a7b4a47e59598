"""Simulates urgent shots on farms that train LoRAs too: does it pay to stop a running job for them?

    python benchmarks/preemption.py                      three farms, three policies
    python benchmarks/preemption.py --results FOLDER     writes preemption.json there too

The daemon stops trainings only, because these go on where they stopped. `farm.py` has the load and the clock.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from farm import HOUR, SPREAD, TRAIN, Farm, Outcome, Shot, drawn_shots, pair, summary

MEDIAN = 2 * HOUR
"""Of a training. Its spread is that of a shot."""
POLICIES = ("no stops", "the daemon's", "any job stops")


@dataclass(frozen=True)
class Studio:
    """Days of one farm, `days` of them."""

    name: str
    shots: int
    artists: int
    cards: int
    trainings: int
    days: int = 1


STUDIOS = (
    Studio("40 cards, 10,000 shots", 10_000, 200, 40, 0),
    Studio("40 cards, 10,000 shots, 20 trainings", 10_000, 200, 40, 20),
    Studio("2 cards, 200 shots, 4 trainings", 200, 10, 2, 4, days=40),
)


def day_of(studio: Studio, seed: int) -> list[Shot]:
    """Returns the shots and the trainings of a day. Trainings are sent at any time from 9 to 18 o'clock."""
    rng = random.Random(f"{seed} trainings")
    trainings = []
    for n in range(studio.trainings):
        user, when = f"artist{rng.randrange(studio.artists)}", (9 + 9 * rng.random()) * HOUR
        trainings.append(
            Shot(f"t{n}", user, TRAIN, 0, when, MEDIAN * rng.lognormvariate(0, SPREAD))
        )
    shots = drawn_shots(studio.shots, studio.artists, seed)
    return sorted([*shots, *trainings], key=lambda shot: shot.submitted)


def compared(studio: Studio, seed: int) -> dict[str, dict[str, Any]]:
    """Returns the figures of one day by policy."""
    days = {day: day_of(studio, day) for day in range(seed, seed + studio.days)}
    shots = [replace(shot, id=f"{day} {shot.id}") for day, one in days.items() for shot in one]
    found = {}
    for policy in POLICIES:
        whole = Outcome()
        for day, one in days.items():
            _add(whole, Farm(one, studio.cards, policy, day).run(), day)
        found[policy] = summary(shots, whole, studio.cards)
    return found


def _add(whole: Outcome, outcome: Outcome, day: int) -> None:
    """Adds the facts of a day."""
    for name, value in vars(outcome).items():
        if isinstance(value, dict):
            getattr(whole, name).update({f"{day} {id_}": seconds for id_, seconds in value.items()})
        elif name == "most_overtaken":
            whole.most_overtaken = max(whole.most_overtaken, value)
        else:
            setattr(whole, name, getattr(whole, name) + value)


def row(studio: Studio, measured: dict[str, dict[str, Any]], day: str) -> dict[str, str]:
    """Returns a row of docs/performance.md."""
    none, ours, anyone = (measured[policy] for policy in POLICIES)

    def told(figures: dict[str, Any]) -> str:
        return (
            f"urgent {pair(figures['urgent'])}, others {pair(figures['others'])}, trainings end after "
            f"{pair(figures['trained'])}, {figures['stops']} stops, {figures['lost_hours']:g} h done "
            f"again, {figures['shots_an_hour']:g} jobs an hour"
        )

    return {
        "what": f"simulated farm, {studio.name} a day: urgent shots, waiting p50 and p95",
        "command": "`python benchmarks/preemption.py`",
        "asked": "stated",
        "reached": pair(ours["urgent"]),
        "figures": f"no job stops: {told(none)}. Trainings stop: {told(ours)}. Any job stops: {told(anyone)}",
        "date": day,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, help="folder for preemption.json")
    options = parser.parse_args()
    measured: dict[str, dict[str, dict[str, Any]]] = {}
    for studio in STUDIOS:
        measured[studio.name] = found = compared(studio, options.seed)
        for policy, figures in found.items():
            figures.pop("by_user"), figures.pop("p95_by_hour")
            print(studio.name, "|", policy, json.dumps(figures), flush=True)
    if options.results:
        day = date.today().isoformat()
        table = [row(studio, measured[studio.name], day) for studio in STUDIOS]
        group = {"page": "performance", "order": 6, "rows": table, "measured": measured}
        text = json.dumps(group, indent=1, ensure_ascii=False) + "\n"
        (options.results / "preemption.json").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
