"""Who plays: three models, what each is fed, and what it would be had nothing ever gone wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamlearn.cli.demo.data import Float32

if TYPE_CHECKING:
    from streamlearn.models.base import Model
    from streamlearn_client import Outputs

MAP, NET, LSTM = "shuttle-map", "shuttle-net", "water-lstm"


@dataclass(frozen=True, slots=True)
class Role:
    """A model of the demo and its stream ``x`` (n, dim)."""

    name: str
    kind: str
    spec: Mapping[str, Any]
    x: Float32


def roles(shuttle: Float32, water: Float32, seed: int) -> list[Role]:
    """The three models. The LSTM's settings were chosen once, by hand, and do well with any seed: Huber's
    loss keeps a few maintenance jumps from ruling the gradient."""
    common = {"scale": "standard", "seed": seed}
    som = {"dim": shuttle.shape[1], "grid": [10, 10], **common}
    net = {"dim": shuttle.shape[1], "units": 64, "mode": "soft", **common}
    lstm = {"dim": 1, "hidden": 32, "tbptt": [24, 48], "loss": "huber", "delta": 0.1, **common}
    return [
        Role(MAP, "som", som, shuttle),
        Role(NET, "competitive", net, shuttle),
        Role(LSTM, "rnn", lstm, water),
    ]


@dataclass(frozen=True, slots=True)
class Twin:
    """The same model, fed the same samples in this process, in one piece."""

    model: Model
    outputs: Outputs
    """prequential: said of each sample before it was learned"""
    state_hash: str
    seconds: float

    def u_matrix(self) -> Float32:
        """(rows, columns) of a map; see ``SOM.u_matrix``."""
        from streamlearn.models.maps.som import SOM

        assert isinstance(self.model, SOM)
        return self.model.u_matrix()


def twin(role: Role) -> Twin:
    from streamlearn import models

    model = models.create(role.kind, role.spec)
    began = time.perf_counter()
    outputs = model.learn(role.x)
    return Twin(model, outputs, model.state_hash(), time.perf_counter() - began)
