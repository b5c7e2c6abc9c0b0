"""Many simulations, each with its own seed. `pytest tests/simulation --seed S` repeats one exactly."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.simulation.world import Violation, World

pytestmark = [pytest.mark.faults, pytest.mark.timeout(0)]

STEPS = 1000
CHUNK = 100  # seeds that one process runs before it reports


def run_seeds(seeds: Sequence[int]) -> list[str]:
    """Run simulations; return a report of each that fails."""
    logging.disable(logging.CRITICAL)
    failures = []
    for seed in seeds:
        try:
            World(seed).run(STEPS)
        except Exception as error:  # noqa: BLE001 - the report has it
            notes = "\n".join(getattr(error, "__notes__", []))
            failures.append(f"{type(error).__name__}: {error}\n{notes}")
    return failures


def test_every_promise_is_kept(simulation_seeds: range) -> None:
    seeds = list(simulation_seeds)
    print(f"seeds {seeds[0]} to {seeds[-1]}, {STEPS} steps each")
    if len(seeds) <= CHUNK:
        for seed in seeds:
            World(seed).run(STEPS)
        return
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as processes:
        failures = [failure for found in processes.map(run_seeds, chunks) for failure in found]
    assert not failures, f"{len(failures)} simulations failed\n\n" + "\n\n".join(failures[:20])


def test_a_seed_always_does_the_same() -> None:
    digests = set()
    for _ in range(2):
        world = World(7)
        world.run(STEPS)
        digests.add((world.digest, world.steps, *sorted(world.counts.items())))
    assert len(digests) == 1


def test_a_failure_prints_its_seed_and_its_last_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(3)
    monkeypatch.setattr(world.ledger, "durable", lambda: 0)  # nothing is ever durable
    with pytest.raises(Violation) as caught:
        world.run(STEPS)
    report = caught.value.__notes__[0]
    assert "seed 3," in report
    assert "--seed 3" in report
    assert len(report.splitlines()) > 10


def test_simulations_reach_everything(simulation_seeds: range) -> None:
    """Otherwise the first test proves less than it says."""
    counts, longest_run = World(0).counts, 0
    for seed in range(20):
        world = World(seed)
        world.run(STEPS)
        counts += world.counts
        longest_run = max(longest_run, world.ledger.longest_run)
    missing = [
        name
        for name in (
            *("power", "crash", "stopped", "failed", "duplicate"),
            *(f"answer {op}" for op in ("learn", "create", "describe", "checkpoint", "restore", "reheat")),
            *("answer DISK_FULL", "learn NO_ANSWER", "stream NO_ANSWER", "answer GAP", "answer delete"),
        )
        if not counts[name]
    ]
    assert not missing, counts
    assert longest_run > 2, "no record has more than two batches"
