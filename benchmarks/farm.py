"""Simulates a farm: the daemon's own scheduler decides, SimPy keeps the clock.

    python benchmarks/farm.py                      one day: 10,000 shots, 200 artists, 40 cards
    python benchmarks/farm.py --results FOLDER     writes farm.json and farm.svg there too

The load and the durations are assumptions (`ENGINES`, `DAY`, `MTBF_*`), not measurements of a studio.
All policies get the same shots and the same failures. Times are in seconds unless a name says otherwise.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import simpy

from voidbridge_backend.daemon.jobs.scheduler import Command, GaveUp, Preempt, Scheduler, Start
from voidbridge_backend.daemon.jobs.start_order import (
    MAX_OVERTAKEN,
    WINDOW,
    OvertakingRule,
    QueuedJob,
)
from voidbridge_protocol.lifecycle import JobState

HOUR = 3600.0
ENGINES = {"cleanplate": (0.6, 100.0, 4.0), "void": (0.3, 270.0, 75.0), "ltx": (0.1, 220.0, 120.0)}
"""Share of the shots, median duration and time to load of each engine."""
TRAIN, LOAD_TRAINING = "train", 60.0
"""The engine of trainings, and its time to load. `preemption.py` adds them to the shots."""
STOP_S = 10.0
"""Seconds until a job that should stop for another one has ended its step."""
SPREAD = 0.5
"""Standard deviation of the logarithm of a duration."""
DAY = [0.1] * 9 + [1.0] * 10 + [0.35] * 4 + [0.1]
"""Relative load of each hour."""
BATCH = 4
"""Mean number of shots that an artist submits at once."""
URGENT = 0.05
"""Share of batches with priority 1."""
CARDS_PER_NODE = 4
MTBF_CARD, REPAIR_CARD = 48 * HOUR, 600.0
MTBF_NODE, REPAIR_NODE = 120 * HOUR, 1800.0
POLICIES = ("the daemon's", "strict turns", "one queue", "no priorities", "no limit", "no loading")
"""The daemon's own policy first; each other one changes one thing of it."""
RULES = {"strict turns": OvertakingRule(window=1), "no limit": OvertakingRule(overtaken=1_000_000)}


@dataclass(frozen=True)
class Shot:
    """One submitted job. `work` is its duration without the loading of its engine."""

    id: str
    user: str
    engine: str
    priority: int
    submitted: float
    work: float


@dataclass
class Outcome:
    """Facts of one simulated run. `waits` are from submission to the first start, by shot."""

    waits: dict[str, float] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    worked: float = 0.0
    loaded: float = 0.0
    loads: int = 0
    losses: int = 0
    most_overtaken: int = 0
    stops: int = 0
    lost: float = 0.0
    """Work that was done again after a stop."""
    turnaround: dict[str, float] = field(default_factory=dict)
    """From submission to the end, by shot."""
    ended: float = 0.0


