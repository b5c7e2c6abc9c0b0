"""Bidirectional recurrent networks on a stream, learned in chunks.

This is the latency-controlled scheme of Zhang et al., ICASSP 2016.

A chunk is N_c samples; its right context is the N_r samples after it. When the last of these has arrived, the
chunk is run:

- The forward cells start from their states at the end of the previous chunk. The reverse cells start from 0
  at the end of the right context.
- Layer l at time t reads h of both directions of layer l − 1 at time t. The read-out reads h of the last
  layer.
- The N_c samples get predictions, whose errors are counted one by one, and there is one update on

      L = the mean loss of the N_c predictions (missing targets are not in the mean)

  Its gradient flows through the whole chunk and its context. The initial states are constants.

Then the states of the forward cells after N_c samples are stored, and the N_r samples begin the next chunk.
With N_r = 0 this is PyTorch's training of a bidirectional net on windows of N_c with detached forward states.

Late targets are compared with the prediction that their sample got. A chunk is learned when it has all its
targets and the chunks before it are learned, or when more than ``delay`` predicted samples wait. If the
parameters have changed since its prediction, it is run again with the current ones from the stored states, so
that the gradient is that of one function.

Samples are scaled when they arrive. Targets are scaled when they are compared, by the targets compared
before. Each key has a slot for its waiting samples and states. ``memory_layout.py`` defines the network's
arrays.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device, kernel
from ..simd.lanes import canonical_nan
from ..simd.views import row_of, rows_of, slots_of
from ..stream import gate as gates
from ..stream import scaling
from ..stream.interrupt import requested
from ..stream.scaling import Scaling
from ..stream.score import Score
from . import bidirectional_network as network
from .chunks import (
    LEARNED,
    WATCHED,
    Mode,
    Rule,
    Stream,
    Training,
    add_sample,
    add_target,
    drop_chunk,
    oldest_is_complete,
    reset_stream,
    run_chunk,
    stream_of,
    update,
)
from .evaluation import (
    BUFFERS,
    Evaluation,
    Outputs,
    buffers_of,
    copy_values,
    count_evaluation,
    observe_error,
    read_forecast,
    update_last_values,
    write_evaluation,
)
from .memory_layout import ACTIVATION_ROWS, PARAMETER_ROWS, WINDOW_ROWS
from .optimizers import Optimizer
from .records import (
    CLIP,
    DECAY,
    HUBER_DELTA,
    METHOD,
    MOMENTUM,
    OPTIMIZER,
    SCALE_CLIP,
    TARGET_METHOD,
    Gradients,
    Net,
    Steps,
)

# mode, int64 (3,): 1 for samples, 0 for targets of earlier samples; 1 if the samples count (they update the
# scaling, their targets are learned); 1 if the parameters are updated
SAMPLES, COUNTING, LEARNING = range(3)

# rule, int64 (7,), after the entries of records.py
CHUNK, CONTEXT = 3, 4  # N_c and N_r
LATE_TARGETS = 5  # 1 if targets may arrive later
DELAY = 6  # see Rule

_NAN = np.float32(np.nan)


class ChunkOutputs(NamedTuple):
    """All outputs."""

    common: Any
    sample: Any  # (m,)
    watched: Any  # (m,): whether the sample is not learned


class ChunkRow(NamedTuple):
    """One row of the outputs."""

    outputs: Any
    row: Any


def chunk_scratch_rows(layout, total: int) -> int:
    """Return the number of rows of ``chunk_scratch``."""
    return (BUFFERS + total + 1) * int(layout[WINDOW_ROWS]) + total * int(layout[ACTIVATION_ROWS])


def scratch_rows(layout, total: int) -> int:
    """Return the number of rows of ``scratch``."""
    return int(layout[PARAMETER_ROWS]) + (total + 1) * int(layout[WINDOW_ROWS])


@kernel(
    "i8(f4[:,::1], f4[:,::1], i8[::1], b1[::1], i8[::1], f4[::1], i8[::1], i8[::1], f8[::1], i8[::1],"
    " i8[:,::1], f4[:,::1], f4[:,::1], f4[:,::1], f8[::1], i8[::1], i8[::1], i8[::1], f4[:,:,::1],"
    " f4[:,:,::1], i8[:,::1], i4[:,::1], u1[:,::1], f4[:,:,:,::1], f4[:,:,::1], i8[:,::1], u1[:,::1],"
    " f4[:,:,::1], i8[::1], f8[:,::1], f8[:,::1], f8[::1], i8, f8, f8[:,::1], f8[:,::1], f8[:,::1],"
    " f4[:,::1], f4[:,::1], u1[::1], f8[::1], i8[::1], i8[::1], f4[:,::1], f4[::1], f4[::1], i4[::1],"
    " b1[::1], f4[:,::1])"
)
def learn(
    # The rows
    x,  # (n, dim); (0, dim) if targets of earlier samples arrive
    y,  # (n, TARGET_COLUMNS)
    slots,  # (n,): slot of each sample's stream; for late targets −1 if the stream is unknown
    new_stream,  # (n,): whether the sample is the first of a new stream
    sample_ids,  # (n,); (0,) without late targets
    learning_rate,  # (n,): ε(t)
    mode,  # (3,)
    # The rule, the network and its optimizer
    rule,  # (7,)
    constants,  # (5,)
    layout,  # (17,): see memory_layout.py
    matrices,  # (·, 13): see memory_layout.py
    parameters,  # (PARAMETER_ROWS, 16)
    mean,  # m of the optimizer, as parameters; (0, 16) if it has none
    square,  # v of the optimizer, likewise
    clock,  # (3,): of the optimizer
    counters,  # (4,): of optimizers.py and evaluation.py
    # The streams: see Stream
    waiting,  # (slots,)
    predicted,  # (slots,)
    waiting_x,  # (slots, room, dim)
    waiting_y,  # (slots, room, TARGET_COLUMNS)
    waiting_sample,  # (slots, room)
    waiting_present,  # (slots, room)
    waiting_counted,  # (slots, room)
    states,  # (slots, chunks + 1, forward state rows, 16)
    last_values,  # (slots, 1, TARGET_COLUMNS)
    waiting_ids,  # (slots, room)
    waiting_has_target,  # (slots, room)
    predictions,  # (slots, room, outputs)
    samples,  # (1,): number of samples so far
    # Scaling, score and live quality
    statistics,  # (rows, dim): see scaling.py
    target_statistics,  # (rows, TARGET_COLUMNS)
    score_reference,  # see stream/score.py
    score_columns,
    score_decay,
    quality,  # (5, TARGET_COLUMNS)
    input_means,  # (2, dim)
    error_scale,  # (3, columns): see stream/error_scale.py
    # Scratch and interrupt
    scratch,  # (scratch_rows, 16)
    chunk_scratch,  # (chunk_scratch_rows, 16)
    interrupt,  # see interrupt.py
    gate,  # see stream/gate.py
    # Outputs; m: as many rows as the samples may complete
    written,  # (1,): number of output rows
    sample,  # (m,): number of the row's sample, −1 for none
    prediction,  # (m, outputs)
    error,  # (m,)
    score,  # (m,)
    present,  # (m,)
    watched,  # (m,)
    contribution,  # (m, columns); (0, columns) if nobody needs it
):
    """Add samples in order and run each chunk that is complete, or learn late targets.

    Return the number of samples or targets done: all, or fewer if ``interrupt`` is set.
    """
    net = Net(layout, matrices, parameters)
    own_rule = Rule(rule[CHUNK], rule[CHUNK] + rule[CONTEXT], rule[LATE_TARGETS] == 1, rule[DELAY])
    row_mode = Mode(mode[SAMPLES] == 1, mode[COUNTING] == 1, mode[LEARNING] == 1)
    streams = Stream(
        waiting, predicted, waiting_x, waiting_y, waiting_sample, waiting_present, waiting_counted, states,
        last_values, waiting_ids, waiting_has_target, predictions,
    )  # fmt: skip
    outputs = ChunkOutputs(Outputs(prediction, error, score, present, contribution), sample, watched)
    evaluation = Evaluation(
        Scaling(rule[METHOD], statistics, constants[SCALE_CLIP]),
        Scaling(rule[TARGET_METHOD], target_statistics, constants[SCALE_CLIP]),
        Score(score_reference, score_columns, score_decay),
        quality,
        input_means,
        constants[DECAY],
        error_scale,
    )
    momentum, clip = np.float32(constants[MOMENTUM]), constants[CLIP]
    optimizer = Optimizer(rule[OPTIMIZER], mean, square, clock, counters, momentum, clip)
    total, rows, end = own_rule.total, layout[WINDOW_ROWS], layout[PARAMETER_ROWS]
    training = Training(
        optimizer,
        np.float32(constants[HUBER_DELTA]),
        Gradients(rows_of(scratch, end, rows), rows_of(scratch, 0, end)),
        slots_of(scratch, end + rows, total, rows),
    )
    buffers = buffers_of(layout, chunk_scratch, 0)
    end = (BUFFERS + total + 1) * rows
    steps = Steps(
        slots_of(chunk_scratch, BUFFERS * rows, total + 1, rows),
        slots_of(chunk_scratch, end, total, layout[ACTIVATION_ROWS]),
    )
    row = 0
    for n in range(y.shape[0]):
        stream = stream_of(streams, max(slots[n], np.int64(0)))
        if row_mode.for_samples:
            if new_stream[n]:
                reset_stream(stream)
            sample_id = sample_ids[n] if own_rule.late_targets else np.int64(0)
            stream.numbers[stream.waiting[0]] = samples[0]
            counted = (WATCHED if gates.is_shut(gate) else LEARNED) if row_mode.counting else 0
            add_sample(layout, evaluation, own_rule, counted, stream, sample_id, x, y, n, buffers)
            samples[0] += 1
            first, end = stream.predicted[0], stream.predicted[0]
            if stream.waiting[0] - first == total:
                end += own_rule.chunk
                run_chunk(net, own_rule, stream, first, steps)
                network.save_states(
                    net, steps.window, own_rule.chunk, row_of(stream.states, first // own_rule.chunk + 1)
                )
        else:
            first = add_target(row_mode, stream, slots[n], sample_ids[n], y, n, counters)
            end = first + 1
        for i in range(first, end):
            source = row_of(stream.y, i) if row_mode.for_samples else row_of(y, n)
            copy_values(source, row_of(buffers.target, 0))
            _compare(
                layout,
                evaluation,
                own_rule,
                row_mode,
                gate,
                stream,
                steps.window,
                i,
                i - first,
                buffers,
                ChunkRow(outputs, row),
            )
            row += 1
        if row_mode.for_samples:
            stream.predicted[0] = end
        just_run = row_mode.for_samples and first == 0 and first < end
        while (row_mode.for_samples or row_mode.learning) and oldest_is_complete(own_rule, stream):
            if row_mode.learning and not gates.is_shut(gate):
                if not just_run:
                    run_chunk(net, own_rule, stream, 0, steps)
                update(net, own_rule, stream, steps, training, learning_rate[n])
            drop_chunk(own_rule, stream, counters)
        if requested(interrupt):
            written[0] = row
            return n + 1
    written[0] = row
    return y.shape[0]


@device
def _compare(layout, evaluation, rule, mode, gate, stream, window, i, t, buffers, chunk_row):
    """Compare ``buffers.target`` with the prediction of waiting sample ``i``; write all its outputs.

    The prediction of a sample whose chunk was just run is in slot ``t``.
    """
    forecast, target, goal = buffers.forecast, buffers.target, buffers.goal
    outputs, row = chunk_row
    found, has_forecast = i >= 0, mode.for_samples or (i >= 0 and i < stream.predicted[0])
    counts = has_forecast and mode.counting and stream.counted[i] > 0
    read_forecast(layout, evaluation, window, t, mode.for_samples, forecast)
    if mode.for_samples:
        if rule.late_targets:
            copy_values(forecast, row_of(stream.predictions, i))
    elif has_forecast:
        copy_values(row_of(stream.predictions, i), forecast)
    outputs.sample[row] = stream.numbers[i] if found else -1
    outputs.common.present[row] = stream.present[i] if found else 0
    write_evaluation(layout, evaluation, forecast, target, 0, outputs.common, row)
    scaling.transform(evaluation.target_scale, target, 0, goal)
    counts_as_learned = counts and stream.counted[i] == LEARNED
    learned = counts_as_learned and gates.admits(gate, outputs.common.score[row])
    outputs.watched[row] = counts and not learned
    error = outputs.common.error[row]
    if counts:
        count_evaluation(layout, evaluation, forecast, error, target, 0, stream.last_values)
    if counts_as_learned:
        observe_error(layout, evaluation, gate, forecast, error, target, 0, learned)
    if learned:
        scaling.update(evaluation.target_scale, evaluation.decay, target, 0)
    if has_forecast and (mode.for_samples or mode.learning):
        learned_target = row_of(stream.y, i)
        for c in range(goal.size):
            learned_target[c] = canonical_nan(goal[c]) if learned else _NAN
        update_last_values(target, 0, stream.last_values)
