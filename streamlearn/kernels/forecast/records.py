"""Arrays of the forecaster that belong together.

Samples of a stream have numbers 0, 1, 2, … (``position``). Value number a is in ``history[a % depth]``.
What sample o began (its features, its forecasts) is in row ``o % horizon`` of the other rings: it is complete
when sample o + horizon arrives, which then takes its row.

All values that count are float64, in the units of the stream or, where noted, of its scale s. The scale of a
channel is its mean absolute change.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..compiler import device
from ..simd.views import row_of

# rule, int64 (10,)
HORIZON = 0  # samples that are forecast at once
LAGS = 1  # samples among the features, the newest one included
FEATURES = 2  # length of z
HIDDEN = 3  # units of the GRU; 0 for none
K1, K2 = 4, 5  # TBPTT of the GRU
RESIDUAL = 6  # 1: features and targets are relative to the last value; 0: to the running mean
EXTRA = 7  # further features of a sample, which all channels share
MIXES = 8  # 1: the read-out is mixed with naive forecasts
REPLAY = 9  # earlier windows that the GRU learns again after each update

# constants, float64 (9,)
FORGETTING = 0  # λ: factor of the weight of the past per pair
RIDGE = 1  # δ: P starts at I/δ
CLIP = 2  # an error counts up to ± CLIP times its running size; +inf for no limit
SCALE_GAIN = 3  # of the mean absolute change, per sample
DECAY = 4  # of score and live quality, per sample
MISS = 5  # 1 − coverage of the bands
BAND_GAIN = 6  # η of the bands
RATE = 7  # of Adam, for the GRU
MIX_DECAY = 8  # of the losses of the mix, per sample

# statistics, float64 (slots, channels, 7). Of the changes: their number, recent mean of their sizes, mean of
# all sizes, recent mean, recent mean square. Of the values: their number and their mean
CHANGES, CHANGE, MEAN_CHANGE, MEAN_STEP, SQUARE, VALUES, LEVEL = range(7)

# origins, float64 (slots, channels, horizon, 4). Of a sample: the value that its forecast is relative to, the
# scale, 1 if the sample has a value, and the drift
ANCHOR, SCALE, HAS_VALUE, DRIFT = range(4)

# forecasts, float32 (slots, channels, horizon, 4, horizon): of a sample: of the read-out; mixed; half the
# width of the band, NaN while there is none; the level of the errors, see ``bands.py``
READ_OUT, MIXED, HALF_WIDTH, ERROR_LEVEL = range(4)

# pairs, int64 (channels, 2): pairs learned; restarts of P
LEARNED, RESTARTS = range(2)

NONE = -1  # `first` of a channel without a value so far


class Rule(NamedTuple):
    """Sizes and constants."""

    sizes: Any  # rule, see above
    constants: Any  # see above
    periods: Any  # (periods,): lengths of the seasons, in samples
    time_constants: Any  # (K,): of the running averages, in samples


class ReadOut(NamedTuple):
    """The read-out of one channel, shared by all streams."""

    weights: Any  # W: (features, horizon), in units of s
    covariance: Any  # P: (features, features)
    error_size: Any  # σ: (horizon,), in units of s
    pairs: Any  # (2,)


class Mix(NamedTuple):
    """The mix of one channel."""

    losses: Any  # L: (horizon, experts)
    weights: Any  # (horizon, experts)
    errors: Any  # (horizon, 2): discounted sum and count of the |error| of the mix


class Bands(NamedTuple):
    """The bands of one channel."""

    errors: Any  # (horizon, ring): |error| of recent forecasts in levels, the oldest is replaced
    ordered: Any  # the same, in order
    counts: Any  # (horizon,): errors so far
    levels: Any  # (horizon, LEVELS): means of the |errors|, in units of s; see ``bands.py``
    miss: Any  # a_t: (horizon,)


class Channel(NamedTuple):
    """What one stream keeps of one channel."""

    history: Any  # (depth,): missing values are replaced by their forecast
    first: Any  # (1,): number of the first value; NONE before it
    statistics: Any  # (7,)
    averages: Any  # (K,): running averages, relative to the first value
    features: Any  # z: (horizon, features)
    origins: Any  # (horizon, 4)
    forecasts: Any  # (horizon, 4, horizon)


class Arrays(NamedTuple):
    """All channels and streams.

    The fields of `ReadOut`, `Mix` and `Bands` have an axis for the channels, those of `Channel` axes for
    streams and channels.
    """

    weights: Any
    covariance: Any
    error_size: Any
    pairs: Any
    losses: Any
    mix_weights: Any
    mix_errors: Any
    band_errors: Any
    band_ordered: Any
    band_counts: Any
    band_levels: Any
    band_miss: Any
    history: Any
    first: Any
    statistics: Any
    averages: Any
    features: Any
    origins: Any
    forecasts: Any


class Outputs(NamedTuple):
    """Outputs that every row has."""

    prediction: Any  # (n, horizon, channels or targets)
    lower: Any  # (n, horizon, channels or targets)
    upper: Any  # (n, horizon, channels or targets)
    error: Any  # (n,)
    score: Any  # (n,)
    present: Any  # (n,)


@device
def read_out_of(arrays, c):
    """The read-out of channel ``c``."""
    return ReadOut(
        row_of(arrays.weights, c),
        row_of(arrays.covariance, c),
        row_of(arrays.error_size, c),
        row_of(arrays.pairs, c),
    )


@device
def mix_of(arrays, c):
    """The mix of channel ``c``."""
    return Mix(row_of(arrays.losses, c), row_of(arrays.mix_weights, c), row_of(arrays.mix_errors, c))


@device
def bands_of(arrays, c):
    """The bands of channel ``c``."""
    return Bands(
        row_of(arrays.band_errors, c),
        row_of(arrays.band_ordered, c),
        row_of(arrays.band_counts, c),
        row_of(arrays.band_levels, c),
        row_of(arrays.band_miss, c),
    )


@device
def channel_of(arrays, slot, c):
    """Channel ``c`` of the stream ``slot``."""
    return Channel(
        row_of(row_of(arrays.history, slot), c),
        row_of(row_of(arrays.first, slot), c),
        row_of(row_of(arrays.statistics, slot), c),
        row_of(row_of(arrays.averages, slot), c),
        row_of(row_of(arrays.features, slot), c),
        row_of(row_of(arrays.origins, slot), c),
        row_of(row_of(arrays.forecasts, slot), c),
    )


@device
def value_of(channel, number):
    """The value of sample ``number``, which is at most ``depth`` − 1 samples old."""
    return channel.history[number % channel.history.size]