class Farm:
    """Executes the scheduler's commands in simulated time."""

    def __init__(self, shots: Sequence[Shot], cards: int, policy: str, seed: int) -> None:
        self.env = simpy.Environment()
        self.shots = {shot.id: shot for shot in shots}
        self.policy, self.seed = policy, seed
        self.outcome = Outcome()
        self._engine: dict[str, str] = {}
        self._left = {shot.id: shot.work for shot in shots}
        """Work that each shot still needs."""
        self.scheduler = Scheduler(rule=RULES.get(policy, OvertakingRule()))
        self._down = dict.fromkeys((f"card{n}" for n in range(cards)), 0)
        self._at_work: dict[str, simpy.Process] = {}
        self._finished = self.env.event()

    def run(self, failures: float = 1.0) -> Outcome:
        """Runs until every shot is done or failed. `failures` multiplies the rates of the failures."""
        for card in self._down:
            self._execute(self.scheduler.device_ready(card))
        self.env.process(self._submit())
        cards = list(self._down)
        nodes = [cards[n : n + CARDS_PER_NODE] for n in range(0, len(cards), CARDS_PER_NODE)]
        for card in cards if failures else []:
            self.env.process(self._break([card], MTBF_CARD / failures, REPAIR_CARD, False))
        for node in nodes if failures else []:
            self.env.process(self._break(node, MTBF_NODE / failures, REPAIR_NODE, True))
        self.env.run(until=self._finished)
        self.outcome.ended = self.env.now
        return self.outcome

    def _submit(self) -> Iterator[simpy.Event]:
        for number, shot in enumerate(self.shots.values(), 1):
            yield self.env.timeout(max(shot.submitted - self.env.now, 0.0))
            user = "everyone" if self.policy == "one queue" else shot.user
            priority = 0 if self.policy == "no priorities" else shot.priority
            job = QueuedJob(shot.id, user, priority, number, JobState.RECEIVING, engine=shot.engine)
            stops = {"no stops": False, "any job stops": True}
            job.goes_on = stops.get(self.policy, shot.engine == TRAIN)
            self.scheduler.add(job)
            self._execute(self.scheduler.received(shot.id))

    def _execute(self, commands: Sequence[Command]) -> None:
        for command in commands:
            if isinstance(command, Start):
                waited = self.env.now - self.shots[command.job].submitted
                self.outcome.waits.setdefault(command.job, waited)
                work = self._work(self.shots[command.job], command.device)
                self._at_work[command.device] = self.env.process(work)
            elif isinstance(command, GaveUp):
                self._leave(command.job, self.outcome.failed)
            elif isinstance(command, Preempt):
                self._at_work[command.device].interrupt(command)

    def _work(self, shot: Shot, card: str) -> Iterator[simpy.Event]:
        began = float("inf")
        try:
            if self._engine.get(card) != shot.engine:
                loading = LOAD_TRAINING if shot.engine == TRAIN else ENGINES[shot.engine][2]
                seconds = 0.0 if self.policy == "no loading" else loading
                yield self.env.timeout(seconds)
                self._engine[card] = shot.engine
                self.outcome.loaded += seconds
                self.outcome.loads += 1
            began = self.env.now
            yield self.env.timeout(self._left[shot.id])
        except simpy.Interrupt as interrupt:
            if interrupt.cause is not None:
                yield from self._stop(shot, card, max(self.env.now - began, 0.0))
            return
        self.outcome.worked += shot.work
        self.outcome.turnaround[shot.id] = self.env.now - shot.submitted
        del self._at_work[card]
        self._execute(self.scheduler.ended(shot.id, JobState.DONE))
        self._leave(shot.id, self.outcome.done)

    def _stop(self, shot: Shot, card: str, done: float) -> Iterator[simpy.Event]:
        """Ends a job for a more urgent one after `done` seconds of work, of which a training loses none."""
        try:
            yield self.env.timeout(STOP_S)
        except simpy.Interrupt:
            return
        self.outcome.stops += 1
        if shot.engine == TRAIN:
            self._left[shot.id] = max(self._left[shot.id] - done, 0.0)
        else:
            self.outcome.lost += done
        del self._at_work[card]
        self._execute(self.scheduler.preempted(shot.id))

    def _leave(self, job: str, ended: list[str]) -> None:
        ended.append(job)
        self.env.process(self._forget(job))

    def _forget(self, job: str) -> Iterator[simpy.Event]:
        """Forgets the job after the commands of its end, as the daemon's retention does much later."""
        yield self.env.timeout(0)
        overtaken = self.scheduler.jobs[job].overtaken
        self.outcome.most_overtaken = max(self.outcome.most_overtaken, overtaken)
        self.scheduler.forget(job)
        if len(self.outcome.done) + len(self.outcome.failed) == len(self.shots):
            if not self._finished.triggered:
                self._finished.succeed()

    def _break(
        self, cards: list[str], mtbf: float, repair: float, is_node: bool
    ) -> Iterator[simpy.Event]:
        rng = random.Random(f"{self.seed} {cards}")
        while True:
            yield self.env.timeout(rng.expovariate(1 / mtbf))
            for card in cards:
                self._lose(card, is_node)
            yield self.env.timeout(repair)
            for card in cards:
                self._down[card] -= 1
                if not self._down[card]:
                    self._execute(self.scheduler.device_ready(card))

    def _lose(self, card: str, is_node: bool) -> None:
        self._down[card] += 1
        if self._down[card] > 1:
            return  # it was away already
        self._engine.pop(card, None)
        if card in self._at_work:
            self._at_work.pop(card).interrupt()
            self.outcome.losses += 1
        self._execute(self.scheduler.device_lost(card, is_node))


