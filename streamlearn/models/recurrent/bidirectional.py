"""``sl.BidirectionalRNN``: bidirectional recurrent networks on a stream, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ...kernels import compiler
from ...kernels.arguments import in_order
from ...kernels.recurrent import bidirectional, memory_layout
from ...kernels.simd import splitmix
from ...kernels.simd.blocks import WIDTH, blocks
from ...kernels.stream import gate
from ...kernels.stream.interrupt_words import NEVER
from .. import base, lane_layout
from ..accepts import Accepts
from ..batch import NO_CONTRIBUTION, Batch, Float32, Integers, Targets, part
from ..outputs import BidirectionalExplanation, BidirectionalRNNOutputs, RecurrentTargetOutputs
from ..row_cost import Cost
from ..state_checks import ANY_INTEGER, LARGEST_COUNT, Range, State, invalid_codes
from ..stream.scaling import Statistics
from . import costs
from .base import NO_IDS, Recurrent, RecurrentSpec, Steps

Context = Annotated[int, Field(ge=0, le=1 << 16)]


class BidirectionalSpec(RecurrentSpec):
    """Parameters of ``BidirectionalRNN``."""

    cell: Literal["elman", "lstm", "gru"] = Field(
        "lstm",
        description=(
            "Cell of a unit: 'lstm'; 'gru', with ¾ of its weights; 'elman', with ¼, which forgets soonest."
        ),
    )
    chunk: tuple[Steps, Context] = Field(
        (16, 4),
        description=(
            "(N_c, N_r): samples of a chunk, and samples after it that are its right context. Outputs "
            "come N_r to N_c + N_r − 1 samples after their sample. More context helps and costs "
            "N_r/N_c more time; a shorter chunk updates more often."
        ),
    )

    hidden: int = Field(
        ge=1,
        le=1 << 14,
        description="Units of a layer. More units fit more, at a cost that grows with the square.",
    )
    target: Annotated[Literal["next", "given", "later"], Accepts('Literal["given", "later"]')] = Field(
        "given",
        description=(
            "What is predicted: 'given', a y that comes with its sample; 'later', a y that may also come "
            "later by the sample's id. The next sample is refused: the net has seen it."
        ),
    )

    @model_validator(mode="after")
    def _check(self) -> BidirectionalSpec:
        if self.target == "next":
            raise ValueError(
                "target='next' is not supported: the reverse direction already reads the next sample."
                " Use target='given' or 'later' with a y, or use kind rnn"
            )
        if (self.classes is not None) != (self.loss == "cross_entropy"):
            raise ValueError(
                "classes=… needs loss='cross_entropy' and loss='cross_entropy' needs classes=…;"
                f" got classes={self.classes}, loss={self.loss!r}"
            )
        if self.state_values > base.MAX_STATE_VALUES:
            raise ValueError(
                f"the state of the network has more than {base.MAX_STATE_VALUES} values;"
                " use a smaller hidden, layers, chunk, keys or delay"
            )
        return self

    @property
    def state_values(self) -> int:
        """Number of values in the large arrays of the state and of the scratch memory."""
        layout, _ = self.layout
        steps, slots = sum(self.chunk), self.keys or 1
        rows = 3 * int(layout[memory_layout.PARAMETER_ROWS])
        rows += (steps + 1) * int(
            2 * layout[memory_layout.WINDOW_ROWS] + layout[memory_layout.ACTIVATION_ROWS]
        )
        rows += slots * self.state_places * self.state_rows
        predicted = int(layout[memory_layout.OUTPUTS]) if self.max_waiting else 0
        columns = self.inputs + int(layout[memory_layout.TARGET_COLUMNS]) + predicted
        return rows * WIDTH + slots * (steps + self.max_waiting) * columns

    def row_costs(self) -> list[Cost]:
        """Add the prediction of one chunk, and the learning of as many as one row can complete.

        A late target completes its own chunk and all that waited for it.
        """
        chunk, steps = self.chunk[0], sum(self.chunk)
        layout = self.layout
        forward, backward = costs.forward(layout), costs.backward(layout)
        learned = 1 + self.max_waiting // chunk
        room = steps + self.max_waiting
        moved = room * (self.inputs + self.outputs_and_targets) + self.state_places * self.state_rows * WIDTH
        delay = ("delay",) if self.max_waiting else ()
        names = ("hidden", "layers", "chunk", *delay, *self.output_parameters)
        return [
            *super().row_costs(),
            Cost(steps * forward + moved, ("hidden", "layers", "chunk", *self.output_parameters)),
            Cost(learned * steps * (forward + backward), names, learning=True),
            Cost(learned * (costs.update(layout) + moved), names, learning=True),
        ]

    @property
    def outputs_and_targets(self) -> int:
        """Columns of a prediction and of its target."""
        layout, _ = self.layout
        return int(layout[memory_layout.OUTPUTS]) + int(layout[memory_layout.TARGET_COLUMNS])

    @property
    def class_count(self) -> int | None:
        """Number of classes that a prediction has probabilities of; None if it consists of values."""
        return self.classes

    @property
    def state_places(self) -> int:
        """Number of stored forward states.

        One for each chunk that may wait for targets, one for the current chunk, one for the next.
        """
        return self.max_waiting // self.chunk[0] + 2

    @property
    def state_rows(self) -> int:
        """Rows of 16 lanes that the states of the forward cells take."""
        return self.layers * memory_layout.CELLS[self.cell].states * blocks(self.hidden)

    @property
    def layout(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """``layout`` and ``matrices`` of the network, see ``kernels/recurrent/memory_layout.py``."""
        return memory_layout.network_layout(
            self.cell,
            self.inputs,
            self.hidden,
            self.layers,
            self.class_count or self.outputs or 1,
            symbols=self.symbols,
            classes=self.class_count is not None,
            bias=self.bias,
            head_bias=self.head_bias,
            directions=2,
        )


class BidirectionalRNN(Recurrent):
    """Bidirectional recurrent network on a stream, in chunks with bounded delay.

    It predicts a target from samples before and after it. Use it to label or smooth a stream if a short
    delay is allowed: phases, events, gestures. Each layer has ``hidden`` units per direction.

    Notes
    -----
    A chunk is N_c samples. The N_r samples after them are its right context. When the context has
    arrived, the N_c samples are predicted and their targets learned, in one update on the mean loss. The
    forward direction is carried from chunk to chunk; the reverse direction starts from 0 at the end of
    the context. The gradient goes through all N_c + N_r steps of both directions.

    ``learn`` returns one row per sample that is complete, in order, possibly none; ``sample`` is its
    number. ``predict(X)`` returns the rows that ``learn`` would return if X arrived now. With
    ``target="later"`` a y may come with ``learn_targets``; a chunk is learned when it has all of them,
    or when more than ``delay`` samples wait. Quality is that of ``RNN``; ``waiting`` is the number of
    samples that wait.

    References
    ----------
    M. Schuster and K. K. Paliwal, Bidirectional recurrent neural networks, IEEE Transactions on Signal
    Processing 45, 2673–2681, 1997. Chunks: Y. Zhang et al., Highway long short-term memory RNNs for
    distant speech recognition, ICASSP 2016 (latency-controlled).

    Examples
    --------
    >>> import numpy as np
    >>> import streamlearn as sl
    >>> X = np.random.default_rng(2).normal(size=(100, 3))
    >>> y = (X[:, :1] > 0).astype(float)
    >>> net = sl.BidirectionalRNN(dim=3, hidden=8, chunk=(16, 4))
    >>> out = net.learn(X, y)
    >>> len(out), out.sample[:3]
    (96, array([0, 1, 2]))
    """

    kind: ClassVar[str] = "birnn"
    may_hold_nan = ("last_values", "waiting.x", "waiting.y", "predictions")  # missing values
    may_hold_inf = ("predictions",)  # a prediction may overflow float32
    Spec: ClassVar[type[base.Spec]] = BidirectionalSpec
    outputs_class = BidirectionalRNNOutputs
    explanation_class = BidirectionalExplanation
    directions: ClassVar[int] = 2
    spec: BidirectionalSpec

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(splitmix, bidirectional)
        state = self.state
        slots, room = self._slots.count, sum(self.spec.chunk) + self.spec.max_waiting
        state["waiting"] = np.zeros(slots, np.int64)
        state["waiting.predicted"] = np.zeros(slots, np.int64)
        state["waiting.x"] = np.zeros((slots, room, self.inputs), np.float32)
        state["waiting.y"] = np.zeros((slots, room, self._target_columns), np.float32)
        state["waiting.sample"] = np.zeros((slots, room), np.int64)
        state["waiting.present"] = np.zeros((slots, room), np.int32)
        state["waiting.counted"] = np.zeros((slots, room), np.uint8)
        state["states"] = lane_layout.empty(slots, self.spec.state_places, self.spec.state_rows, WIDTH)
        state["states"][...] = 0
        room = room if self.accepts_late_targets else 0
        late: dict[str, NDArray[Any]] = {
            "waiting.ids": np.zeros((slots, room), np.int64),
            "waiting.has_target": np.zeros((slots, room), np.uint8),
            "predictions": np.zeros((slots, room, self.outputs), np.float32),
        }
        if self.accepts_late_targets:
            state |= late
        state["last_values"] = np.full((slots, 1, self._target_columns), np.nan, np.float32)
        self._target_statistics = self._add(Statistics("targets", self._target_method, self._target_columns))
        self.ranges |= {
            "waiting": Range(0, sum(self.spec.chunk) - 1 + self.spec.max_waiting),
            "waiting.predicted": Range(0, self.spec.max_waiting),
            "waiting.sample": Range(0, LARGEST_COUNT),
            "waiting.present": Range(0, self.inputs),
            "waiting.counted": Range(0, 2),
            "waiting.ids": ANY_INTEGER,
            "waiting.has_target": Range(0, 1),
        }
        self._initialize()

        # The kernel's arguments that stay. ``predict`` runs on copies of those that a run changes.
        arrays = state | late
        self._slot_arguments = {argument: arrays[name] for argument, name in _SLOT_ARRAYS.items()}
        rule = *self.spec.chunk, self.accepts_late_targets, self.spec.max_waiting
        scratch_rows = bidirectional.scratch_rows(self._layout, sum(self.spec.chunk))
        self._arguments = self._kernel_arguments(rule) | self._slot_arguments
        self._arguments["scratch"] = lane_layout.zeros(scratch_rows, WIDTH)
        self._arguments["chunk_scratch"] = self._chunk_scratch()
        self._learn_arguments = in_order(bidirectional.learn.py_func, self._arguments)

    def inconsistencies(self, state: State) -> Iterator[str]:
        """Describe chunks that are not whole, and symbols and classes that do not exist."""
        yield from super().inconsistencies(state)
        left = state["waiting"] - state["waiting.predicted"]
        if (state["waiting.predicted"] % self.spec.chunk[0]).any():
            yield "'waiting.predicted' is not a number of whole chunks"
        if ((left < 0) | (left >= sum(self.spec.chunk))).any():
            yield "'waiting' does not fit 'waiting.predicted'"
        if self.spec.symbols is not None:
            yield from invalid_codes("waiting.x", state["waiting.x"], self.spec.symbols)
        if self.spec.classes is not None:
            yield from invalid_codes("waiting.y", state["waiting.y"], self.spec.classes)

    def _chunk_scratch(self) -> Float32:
        """Return scratch for running one chunk."""
        rows = bidirectional.chunk_scratch_rows(self._layout, sum(self.spec.chunk))
        return lane_layout.zeros(rows, WIDTH)

    @property
    def has_lookahead(self) -> bool:
        """Whether the outputs for a sample depend on later samples: they do."""
        return True

    @property
    def most_waiting(self) -> int:
        """How many samples may wait for their outputs at most: a chunk and its context in each stream."""
        return int(self._slots.count * sum(self.spec.chunk))

    @property
    def _outputs_waiting(self) -> int:
        """Number of samples that wait for their outputs."""
        return int(self.state["waiting"].sum())

    @property
    def target_dim(self) -> int:
        """Columns of ``y``."""
        return self._target_columns

    def _learn(self, batch: Batch) -> BidirectionalRNNOutputs:
        rate = self._schedules.advance(batch)["learning_rate"]
        first = self.samples
        out = self._step_through(batch, rate, _LEARN_SAMPLES)
        self._undo_rest(batch, self.samples - first)
        return out

    def _step_through(self, batch: Batch, rate: Float32, mode: Integers) -> BidirectionalRNNOutputs:
        slots, new_stream = self._slots.assign(batch.keys, batch.rows)
        most = min(len(batch.x) * self.spec.chunk[0], len(batch.x) + int(self.state["waiting"].sum()))
        ids = NO_IDS if batch.ids is None else batch.ids
        rows = batch.x, batch.y, slots, new_stream, ids, rate, mode
        live = self._learn_arguments, self.interrupt, self._gate, self.explains_learning
        done, outputs = self._run(most, rows, *live)
        if done < batch.rows:
            self._slots.correct(part(batch, 0, done).keys)
        return BidirectionalRNNOutputs(**outputs)

    def _learn_late_targets(self, targets: Targets, learning: bool) -> RecurrentTargetOutputs:
        n = targets.rows  # every target has an output
        slots, new_stream = self._slots.find(targets.keys, n), np.zeros(n, np.bool_)
        rate = np.full(n, self._schedules.current()["learning_rate"], np.float32)
        mode, no_samples = (
            _LEARN_TARGETS if learning else _ANSWER_TARGETS,
            np.empty((0, self.inputs), np.float32),
        )
        rows = no_samples, targets.y, slots, new_stream, targets.ids, rate, mode
        live = self._learn_arguments, self.interrupt, self._gate, self.explains_learning
        _, outputs = self._run(n, rows, *live)
        del outputs["present"]
        return RecurrentTargetOutputs(**outputs)

    def predict_validated(self, batch: Batch) -> BidirectionalRNNOutputs:
        """Return the rows that ``learn`` would return if the batch came now. Does not change the model."""
        outputs = self._run_on_copies(batch._replace(y=self._missing_targets(batch.rows)))
        return BidirectionalRNNOutputs(**outputs)

    def explain_validated(self, batch: Batch) -> BidirectionalExplanation:
        """Return the explanation of the samples that would be complete if the batch came now."""
        outputs = self._run_on_copies(batch, explain=True)
        expected = outputs["prediction"]
        if self.spec.class_count:
            most_probable = expected.argmax(axis=1, keepdims=True).astype(np.float32)
            expected = np.where(np.isnan(expected[:, :1]), expected[:, :1], most_probable)
        return BidirectionalExplanation(
            sample=outputs["sample"],
            expected=expected,
            contribution=outputs["contribution"],
            score=outputs["score"],
        )

    def _missing_targets(self, rows: int) -> Float32:
        return np.full((rows, self._target_columns), np.nan, np.float32)

    def _run_on_copies(self, batch: Batch, explain: bool = False) -> dict[str, NDArray[Any]]:
        """Return the outputs of ``learn`` for the batch. Does not change the model."""
        # Run on copies: of the slots of the batch's keys only, and of all else that a run changes.
        n = batch.rows
        copied_slots, slots = np.zeros(1, np.int64), np.zeros(n, np.int64)
        new_stream = np.zeros(n, np.bool_)
        if batch.keys is not None:
            keys, first, slots = np.unique(batch.keys, return_index=True, return_inverse=True)
            copied_slots = self._slots.find(keys, len(keys))
            new_stream[first[copied_slots < 0]] = True
        copies = {argument: array[copied_slots] for argument, array in self._slot_arguments.items()}
        copies |= {argument: self._arguments[argument].copy() for argument in _STREAM_ARGUMENTS}
        copies["chunk_scratch"] = self._chunk_scratch()
        most = min(n * self.spec.chunk[0], n + int(copies["waiting"].sum()))
        ids, rate = np.zeros(n, np.int64), np.zeros(n, np.float32)
        rows = batch.x, batch.y, slots, new_stream, ids, rate, _PREDICT
        arguments = in_order(bidirectional.learn.py_func, self._arguments | copies)
        _, outputs = self._run(most, rows, arguments, NEVER, gate.OPEN, explain)
        del outputs["watched"]
        return outputs

    def _run(
        self,
        most: int,
        rows: tuple[Any, ...],
        arguments: tuple[Any, ...],
        interrupt: NDArray[np.uint8],
        gate: NDArray[np.float64],
        explain: bool,
    ) -> tuple[int, dict[str, NDArray[Any]]]:
        """Call the kernel. Return the number of rows done, and the output rows, ``most`` at most."""
        written = np.zeros(1, np.int64)
        outputs: dict[str, NDArray[Any]] = {
            "sample": np.empty(most, np.int64),
            "prediction": np.empty((most, self.outputs), np.float32),
            "error": np.empty(most, np.float32),
            "score": np.empty(most, np.float32),
            "present": np.empty(most, np.int32),
            "watched": np.empty(most, np.bool_),
        }
        contribution = np.empty((most, self.explained), np.float32) if explain else NO_CONTRIBUTION
        done = bidirectional.learn(
            *rows, *arguments, interrupt, gate, written, *outputs.values(), contribution
        )
        if explain:
            outputs["contribution"] = contribution
        return done, {name: array[: written[0]] for name, array in outputs.items()}

    def _quality(self) -> dict[str, Any]:
        """Return the quality of a recurrent network, and the number of samples that wait."""
        return super()._quality() | {"waiting": int(self.state["waiting"].sum())}

    def _reset_states(self) -> None:
        self.state["states"][...] = 0


# Values of ``mode``, see kernels/recurrent/bidirectional.py
_LEARN_SAMPLES, _PREDICT = np.array([1, 1, 1]), np.array([1, 1, 0])
_LEARN_TARGETS, _ANSWER_TARGETS = np.array([0, 1, 1]), np.array([0, 0, 0])

# Arguments that a run changes: by slot (with the state array of each), and of the whole stream.
_SLOT_ARRAYS = {
    "waiting": "waiting",
    "predicted": "waiting.predicted",
    "waiting_x": "waiting.x",
    "waiting_y": "waiting.y",
    "waiting_sample": "waiting.sample",
    "waiting_present": "waiting.present",
    "waiting_counted": "waiting.counted",
    "states": "states",
    "last_values": "last_values",
    "waiting_ids": "waiting.ids",
    "waiting_has_target": "waiting.has_target",
    "predictions": "predictions",
}
_STREAM_ARGUMENTS = (
    "statistics",
    "target_statistics",
    "score_reference",
    "error_scale",
    "samples",
    "quality",
    "counters",
    "input_means",
)
