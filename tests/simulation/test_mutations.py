"""The simulation can fail: it finds every fault of `mutations.py` within the number of steps that CI runs."""

from __future__ import annotations

import pytest

from tests.simulation.mutations import MUTATIONS
from tests.simulation.test_simulation import STEPS
from tests.simulation.world import World

pytestmark = pytest.mark.faults

MOST_STEPS = 20_000


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_fault_is_found(name: str) -> None:
    steps = seed = 0
    with MUTATIONS[name]():
        while steps < MOST_STEPS:
            world = World(seed)
            try:
                world.run(STEPS)
            except Exception as error:  # noqa: BLE001 - what it finds depends on the fault
                print(f"found by seed {seed} after {steps + world.steps} steps: {error}")
                return
            steps, seed = steps + world.steps, seed + 1
    pytest.fail(f"not found in {steps} steps")
