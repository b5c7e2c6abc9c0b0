"""The demo's three models, their streams, and the reference run that the daemon's models must equal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamlearn.cli.demo.data import Float32

if TYPE_CHECKING:
    from streamlearn.models.base import Model
    from streamlearn.models.outputs import ModelOutputs

MAP, NET, LSTM = "shuttle-map", "shuttle-net", "water-lstm"


@dataclass(frozen=True, slots=True)
class DemoModel:
    """A model of the demo and its stream ``x`` (n, dim)."""

    name: str
    kind: str
    spec: Mapping[str, Any]
    x: Float32


def demo_models(shuttle: Float32, water: Float32, seed: int) -> list[DemoModel]:
    """Return the three models.

    The LSTM's settings were chosen once, by hand, and work with any seed. The Huber loss limits the effect of
    a few maintenance jumps on the gradient.
    """
    common = {"seed": seed}
    som = {"dim": shuttle.shape[1], "grid": [10, 10], **common}
    net = {"dim": shuttle.shape[1], "units": 64, "mode": "soft", "scale": "standard", **common}
    lstm = {
        "readout": "adam",
        "dim": 1,
        "hidden": 32,
        "tbptt": [24, 48],
        "loss": "huber",
        "delta": 0.1,
        "scale": "standard",
        **common,
    }
    return [
        DemoModel(MAP, "som", som, shuttle),
        DemoModel(NET, "competitive", net, shuttle),
        DemoModel(LSTM, "rnn", lstm, water),
    ]


@dataclass(frozen=True, slots=True)
class ReferenceRun:
    """The same model, fed the same samples in this process, in one call and without interruption."""

    model: Model
    outputs: ModelOutputs
    """prequential: computed for each sample before it was learned"""
    state_hash: str
    seconds: float

    def u_matrix(self) -> Float32:
        """Return the U-matrix (rows, columns) of a map; see ``SOM.u_matrix``."""
        from streamlearn.models.maps.som import SOM

        assert isinstance(self.model, SOM)
        return self.model.u_matrix()


def reference_run(demo_model: DemoModel) -> ReferenceRun:
    """Create the model in this process and learn its whole stream."""
    from streamlearn import models

    model = models.create(demo_model.kind, demo_model.spec)
    began = time.perf_counter()
    outputs = model.learn(demo_model.x)
    return ReferenceRun(model, outputs, model.state_hash(), time.perf_counter() - began)
