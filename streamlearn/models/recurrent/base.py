"""Base class of the recurrent networks: spec, optimizer, quality, and parameters by PyTorch's names."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from ...errors import BadShape, BadSpec
from ...kernels.recurrent import evaluation, memory_layout, optimizers
from ...kernels.simd import splitmix
from ...kernels.simd.lanes import WIDTH
from ...kernels.stream import scaling
from .. import base, lane_layout
from ..base import Model
from ..batch import Float32
from ..outputs import RecurrentTargetOutputs
from ..stream.keys import Slots
from ..stream.schedules import Decay, Positive, Schedule, within
from ..validation import as_codes
from . import state_dict

Steps = Annotated[int, Field(ge=1, le=1 << 16)]
Count = Annotated[int, Field(ge=2, le=1 << 16)]

_MOMENTS = {"mean": "moments.mean", "square": "moments.square"}  # m and v of kernels/optimizers.py
_HAS = {"mean": ("momentum", "adam"), "square": ("rmsprop", "adam")}


NOBODY = np.zeros(0, np.int64)  # the ids where no targets come later


class RecurrentSpec(base.Spec):
    """Parameters of every recurrent network."""

    hidden: int = Field(
        ge=1,
        le=1 << 14,
        description="Units of a layer. More units fit more, at a cost that grows with the square.",
    )
    cell: Literal["elman", "lstm", "gru"] = Field(
        "lstm",
        description=(
            "Cell of a unit: 'lstm'; 'gru', with ¾ of its weights; 'elman', with ¼, which forgets soonest."
        ),
    )
    layers: int = Field(
        1, ge=1, le=64, description="Layers of units; each takes the outputs of the one below."
    )
    bias: bool = Field(True, description="Whether the cells have biases, as PyTorch's bias=.")
    head_bias: bool = Field(True, description="Whether the linear read-out has a bias.")
    optimizer: Literal["sgd", "momentum", "rmsprop", "adam"] = Field(
        "adam",
        description=(
            "Optimizer of the parameters, as PyTorch defines it: 'adam' (β 0.9 and 0.999, ε 10⁻⁸), "
            "'sgd', 'momentum', 'rmsprop' (α 0.99, ε 10⁻⁸; take a tenth of Adam's learning rate)."
        ),
    )
    momentum: float = Field(
        0.9, ge=0, lt=1, description="Optimizer 'momentum': share of the last step that a step keeps."
    )
    learning_rate: Annotated[Schedule, within(0, 1e30)] = Field(
        Decay(0.02, 0.003, 5000.0),
        description=(
            "ε(t) of the optimizer. Adam moves a parameter by about ε(t) per update. The final 0.003 "
            "follows drift."
        ),
    )
    loss: Literal["mse", "huber", "cross_entropy"] = Field(
        "mse",
        description=(
            "Loss of a prediction, the mean over the outputs: 'mse'; 'huber', which limits the effect "
            "of rare jumps; 'cross_entropy' for classes and symbols."
        ),
    )
    delta: Positive = Field(
        1.0, description="Loss 'huber': errors beyond it count linearly, not squared. In scaled units."
    )
    target: Literal["next", "given", "later"] = Field(
        "given",
        description=(
            "What is predicted: 'given', a y that comes with its sample; 'later', a y that may also "
            "come later by the sample's id."
        ),
    )
    delay: Steps | None = Field(
        None,
        description=(
            "Target 'later': samples that may wait for their y. None: 256. Each costs memory (0.5 KiB "
            "in an LSTM of 32 units): set it to how late a y can be."
        ),
    )
    keys: Steps | None = Field(
        None,
        description=(
            "Number of streams that share the parameters, each with a hidden state of its own. Then "
            "every sample needs a key. A new key beyond this number replaces the key that was not "
            "seen for longest. None: one stream."
        ),
    )
    outputs: int | None = Field(None, ge=1, le=1 << 20, description="Columns of y. None: 1.")
    symbols: Count | None = Field(
        None,
        description=(
            "Samples are symbols 0 … symbols − 1 in one channel (dim=1, no scale). None: samples are numbers."
        ),
    )
    classes: Count | None = Field(
        None,
        description="Loss 'cross_entropy': y is a class 0 … classes − 1 in one column. None: y is numbers.",
    )
    clip: Positive | None = Field(
        None,
        description=(
            "The gradient is scaled down to this norm if it is larger. None: never. Set it if updates "
            "diverge."
        ),
    )

    @model_validator(mode="after")
    def _learns_and_names(self) -> Self:
        if self.symbols is not None and (self.dim != 1 or self.scale is not None):
            raise ValueError("a symbol is a name: symbols needs dim=1, and no scale")
        if self.classes is not None and self.outputs is not None:
            raise ValueError("with classes there is one probability for each: leave outputs out")
        if self.delay is not None and self.target != "later":
            raise ValueError("delay is for target='later'")
        return self

    @property
    def schedules(self) -> dict[str, Schedule]:
        """Parameters that may change over the stream, in the kernel's order."""
        return {"learning_rate": self.learning_rate}

    @property
    def wait(self) -> int:
        """How many samples may wait for their target."""
        return (self.delay or 256) if self.target == "later" else 0


