"""``sl.BidirectionalRNN``: recurrent nets that see what comes after a sample too, chunk by chunk."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from streamlearn_client.outputs import Outputs

from ...kernels import compiler
from ...kernels.recurrent import bidirectional, memory_layout
from ...kernels.simd import splitmix
from ...kernels.simd.lanes import WIDTH
from .. import base, lane_layout
from ..batch import Batch, Float32, Integers, Targets
from ..outputs import BidirectionalRNNOutputs
from ..signature import Accepts
from .base import NOBODY, Recurrent, RecurrentSpec, Steps

Context = Annotated[int, Field(ge=0, le=1 << 16)]


class BidirectionalSpec(RecurrentSpec):
    """Parameters of ``BidirectionalRNN``."""

    chunk: tuple[Steps, Context] = Field(
        (16, 4),
        description=(
            "(N_c, N_r): samples of a chunk, and samples after it that are its right context. Outputs "
            "come N_r to N_c + N_r − 1 samples after their sample. More context helps and costs "
            "N_r/N_c more time; a shorter chunk updates more often."
        ),
    )

    target: Annotated[Literal["next", "given", "later"], Accepts('Literal["given", "later"]')] = Field(
        "given",
        description=(
            "What is predicted: 'given', a y that comes with its sample; 'later', a y that may also come "
            "later by the sample's id. The next sample is refused: the net has seen it."
        ),
    )

    @model_validator(mode="after")
    def _fits(self) -> BidirectionalSpec:
        if self.target == "next":
            raise ValueError(
                "target='next': a net in both directions has seen the sample that it would forecast;"
                " give it a y of its own, or later"
            )
        if (self.classes is not None) != (self.loss == "cross_entropy"):
            raise ValueError("classes=… is for loss='cross_entropy', which needs it")
        net, _ = self.plan
        steps, slots = sum(self.chunk), self.keys or 1
        rows = 3 * int(net[memory_layout.PARAMETER_ROWS])
        rows += (steps + 1) * int(2 * net[memory_layout.WINDOW_ROWS] + net[memory_layout.TRACE_ROWS])
        rows += slots * self.places * self.carried
        told = int(net[memory_layout.OUTPUTS]) if self.wait else 0
        values = slots * (steps + self.wait) * (self.dim + int(net[memory_layout.GOALS]) + told)
        if rows * WIDTH + values > base.MAX_STATE_VALUES:
            raise ValueError(
                f"the net needs more than {base.MAX_STATE_VALUES} values;"
                " take a smaller hidden, layers, chunk, keys or delay"
            )
        return self

    @property
    def kinds(self) -> int | None:
        """Number of classes that a prediction distinguishes; None for numbers."""
        return self.classes

    @property
    def places(self) -> int:
        """Number of saved forward states.

        One per chunk that may wait for targets, one for the current chunk, one for the next.
        """
        return self.wait // self.chunk[0] + 2

    @property
    def carried(self) -> int:
        """Rows of the forward cells' states."""
        return self.layers * memory_layout.CELLS[self.cell].states * memory_layout.blocks(self.hidden)

    @property
    def plan(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The network as kernels see it."""
        return memory_layout.plan(
            self.cell,
            self.dim,
            self.hidden,
            self.layers,
            self.kinds or self.outputs or 1,
            symbols=self.symbols,
            classes=self.kinds is not None,
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
    A chunk is N_c samples, and the N_r samples after them are its right context. When the context has
    come, the N_c samples are predicted and their targets learned, in one update on the mean loss. The
    forward direction is carried from chunk to chunk; the reverse direction starts from 0 at the end of
    the context. The gradient goes through all N_c + N_r steps of both directions.

    ``learn`` returns one row per sample that is complete, in order, possibly none; ``sample`` is its
    number. ``predict(X)`` returns the rows that ``learn`` would return if X came now. With
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
    Spec: ClassVar[type[base.Spec]] = BidirectionalSpec
    outputs_class = BidirectionalRNNOutputs
    directions: ClassVar[int] = 2
    spec: BidirectionalSpec

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(splitmix, bidirectional)
        state, steps = self.state, sum(self.spec.chunk)
        slots, room = self._slots.count, steps + self.spec.wait
        state["waiting"] = np.zeros(slots, np.int64)
        state["waiting.told"] = np.zeros(slots, np.int64)
        state["waiting.x"] = np.zeros((slots, room, self.dim), np.float32)
        state["waiting.y"] = np.zeros((slots, room, self._goals), np.float32)
        state["waiting.sample"] = np.zeros((slots, room), np.int64)
        state["waiting.present"] = np.zeros((slots, room), np.int32)
        state["waiting.counted"] = np.zeros((slots, room), np.uint8)
        state["states"] = lane_layout.empty(slots, self.spec.places, self.spec.carried, WIDTH)
        state["states"][...] = 0
        room = room if self.accepts_late_targets else 0
        late: dict[str, NDArray[Any]] = {
            "waiting.ids": np.zeros((slots, room), np.int64),
            "waiting.came": np.zeros((slots, room), np.uint8),
            "said": np.zeros((slots, room, self.outputs), np.float32),
        }
        if self.accepts_late_targets:
            state |= late
        state["last"] = np.full((slots, 1, self._goals), np.nan, np.float32)
        state["scale.targets"] = np.zeros((3, self._goals))
        self._start()
        self._network = self._net, self._matrices, state["parameters"], *self._moments()
        self._memory = [*(state[name] for name in _MEMORY), *late.values()]
        self._live = [state[name] for name in _LIVE]
        self._forth = self._room_to_run()
        self._back = (
            self._rows(memory_layout.TRANSPOSED_ROWS),
            self._rows(memory_layout.WINDOW_ROWS, steps),
            self._rows(memory_layout.WINDOW_ROWS),
            self._rows(memory_layout.PARAMETER_ROWS),
        )
        self._constants = *self._rule(), self.method, self._method_y, self.spec.scale_clip, self.decay

    def _room_to_run(self) -> tuple[Float32, Float32]:
        """Scratch for one chunk: window and trace."""
        steps = sum(self.spec.chunk)
        return self._rows(memory_layout.WINDOW_ROWS, steps + 1), self._rows(memory_layout.TRACE_ROWS, steps)

    @property
    def has_lookahead(self) -> bool:
        """Whether the outputs for a sample depend on later samples: they do."""
        return True

    @property
    def target_dim(self) -> int:
        """Columns of ``y``."""
        return self._goals

    def _learn(self, batch: Batch) -> Outputs:
        rate = self._schedules.advance(batch)["learning_rate"]
        return self._step_through(batch, rate, learning=True)

    def _skip(self, batch: Batch) -> Outputs:
        """Chunks and hidden states go on, and that is all."""
        return self._step_through(batch, np.zeros(batch.rows, np.float32), learning=False)

    def _step_through(self, batch: Batch, rate: Float32, learning: bool) -> Outputs:
        place = self._slots.assign(batch.keys, batch.rows)
        ids = NOBODY if batch.ids is None else batch.ids
        how = ids, True, learning, learning, rate
        out = self._run(batch.x, batch.y, *place, *how, self._memory, self._forth, self._live)
        if self._freeze is None:
            del out.arrays["frozen"]
        return out

    def _learn_late_targets(self, targets: Targets, learning: bool) -> Outputs:
        rows = targets.rows
        none, place = np.empty((0, self.dim), np.float32), self._slots.find(targets.keys, rows)
        rate = np.full(rows, self._schedules.current()["learning_rate"], np.float32)
        how = targets.ids, False, learning, learning, rate
        given = none, targets.y, place, np.zeros(rows, np.bool_), *how
        out = self._run(*given, self._memory, self._forth, self._live)
        del out.arrays["present"], out.arrays["frozen"]
        return out

    def predict_validated(self, batch: Batch) -> Outputs:
        # On copies, of the slots that are asked for alone.
        """Return the rows that ``learn`` would return if the batch came now. Does not change the model."""
        slots, place = np.zeros(1, np.int64), np.zeros(batch.rows, np.int64)
        fresh = np.zeros(batch.rows, np.bool_)
        if batch.keys is not None:
            asked, first, place = np.unique(batch.keys, return_index=True, return_inverse=True)
            slots = self._slots.find(asked, len(asked))
            fresh[first[slots < 0]] = True
        memory, live = [array[slots] for array in self._memory], [array.copy() for array in self._live]
        y, ids = np.full((batch.rows, self._goals), np.nan, np.float32), np.zeros(batch.rows, np.int64)
        how = ids, True, True, False, np.zeros(batch.rows, np.float32)
        out = self._run(batch.x, y, place, fresh, *how, memory, self._room_to_run(), live)
        del out.arrays["frozen"]
        return out

    def _run(self, x: Float32, y: Float32 | None, place: Integers, *given: Any) -> Outputs:
        *how, memory, forth, live = given
        chunk, _ = self.spec.chunk
        # Every sample completes a chunk or none; every target that comes later is answered.
        most = min(len(x) * chunk, len(x) + int(memory[0].sum())) if len(x) else len(place)
        said: dict[str, NDArray[Any]] = {
            "sample": np.empty(most, np.int64),
            "prediction": np.empty((most, self.outputs), np.float32),
            "error": np.empty(most, np.float32),
            "score": np.empty(most, np.float32),
            "present": np.empty(most, np.int32),
            "frozen": np.empty(most, np.bool_),
        }
        rule = *self.spec.chunk, self.accepts_late_targets, self.spec.wait
        given = x, y, place, *how, *rule, *self._network, *memory, *forth, *self._back
        rows = bidirectional.run(*given, *self._constants, *live, *said.values())
        return Outputs(**{name: array[:rows] for name, array in said.items()})

    def _quality(self) -> dict[str, Any]:
        """Return the quality of a recurrent network, and the number of samples that wait."""
        return super()._quality() | {"waiting": int(self.state["waiting"].sum())}

    def _forget(self) -> None:
        self.state["states"][...] = 0


# Arrays that a run changes, in the kernel's order: by slot, and of the whole stream.
_WAITING = "x", "y", "sample", "present", "counted"
_MEMORY = "waiting", "waiting.told", *(f"waiting.{name}" for name in _WAITING), "states", "last"
_LIVE = (
    "scale.statistics",
    "scale.targets",
    "score.tree",
    "score.head",
    "samples",
    "quality",
    "counters",
    "means",
)