def drawn_shots(count: int, artists: int, seed: int) -> list[Shot]:
    """Draws the shots of one day, in the order of submission. Artist n submits in proportion to 1 / (n + 5)."""
    rng = random.Random(seed)
    users = [f"artist{n}" for n in range(artists)]
    weights = [1 / (n + 5) for n in range(artists)]
    drawn: list[tuple[float, str, str, int, float]] = []
    while len(drawn) < count:
        hour = rng.choices(range(24), DAY)[0]
        when, user = (hour + rng.random()) * HOUR, rng.choices(users, weights)[0]
        engine = rng.choices(list(ENGINES), [share for share, _, _ in ENGINES.values()])[0]
        priority = int(rng.random() < URGENT)
        for _ in range(min(1 + int(rng.expovariate(1 / (BATCH - 0.5))), count - len(drawn))):
            work = ENGINES[engine][1] * rng.lognormvariate(0, SPREAD)
            drawn.append((when, user, engine, priority, work))
    drawn.sort(key=lambda shot: shot[0])
    return [Shot(f"s{n}", u, e, p, t, w) for n, (t, u, e, p, w) in enumerate(drawn)]


def percentiles(values: Sequence[float]) -> list[float]:
    """Returns p50 and p95 in minutes; zeros for no values."""
    ordered = sorted(values) or [0.0]
    last = len(ordered) - 1
    return [round(ordered[round(share * last)] / 60, 1) for share in (0.5, 0.95)]