class Recurrent(Model):
    """A recurrent network.

    Its spec also has ``plan``, the memory layout (``kernels/recurrent/memory_layout.py``), and ``kinds``, the
    number of classes that a prediction distinguishes, None for numbers.
    """

    directions: ClassVar[int] = 1
    target_outputs_class = RecurrentTargetOutputs

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        self._net, self._matrices = self.spec.plan
        self.outputs = int(self._net[memory_layout.OUTPUTS])
        self._goals = int(self._net[memory_layout.GOALS])
        self._places = state_dict.places(self._net, self._matrices)
        state = self.state
        state["parameters"] = self._rows(memory_layout.PARAMETER_ROWS)
        for name, users in _HAS.items():
            if self.spec.optimizer in users:
                state[_MOMENTS[name]] = self._rows(memory_layout.PARAMETER_ROWS)
        state["clock"] = np.array([1.0, 1.0, 0.0])
        state["counters"] = np.zeros(4, np.int64)
        state["quality"] = np.zeros((5, self._goals))
        state["means"] = np.zeros((2, self.dim))
        self._slots = Slots(state, self.spec.keys)

    def _rows(self, which: int, *slots: int) -> Float32:
        """Room for so many rows of 16 lanes, all 0."""
        room = lane_layout.empty(*slots, int(self._net[which]), WIDTH)
        room[...] = 0
        return room

    def _moments(self) -> tuple[NDArray[Any], ...]:
        """Return the optimizer's moments, in the kernels' order."""
        none = np.zeros((0, WIDTH), np.float32)
        return *(self.state.get(name, none) for name in _MOMENTS.values()), self.state["clock"]

    def _rule(self) -> tuple[Any, ...]:
        """How the optimizer goes, and the loss, in the kernels' order."""
        spec = self.spec
        return (
            optimizers.OPTIMIZERS[spec.optimizer],
            np.float32(spec.momentum),
            math.inf if spec.clip is None else spec.clip,
            np.float32(spec.delta if spec.loss == "huber" else math.inf),
        )

    @property
    def _method_y(self) -> int:
        """How targets are scaled: as samples are, unless they are classes."""
        return scaling.NONE if self.spec.kinds else self.method

    @property
    def accepts_late_targets(self) -> bool:
        """Whether targets may arrive after their samples: they may with ``target='later'``."""
        return bool(self.spec.target == "later")

    @property
    def needs_keys(self) -> bool:
        """Whether every sample needs a key: it does with ``keys``."""
        return self.spec.keys is not None

    def read(self, X: ArrayLike) -> Float32:
        """Return ``X`` as float32 ``(n, dim)``. Raises BadValue for a value that is no symbol."""
        rows = super().read(X)
        return rows if self.spec.symbols is None else as_codes("x", rows, self.spec.symbols)

    def read_targets(self, y: ArrayLike) -> Float32:
        """Return ``y`` as float32 ``(n, target_dim)``. Raises BadValue for a value that is no class."""
        rows = super().read_targets(y)
        return rows if self.spec.classes is None else as_codes("y", rows, self.spec.classes)

    def _quality(self) -> dict[str, Any]:
        """Return errors in the target's own units, or log loss and accuracy, and counts of updates.

        ``mase`` is the mean absolute error relative to repeating the last value.
        """
        quality = self.state["quality"]
        told = quality[:, quality[evaluation.COUNT] > 0]
        varied = quality[:, quality[evaluation.PERSISTENCE] > 0]
        first, second = (
            mean(told[row] / told[evaluation.COUNT]) for row in (evaluation.ABSOLUTE, evaluation.SQUARED)
        )
        judged: dict[str, Any] = (
            {"log_loss": first, "accuracy": second}
            if self.spec.kinds
            else {
                "mae": first,
                "rmse": math.sqrt(second),
                "mase": mean(varied[evaluation.OURS] / varied[evaluation.PERSISTENCE]),
            }
        )
        counters = self.state["counters"]
        if self.accepts_late_targets:
            judged["expired_targets"] = int(counters[evaluation.EXPIRED])
            judged["unmatched_targets"] = int(counters[evaluation.UNMATCHED])
        return judged | {
            "updates": int(counters[optimizers.UPDATES]),
            "skipped_updates": int(counters[optimizers.SKIPPED]),
            "gradient_norm": float(self.state["clock"][optimizers.NORM]),
            **self._slots.quality(),
        }

    # -- parameters, as PyTorch names and shapes them ----------------------------------------------------

    @property
    def parameters(self) -> Mapping[str, Float32]:
        """Parameters by PyTorch's names and in PyTorch's shapes, a mapping of read-only copies.

        The read-out is ``head.weight`` and ``head.bias``. Inputs and outputs are scaled ones if the net
        scales.
        """
        found = {name: place.values(self.state["parameters"]) for name, place in self._places.items()}
        for values in found.values():
            values.flags.writeable = False
        return MappingProxyType(found)

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
        shapes = {name: place.shape for name, place in self._places.items()}
        given = state_dict.check(state_dict.read(source), shapes)
        for name in _MOMENTS.values():
            if name in self.state:
                self.state[name][...] = 0
        self.state["clock"][...] = 1.0, 1.0, 0.0
        self._forget()
        for name, place in self._places.items():
            place.put(given[name], self.state["parameters"])

    @abstractmethod
    def _forget(self) -> None:
        """Start the hidden states anew."""

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
        given, told = state_dict.recognise(state_dict.read(source))
        if told.pop("directions") != cls.directions:
            raise BadSpec(
                "this state_dict is of a net in both directions: sl.BidirectionalRNN takes it"
                if cls.directions == 1
                else "this state_dict is of a net in one direction: sl.RNN takes it"
            )
        outputs = told.pop("outputs", None)
        if spec.get("symbols") is not None:
            told["dim"] = 1
        target = spec.get("target", cls.Spec.model_fields["target"].default)
        if target != "next" and spec.get("classes") is None and outputs is not None:
            told["outputs"] = outputs
        net = cls(**{**told, **spec})
        if outputs not in (None, net.outputs):
            wrong = f"the read-out of this state_dict has {outputs} outputs, and this net {net.outputs}"
            if target == "next":
                wrong += ", which forecast the next sample: if those tell something else, say"
                wrong += " target='given' or target='later'"
            raise BadShape(wrong)
        head = {
            name: values for name, values in net.parameters.items() if outputs is None and "head." in name
        }
        net.load_parameters({**given, **head})
        return net

    def _start(self) -> None:
        """Set initial parameters: uniform in ±1/√hidden."""
        generator = np.array([self.spec.seed], np.uint64)
        bound = np.float32(1 / math.sqrt(self.spec.hidden))  # as PyTorch's
        for place in self._places.values():
            values = np.empty(place.shape, np.float32)
            splitmix.fill_uniform(generator, -bound, bound, values.reshape(-1))
            place.put(values, self.state["parameters"])


def mean(values: NDArray[np.float64]) -> float:
    """Return the mean; NaN for no values."""
    return float(values.mean()) if values.size else math.nan
