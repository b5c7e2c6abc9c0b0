"""What every example's stream makes of it, as JSON: ``python -m tests.conformance.hashes``."""

from __future__ import annotations

import json

from tests.conformance.examples import SPECS, asked, make, outputs_hash, stream


def hashes() -> dict[str, list[str]]:
    """(state's, outputs', a prediction's hash) by example."""
    found = {}
    for example in SPECS:
        model = make(example)
        learned = model.learn(**stream(model, 150))
        said = model.predict(**asked(stream(model, 30, seed=2)))
        found[example] = [model.state_hash(), outputs_hash(learned), outputs_hash(said)]
    return found


if __name__ == "__main__":
    print(json.dumps(hashes()))