def summary(shots: Sequence[Shot], outcome: Outcome, cards: int) -> dict[str, Any]:
    """Returns the figures of one run: waits in minutes as [p50, p95], shares of all cards' time from 0 to 1."""
    by_user: dict[str, list[float]] = {}
    for shot in shots:
        by_user.setdefault(shot.user, []).append(outcome.waits[shot.id])
    users = sorted(by_user, key=lambda user: (len(by_user[user]), user))
    tenth = max(len(users) // 10, 1)
    light = [w for user in users[: len(users) // 2] for w in by_user[user]]
    heavy = [w for user in users[-tenth:] for w in by_user[user]]
    hours: list[list[float]] = [[] for _ in range(24)]
    for shot in shots:
        hours[int(shot.submitted // HOUR)].append(outcome.waits[shot.id])
    day = cards * outcome.ended
    return {
        "all": percentiles(list(outcome.waits.values())),
        "light_half_of_users": percentiles(light),
        "heaviest_tenth_of_users": percentiles(heavy),
        "urgent": percentiles([outcome.waits[s.id] for s in shots if s.priority]),
        "others": percentiles(
            [outcome.waits[s.id] for s in shots if not s.priority and s.engine != TRAIN]
        ),
        "trained": percentiles(
            [outcome.turnaround.get(s.id, 0) for s in shots if s.engine == TRAIN]
        ),
        "longest": round(max(outcome.waits.values()) / 60, 1),
        "mean_minutes": round(statistics.fmean(outcome.waits.values()) / 60, 1),
        "worked": round(outcome.worked / day, 3),
        "loaded": round(outcome.loaded / day, 3),
        "loads": outcome.loads,
        "losses": outcome.losses,
        "stops": outcome.stops,
        "lost_hours": round(outcome.lost / HOUR, 1),
        "shots_an_hour": round(len(outcome.done) / outcome.ended * HOUR, 1),
        "most_overtaken": outcome.most_overtaken,
        "done": len(outcome.done),
        "failed": len(outcome.failed),
        "ended_hours": round(outcome.ended / HOUR, 1),
        "p95_by_hour": [percentiles(hour)[1] for hour in hours],
        "by_user": {user: percentiles(by_user[user]) for user in users},
    }


def picture(measured: dict[str, dict[str, Any]]) -> str:
    """Draws the p95 of the waiting time by hour of submission, one line a policy, as SVG."""
    top = max(max(figures["p95_by_hour"]) for figures in measured.values()) or 1.0
    colors = ("#1b6ca8", "#c0392b", "#7d3c98", "#1e8449", "#d68910", "#7f8c8d")
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 320" font-family="sans-serif" font-size="11">',
        '<rect width="640" height="320" fill="white"/>',
        '<text x="50" y="16">waiting time, p95 by hour of submission, minutes</text>',
        '<path d="M50 30V280H515" fill="none" stroke="black"/>',
        f'<text x="45" y="34" text-anchor="end">{top:g}</text>',
        '<text x="45" y="284" text-anchor="end">0</text>',
    ]
    parts += [f'<text x="{50 + 20 * h}" y="296">{h}</text>' for h in range(0, 24, 3)]
    for row, (policy, figures) in enumerate(measured.items()):
        values = enumerate(figures["p95_by_hour"])
        points = " ".join(f"{50 + 20 * h},{280 - 250 * value / top:.1f}" for h, value in values)
        color = colors[row % len(colors)]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(f'<text x="525" y="{50 + 18 * row}" fill="{color}">{policy}</text>')
    return "\n".join([*parts, "</svg>", ""])


def pair(figures: Sequence[float]) -> str:
    return f"{figures[0]:g} and {figures[1]:g} min"


def rows(measured: dict[str, dict[str, Any]], day: str) -> list[dict[str, str]]:
    """Returns the rows of docs/performance.md."""
    ours, strict, queue, level, endless, free = (measured[policy] for policy in POLICIES)

    def row(what: str, reached: str, figures: str) -> dict[str, str]:
        command = "`python benchmarks/farm.py`"
        cells = {"what": what, "command": command, "asked": "stated"}
        return {**cells, "reached": reached, "figures": figures, "date": day}

    light, heavy = "light_half_of_users", "heaviest_tenth_of_users"
    return [
        row(
            "simulated farm, waiting time p50 and p95 of all shots",
            pair(ours["all"]),
            f"with strict turns instead of loaded engines {pair(strict['all'])}; {ours['loads']} and "
            f"{strict['loads']} loads; the longest wait {ours['longest']:g} and {strict['longest']:g} min. "
            f"If loading took no time: {pair(free['all'])}",
        ),
        row(
            "the same farm, the half of artists with the fewest shots",
            pair(ours[light]),
            f"with strict turns {pair(strict[light])}, in one queue without turns {pair(queue[light])}; "
            f"the tenth with the most shots {pair(ours[heavy])}, in one queue {pair(queue[heavy])}",
        ),
        row(
            "the same farm, use of 40 cards until the last shot is done",
            f"{ours['worked']:g} at work, {ours['loaded']:g} loading",
            f"{ours['done']} shots done and {ours['failed']} failed in {ours['ended_hours']:g} h, "
            f"{ours['losses']} attempts lost with a card or a node",
        ),
        row(
            "the same farm, urgent shots (5 of 100 batches)",
            pair(ours["urgent"]),
            f"without priorities {pair(level['urgent'])}. All shots: {pair(ours['all'])}, "
            f"without priorities {pair(level['all'])}",
        ),
        row(
            f"the same farm, the limit: a card looks at {WINDOW} shots, and {MAX_OVERTAKEN} may overtake one",
            pair(ours["all"]),
            f"without a limit {pair(endless['all'])}, the longest wait {endless['longest']:g} min; "
            f"most times that a shot was overtaken: {ours['most_overtaken']} and {endless['most_overtaken']}",
        ),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shots", type=int, default=10_000)
    parser.add_argument("--artists", type=int, default=200)
    parser.add_argument("--cards", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, help="folder for farm.json and farm.svg")
    options = parser.parse_args()
    shots = drawn_shots(options.shots, options.artists, options.seed)
    measured: dict[str, dict[str, Any]] = {}
    for policy in POLICIES:
        outcome = Farm(shots, options.cards, policy, options.seed).run()
        measured[policy] = summary(shots, outcome, options.cards)
        shown = {k: v for k, v in measured[policy].items() if k not in ("by_user", "p95_by_hour")}
        print(policy, json.dumps(shown), flush=True)
    if options.results:
        table = rows(measured, date.today().isoformat())
        group = {"page": "performance", "order": 4, "rows": table, "measured": measured}
        text = json.dumps(group, indent=1, ensure_ascii=False) + "\n"
        (options.results / "farm.json").write_text(text, encoding="utf-8")
        (options.results / "farm.svg").write_text(picture(measured), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
