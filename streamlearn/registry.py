"""The table of all kinds of models. It imports nothing of streamlearn, so reading it needs no compiler.

To add a model, add one row. The public names of the package, ``models.create``, the daemon, the help of the
command line and the conformance tests are made from this table.
"""

from __future__ import annotations

from typing import NamedTuple


class Registration(NamedTuple):
    """One kind of model."""

    kind: str  # the name of the kind in ``create``, in specs and in checkpoints
    module: str  # relative to the package streamlearn
    name: str  # of the class, public as ``streamlearn.<name>``


MODELS = (
    Registration("som", "models.maps.som", "SOM"),
    Registration("competitive", "models.maps.competitive", "Competitive"),
    Registration("gng", "models.maps.gng", "GrowingNeuralGas"),
    Registration("rnn", "models.recurrent.rnn", "RNN"),
    Registration("birnn", "models.recurrent.bidirectional", "BidirectionalRNN"),
    Registration("grossberg", "models.classic.grossberg", "Grossberg"),
    Registration("hamming", "models.classic.hamming", "HammingNet"),
    Registration("malsburg", "models.classic.malsburg", "Malsburg"),
    Registration("cognitron", "models.classic.cognitron", "Cognitron"),
)

KINDS = tuple(row.kind for row in MODELS)

PUBLIC = {
    **{row.name: row.module for row in MODELS},
    "Alarm": "models.stream.alarm_spec",
    "Decay": "models.stream.schedules",
    "load": "models.factory",
}
"""Module of each public name of the package."""
