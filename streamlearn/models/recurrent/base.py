"""Shared by all recurrent nets: spec, optimizer, live quality, and parameters in PyTorch's format."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from ...kernels.recurrent import evaluation, memory_layout, optimizers
from ...kernels.simd.blocks import WIDTH
from ...kernels.stream import error_scale, scaling
from .. import base, lane_layout
from ..batch import Float32
from ..outputs import RecurrentTargetOutputs
from ..row_cost import SCALAR, SCALING, Cost
from ..state_checks import COUNT, LARGEST_FLOAT, Range, State
from ..stream.keys import Slots
from ..stream.schedules import Decay, Positive, Schedule, within
from ..validation import as_codes
from . import initial, state_dict
from .parameters import MOMENTS, PyTorchParameters

Steps = Annotated[int, Field(ge=1, le=1 << 16)]
Count = Annotated[int, Field(ge=2, le=1 << 16)]

NO_IDS = np.zeros(0, np.int64)  # sample ids of a net without late targets


class RecurrentSpec(base.Spec):
    """Parameters of every recurrent network."""

    size_parameters: ClassVar[tuple[str, ...]] = ("hidden", "layers", "keys", "delay")

    hidden: int | None = Field(
        None,
        ge=0,
        le=1 << 14,
        description="Units of a layer. More units fit more, at a cost that grows with the square.",
    )
    cell: Literal["elman", "lstm", "gru", "rtu"] = Field(
        "lstm",
        description=(
            "Cell of a unit: 'lstm'; 'gru', with ¾ of its weights; 'elman', with ¼, which forgets soonest; "
            "'rtu', linear units with time constants of 1 to 10⁴ samples, learned without a window (one "
            "layer, no biases, no symbols)."
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
        description="Largest norm of a gradient, for updates that diverge; it is scaled. None: no limit.",
    )

    @model_validator(mode="after")
    def _check_target_and_symbols(self) -> Self:
        if self.symbols is not None and (self.dim != 1 or self.scale is not None):
            raise ValueError(
                "symbols needs dim=1 and scale=None, because a sample is one symbol number;"
                f" got dim={self.dim}, scale={self.scale!r}"
            )
        if self.classes is not None and self.outputs is not None:
            raise ValueError(
                f"outputs cannot be set with classes: the outputs are the {self.classes} class probabilities."
                " Remove outputs"
            )
        if self.delay is not None and self.target != "later":
            raise ValueError(
                f"delay needs target='later', got target={self.target!r}. Remove delay or change target"
            )
        return self

    def row_costs(self) -> list[Cost]:
        """Add the search for a key, the search for a late target's sample, and the errors of the outputs."""
        layout, _ = self.layout
        columns = int(layout[memory_layout.OUTPUTS]) + int(layout[memory_layout.TARGET_COLUMNS])
        return [
            *super().row_costs(),
            Cost((self.keys or 0) * SCALAR, ("keys",)),
            Cost(self.max_waiting * SCALAR, ("delay",), learning=True),
            Cost(columns * SCALING, self.output_parameters),
        ]

    @property
    def output_parameters(self) -> tuple[str, ...]:
        """Parameters that determine the number of outputs."""
        names = ("horizon", "symbols", "classes", "outputs")
        return tuple(name for name in names if getattr(self, name, None) is not None) or ("dim",)

    @property
    def layout(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """``layout`` and ``matrices`` of the network, see ``kernels/recurrent/memory_layout.py``."""
        raise AssertionError("every subclass defines the layout of its network")

    @property
    def schedules(self) -> dict[str, Schedule]:
        """Parameters that may change over the stream, in the kernel's order."""
        return {"learning_rate": self.learning_rate}

    @property
    def compares_channels(self) -> bool:
        """Whether samples are compared by the relations of their channels, and not by the error alone."""
        return False

    @property
    def largest_norm(self) -> float:
        """Largest norm of the gradient."""
        return math.inf if self.clip is None else self.clip

    @property
    def units(self) -> int:
        """Units of a layer."""
        return 32 if self.hidden is None else self.hidden

    @property
    def max_waiting(self) -> int:
        """Number of samples that may wait for their late target."""
        return (self.delay or 256) if self.target == "later" else 0


class Recurrent(PyTorchParameters):
    """A recurrent net.

    Its spec also has ``layout`` (see ``kernels/recurrent/memory_layout.py``) and ``class_count``: the number
    of classes that a prediction has probabilities of, None if it consists of values.
    """

    target_outputs_class = RecurrentTargetOutputs

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        self._layout, self._matrices = self.spec.layout
        self.outputs = int(self._layout[memory_layout.OUTPUTS])
        self._target_columns = int(self._layout[memory_layout.TARGET_COLUMNS])
        self._blocks = state_dict.parameter_blocks(self._layout, self._matrices)
        state = self.state
        state["parameters"] = self._zeros(memory_layout.PARAMETER_ROWS)
        for name, optimizers_with in MOMENTS.values():
            if self.spec.optimizer in optimizers_with:
                state[name] = self._zeros(memory_layout.PARAMETER_ROWS)
        state["optimizer.clock"] = np.array([1.0, 1.0, 0.0])
        state["counters"] = np.zeros(4, np.int64)
        state["quality"] = np.zeros((5, self._target_columns))
        state["input_means"] = np.zeros((2, self.inputs))
        self._target_statistics = self._statistics  # of targets that are samples
        columns = 0 if self.spec.compares_channels else self.explained
        state["error_scale"] = np.zeros((error_scale.ROWS, columns))
        self._slots = Slots(state, self.spec.keys)
        self.ranges |= self._slots.ranges | {
            "counters": COUNT,
            "optimizer.clock": Range(0, (1, 1, LARGEST_FLOAT)),
            **dict.fromkeys(("quality", "error_scale"), Range(0, LARGEST_FLOAT)),
        }

    def inconsistencies(self, state: State) -> Iterator[str]:
        """Describe keys that contradict the number of samples."""
        yield from super().inconsistencies(state)
        yield from self._slots.inconsistencies(state)

    def _zeros(self, rows: int, *slots: int) -> Float32:
        """Return zeros of shape ``(*slots, layout[rows], 16)``, aligned to cache lines."""
        return lane_layout.zeros(*slots, int(self._layout[rows]), WIDTH)

    def _kernel_arguments(self, rule: Sequence[int], constants: Sequence[float] = ()) -> dict[str, Any]:
        """Return the arguments of every kernel by name: rule, network, optimizer and the state of the stream.

        ``rule`` and ``constants`` are the entries of the own kernel, after those of every kernel (see
        ``kernels/recurrent/records.py``).
        """
        spec, state = self.spec, self.state
        delta = spec.delta if spec.loss == "huber" else math.inf
        common = spec.momentum, spec.largest_norm, delta, spec.scale_clip, self.decay
        own = self.method, self._target_method, optimizers.OPTIMIZERS[spec.optimizer]
        none = np.zeros((0, WIDTH), np.float32)
        return {
            "rule": np.array([*own, *rule]),
            "constants": np.array([*common, *constants], np.float64),
            "layout": self._layout,
            "matrices": self._matrices,
            "parameters": state["parameters"],
            **{argument: state.get(name, none) for argument, (name, _) in MOMENTS.items()},
            "clock": state["optimizer.clock"],
            "counters": state["counters"],
            "samples": state["samples"],
            "last_values": state["last_values"],
            "statistics": self._statistics.rows,
            "target_statistics": self._target_statistics.rows,
            **self._score.arguments,
            **{name: state[name] for name in ("quality", "input_means", "error_scale")},
        }

    @property
    def _target_method(self) -> int:
        """How the kernels scale targets."""
        return scaling.NONE if self.spec.class_count else self.method

    @property
    def scored_values(self) -> int:
        """Number of values of a target, or of the next sample; 1 for a class."""
        values = self.dim if self.spec.target == "next" else self.spec.outputs or 1
        return 1 if self.spec.class_count is not None else int(values)

    @property
    def accepts_late_targets(self) -> bool:
        """Whether targets may arrive after their samples: they may with ``target='later'``."""
        return bool(self.spec.target == "later")

    @property
    def needs_keys(self) -> bool:
        """Whether every sample needs a key: it does with ``keys``."""
        return self.spec.keys is not None

    def read(self, X: ArrayLike) -> Float32:
        """Return ``X`` as float32 ``(n, dim)``. Raises BadValue for a value that is not a symbol."""
        rows = super().read(X)
        return rows if self.spec.symbols is None else as_codes("x", rows, self.spec.symbols)

    def read_targets(self, y: ArrayLike) -> Float32:
        """Return ``y`` as float32 ``(n, target_dim)``. Raises BadValue for a value that is not a class."""
        rows = super().read_targets(y)
        return rows if self.spec.classes is None else as_codes("y", rows, self.spec.classes)

    def _quality(self) -> dict[str, Any]:
        """Live quality in the stream's own units.

        For values: ``mae`` and ``rmse`` over all outputs, and ``mase``, the mean over outputs of the absolute
        error relative to that of persistence (the last value). For classes: ``log_loss``, the mean of −log p
        in nats, and ``accuracy``, the share of samples whose class was the most probable one. For all:
        ``updates``, ``skipped_updates`` (gradient not finite) and the last ``gradient_norm`` before clipping.
        With late targets: ``expired_targets`` (samples learned without one) and ``unmatched_targets``
        (targets without a waiting sample). With ``keys``: the number of keys, and of forgotten ones.
        """
        found = self._errors()
        counters = self.state["counters"]
        if self.accepts_late_targets:
            found["expired_targets"] = int(counters[evaluation.EXPIRED])
            found["unmatched_targets"] = int(counters[evaluation.UNMATCHED])
        return found | {
            "updates": int(counters[optimizers.UPDATES]),
            "skipped_updates": int(counters[optimizers.SKIPPED]),
            "gradient_norm": float(self.state["optimizer.clock"][optimizers.NORM]),
            **self._slots.quality(),
        }

    def _errors(self) -> dict[str, Any]:
        """Return the errors of the predictions: means over recent samples."""
        quality = self.state["quality"]
        seen = quality[:, quality[evaluation.COUNT] > 0]
        compared = quality[:, quality[evaluation.PERSISTENCE] > 0]
        first, second = (
            mean_or_nan(seen[row] / seen[evaluation.COUNT])
            for row in (evaluation.ABSOLUTE, evaluation.SQUARED)
        )
        return (
            {"log_loss": first, "accuracy": second}
            if self.spec.class_count
            else {
                "mae": first,
                "rmse": math.sqrt(second),
                "mase": mean_or_nan(compared[evaluation.OURS] / compared[evaluation.PERSISTENCE]),
            }
        )

    def _initialize(self) -> None:
        initial.draw_parameters(self._blocks, self.spec.seed, self.state["parameters"])


def mean_or_nan(values: NDArray[np.float64]) -> float:
    """Return the mean; NaN if there are no values."""
    return float(values.mean()) if values.size else math.nan
