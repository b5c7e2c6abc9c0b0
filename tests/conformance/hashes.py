"""Print the hashes of all examples after a stream, as JSON: ``python -m tests.conformance.hashes``."""

from __future__ import annotations

import json

from tests.conformance.examples import SPECS, make, outputs_hash, predict_arguments, stream


def hashes() -> dict[str, list[str]]:
    """Return the hashes of (state, outputs of learn, outputs of predict) by example."""
    found = {}
    for example in SPECS:
        model = make(example)
        learned = model.learn(**stream(model, 150))
        predicted = model.predict(**predict_arguments(stream(model, 30, seed=2)))
        found[example] = [model.state_hash(), outputs_hash(learned), outputs_hash(predicted)]
    return found


if __name__ == "__main__":
    print(json.dumps(hashes()))
