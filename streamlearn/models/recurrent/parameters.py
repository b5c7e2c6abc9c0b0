"""Parameters of recurrent nets by PyTorch's names: read, replaced, and moved in and out of files."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np

from ...errors import BadShape, BadSpec
from ..base import Model
from ..batch import Float32
from ..locking import locked
from ..readable import Arrays, Part, array_part
from . import state_dict

# The optimizer's moments m and v (optimizers.py of the kernels): state array, and the optimizers that have it
MOMENTS = {
    "mean": ("moments.mean", ("momentum", "adam")),
    "square": ("moments.square", ("rmsprop", "adam")),
}

gradient_by_lag = attrgetter("gradient_by_lag")  # of the nets that record it


class PyTorchParameters(Model):
    """A net whose parameters have names and shapes in PyTorch."""

    directions: ClassVar[int] = 1
    plain: ClassVar[Mapping[str, Any]] = {}  # parameters of the network that PyTorch has
    _blocks: dict[str, state_dict.ParameterBlock]
    """The position of each parameter by its name in PyTorch; empty if PyTorch has no such network."""

    @property
    @locked
    def parameters(self) -> Mapping[str, Float32]:
        """Parameters by PyTorch's names and in PyTorch's shapes, a mapping of read-only copies.

        The read-out is ``head.weight`` and ``head.bias``. Inputs and outputs are scaled ones if the net
        scales.
        """
        found = {name: block.unpack(self.state["parameters"]) for name, block in self._blocks.items()}
        for values in found.values():
            values.flags.writeable = False
        return MappingProxyType(found)

    def _parts(self) -> dict[str, Part]:
        """Add the parameters, and the gradient by lag if it is recorded."""
        parts = super()._parts()
        sizes = {f"parameters/{name}": 4 * math.prod(block.shape) for name, block in self._blocks.items()}

        def parameters() -> Arrays:
            return {f"parameters/{name}": values for name, values in self.parameters.items()}

        if sizes:
            parts["parameters"] = Part(sizes, parameters, work=sum(sizes.values()))
        if "lag_norms" in self.state:
            lags = self.state["lag_norms"].shape[1]
            parts["lags"] = array_part("lags", lags, np.float64, lambda: gradient_by_lag(self))
        return parts

    @locked
    def load_parameters(self, source: state_dict.Source) -> None:
        """Replace the parameters, by PyTorch's names.

        Hidden states and optimizer moments start again. Scaling, score, quality and counts stay.

        Parameters
        ----------
        source : mapping of str to array_like, or str or Path
            The parameters, or a ``.safetensors`` or ``.npz`` file of them. ``parameters`` lists names and
            shapes.

        Raises
        ------
        BadSpec
            If names are missing or unknown.
        BadShape, BadDtype, BadValue
            If a parameter has the wrong shape, is not an array of numbers, or is not finite as float32.
        BadCheckpoint
            If the file cannot be read. After any error the model is unchanged.
        """
        shapes = {name: block.shape for name, block in self._blocks.items()}
        given = state_dict.check(state_dict.read(source), shapes)
        for name, _ in MOMENTS.values():
            if name in self.state:
                self.state[name][...] = 0
        self.state["optimizer.clock"][...] = 1.0, 1.0, 0.0
        self._reset_states()
        for name, block in self._blocks.items():
            block.pack(given[name], self.state["parameters"])

    @abstractmethod
    def _reset_states(self) -> None:
        """Set the hidden states to 0."""

    def save_parameters(self, path: str | Path) -> None:
        """Write ``parameters`` to a file. A failed write leaves no partial file.

        Parameters
        ----------
        path : str or Path
            The file; its name ends in ``.safetensors`` or ``.npz``.
        """
        state_dict.write(path, self.parameters)

    @classmethod
    def from_state_dict(cls, source: state_dict.Source, **spec: Any) -> Self:
        """Create a network from a PyTorch ``state_dict``.

        Parameters
        ----------
        source : mapping of str to array_like, or str or Path
            The ``state_dict`` of an ``nn.RNN`` (tanh), ``nn.GRU`` or ``nn.LSTM``, alone or in a module with
            one linear read-out of any name; or a ``.safetensors`` or ``.npz`` file of it. A missing read-out
            starts at random. Float64 is rounded to float32.
        **spec
            Further parameters of this class. Size, cell and biases come from ``source``.

        Returns
        -------
        RNN or BidirectionalRNN
            A network with these parameters.

        Raises
        ------
        BadSpec
            If ``source`` is not such a ``state_dict``, or of the other number of directions.
        BadShape, BadDtype, BadValue, BadCheckpoint
            As ``load_parameters``.
        """
        given, _ = state_dict.recognise(state_dict.read(source))
        parameters = cls.spec_of_state_dict(source, **spec)
        net = cls(**parameters)
        read_out = given.get("head.weight")
        if read_out is not None and len(read_out) != net.outputs:
            message = f"the read-out of the state_dict has {len(read_out)} outputs; expected {net.outputs}"
            if net.spec.target == "next":
                message += ", the forecast of the next samples. If the outputs are another target,"
                message += " set target='given' or target='later'"
            raise BadShape(message)
        head = {
            name: values for name, values in net.parameters.items() if read_out is None and "head." in name
        }
        net.load_parameters({**given, **head})
        return net

    @classmethod
    def spec_of_state_dict(cls, source: state_dict.Source, **spec: Any) -> dict[str, Any]:
        """Return the parameters of this class with which ``from_state_dict`` creates a network.

        Size, cell and biases come from ``source``; the rest is ``spec``, which may repeat them. Raises as
        ``from_state_dict``.
        """
        _, found = state_dict.recognise(state_dict.read(source))
        if found.pop("directions") != cls.directions:
            raise BadSpec(
                "the state_dict belongs to a bidirectional network: use sl.BidirectionalRNN"
                if cls.directions == 1
                else "the state_dict belongs to a network with one direction: use sl.RNN"
            )
        outputs = found.pop("outputs", None)
        if spec.get("symbols") is not None:
            found["dim"] = 1
        target = spec.get("target", cls.Spec.model_fields["target"].default)
        if target != "next" and spec.get("classes") is None and outputs is not None:
            found["outputs"] = outputs
        return {**cls.plain, **found, **spec}
