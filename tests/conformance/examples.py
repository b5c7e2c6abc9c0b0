"""The specs that the conformance suite tests, by kind. To add a model, add its entry to EXAMPLES.

The suite derives all test cases from it: the usual and the smallest spec, 17 channels, every scaling,
every variant, samples that are only watched, and units that a person gave labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamlearn import models
from streamlearn.models import Model
from streamlearn_client.outputs import NamedArrays

Spec = dict[str, Any]


def _all_outputs(model: Model) -> tuple[str, ...]:
    return tuple(model.predict(**predict_arguments(stream(model, 1))).arrays)


def _starts_random(model: Model) -> bool:
    return bool(model.spec.init == "random")


@dataclass(frozen=True)
class Kind:
    # Small, but more than one block of lanes; five channels; every part of the rule acts within 100 samples.
    usual: Spec
    smallest: Spec  # one channel, one unit
    oversized: Spec  # changes to ``usual`` that exceed the size limits
    variants: tuple[Spec, ...] = ()  # changes to ``usual`` that select other rules
    scalings: tuple[str, ...] = ("standard", "ewma", "minmax")
    depends_on_seed: Callable[[Model], bool] = lambda model: True  # whether the initial state is random
    # Outputs that predict returns just before a sample is learned, and that learn returns again.
    predicted_outputs: Callable[[Model], tuple[str, ...]] = _all_outputs
    valid_values: Callable[[np.ndarray], np.ndarray] = np.asarray  # converts samples to valid ones


DECAY = {"start": 0.5, "end": 0.05, "tau": 40.0}
IN_SECONDS = {"start": 0.5, "end": 0.05, "tau": 10.0, "unit": "seconds", "form": "inverse"}
ADAM = {"readout": "adam"}
RLS = {"readout": "rls", "tbptt": (16, 16), "half_life": 50.0}
BANDS = {"coverage": 0.9}
DRIFT = {"drift": "blocks", "drift_block": 2, "drift_rest": 3, "drift_threshold": 0.5}
ALARM = {"alarm": {"above": 1.5, "clear": 1.0, "for": (2, 3), "quiet": 3, "after": 5}}
SEQUENCES = {"alarm": {**ALARM["alarm"], "transitions": True, "dwell": True, "cycle": True}}
TIMES = {"period": 5, "calendar": ["hour", "weekday"]}
FEATURES = {"features": {"lags": [1, 7], "differences": [2], "memory": [1.5, 300.0], **TIMES}}
LAGS = {"features": {"lags": [1, 3]}}
WATCH = {"learn_below": 0.3, "patience": 3, "learn_for": 60, "watch_missing": 0.3}
LABELLED = ("som", "competitive", "gng")  # kinds whose units may get labels by hand
BY_HAND = "-labelled-by-hand"
EXAMPLES = {
    "som": Kind(
        usual={"dim": 5, "grid": (4, 5), "learning_rate": DECAY, "half_life": 50.0},
        smallest={"dim": 1, "grid": (1, 1)},
        oversized={"dim": 4096, "grid": (4096, 4096)},
        variants=(
            {"grid_distance": "euclidean", "sigma": {"start": 3.0, "end": 0.0, "tau": 20.0}},
            {"grid_distance": "chebyshev", "neighbourhood": "bubble", "sigma": 1.0},
            {"topology": "hexagonal", "torus": True, "neighbourhood": "triangle", "distance": "manhattan"},
            {"grid": (20,), "neighbourhood": "mexican_hat", "sigma": 2.0, "distance": "chebyshev"},
            {"distance": "cosine", **SEQUENCES},
            {**DRIFT, "drift_both": True},
            {"learning_rate": IN_SECONDS, "sigma": {"start": 2.0, "end": 0.5, "half_life": 20.0}},
            {**DRIFT, "on_drift": "watch", "watch_for": 5, "scale": "standard"},
            {**DRIFT, "on_drift": "reheat", "watch_missing": 0.3},
            {"init": "pca", "init_samples": 15, "scale": "standard", "topology": "hexagonal"},
            {"init": "pca", "init_samples": 12, "grid": (20,), **DRIFT, "drift": "adwin", "drift_delta": 0.9},
            {"init": np.linspace(-3, 8, 100).reshape(4, 5, 5)},
            {"labels": 4, "delay": 7, **DRIFT, "drift": "page_hinkley"},
            ALARM,
            {**FEATURES, "scale": "standard"},
        ),
        depends_on_seed=_starts_random,
    ),
    "competitive": Kind(
        usual={"dim": 5, "units": 20, "learning_rate": DECAY, "half_life": 50.0},
        smallest={"dim": 1, "units": 1},
        oversized={"dim": 1 << 20, "units": 1 << 24},
        variants=(
            {"mode": "soft"},
            {"mode": "soft", "beta": {"start": 5.0, "end": 0.0, "tau": 1.0}},
            {"mode": "soft", "distance": "cosine"},
            {"units": 70, "distance": "manhattan"},
            {"mode": "gas"},
            {"conscience": 2.0, "conscience_rate": 0.1},
            {"frequency_sensitive": True, "leak": 0.01},
            {**DRIFT, "drift": "adwin", "drift_delta": 0.9, "drift_both": True},
            {"init": "samples", "scale": "minmax", "conscience": 2.0},
            {**DRIFT, "on_drift": "reseed", "mode": "soft", "labels": 2},
            {"init": "range", "init_samples": 15, "scale": "ewma", **SEQUENCES},
            {"labels": ["a", "b", "c ü"], "delay": 30, "init": "samples", "mode": "gas"},
            {
                **DRIFT,
                "drift": "page_hinkley",
                "on_drift": "watch",
                "watch_for": 3,
                "watch_missing": 0.0,
            },
            {"features": {"lags": [40], "calendar": "hour"}, "init": "samples", "labels": 3, "delay": 30},
            {"learning_rate": "1/n", "rate_floor": 0.3, "half_life": 20.0},
            {"learning_rate": None, "mode": "soft", "units": 37, **DRIFT, "on_drift": "adapt"},
            {"learning_rate": "1/n", "mode": "gas", "rate_floor": 0.0, **DRIFT, "on_drift": "reheat"},
            {"learning_rate": None, "init": "samples", "conscience": 2.0, "scale": "standard"},
        ),
        depends_on_seed=_starts_random,
    ),
    "gng": Kind(
        usual={"dim": 5, "max_units": 20, "insert_every": 4, "max_age": 4, "half_life": 50.0},
        smallest={"dim": 1, "max_units": 2},
        oversized={"dim": 1 << 20, "max_units": 1 << 13},
        variants=(
            {"max_units": 40, "insert_every": 1, "max_age": 1},
            {"learning_rate": DECAY, "error_split": 0.1, "error_decay": 0.9, "distance": "manhattan"},
            {"distance": "cosine", "error_decay": 0.0},
            {**DRIFT, "on_drift": "reseed", "seed": 1},
            {"init": "samples", **SEQUENCES},
            FEATURES,
        ),
        depends_on_seed=_starts_random,
    ),
    "rnn": Kind(
        usual={"readout": "adam", "dim": 5, "hidden": 18, "cell": "lstm", "tbptt": (4, 7), "half_life": 50.0},
        smallest={"readout": "adam", "dim": 1, "hidden": 1},
        oversized={"readout": "adam", "hidden": 1 << 14, "layers": 64},
        variants=(
            {**ADAM, "cell": "elman", "layers": 2, "optimizer": "sgd", "learning_rate": DECAY, "clip": 1.0},
            {"readout": "adam", "cell": "elman", "residual": True, "tbptt": (3, 9), "loss": "huber"},
            {**ADAM, "target": "given", "outputs": 3, "tbptt": (1, 1), "bias": False, "head_bias": False},
            {
                "readout": "adam",
                "target": "given",
                "outputs": 1,
                "tbptt": (16, 16),
                "scale": "standard",
                "layers": 2,
            },
            {
                "readout": "adam",
                "cell": "gru",
                "layers": 2,
                "optimizer": "momentum",
                "learning_rate": 0.01,
                "record_lags": True,
            },
            {
                "readout": "adam",
                "cell": "gru",
                "tbptt": (8, 8),
                "optimizer": "rmsprop",
                "learning_rate": 0.001,
                "clip": 1.0,
            },
            {
                "readout": "adam",
                "dim": 1,
                "symbols": 20,
                "loss": "cross_entropy",
                "tbptt": (5, 5),
                "record_lags": True,
            },
            {**ADAM, "target": "given", "classes": 3, "loss": "cross_entropy", "scale": "standard"},
            {"readout": "adam", "horizon": 3, "scale": "ewma", "residual": True},
            {"readout": "adam", "cell": "rtu", "tbptt": (1, 1), "dim": 3, "horizon": 3, "keys": 2, **BANDS},
            {"readout": "adam", "cell": "rtu", "target": "later", "outputs": 2, "delay": 5, "tbptt": (3, 3)},
            {"readout": "adam", "keys": 2, "tbptt": (4, 4), "cell": "gru", **ALARM, **BANDS},
            {
                "readout": "adam",
                "target": "later",
                "outputs": 2,
                "delay": 9,
                "keys": 3,
                "scale": "minmax",
                "tbptt": (3, 3),
                **BANDS,
            },
            {**RLS, "hidden": 3, "horizon": 3, "lags": 6, "period": 4},
            {**RLS, "hidden": 0, "keys": 2, "period": (5, 12), "lags": 3, "clip": None, "memory": 3},
            {**RLS, "hidden": 18, "keys": 2, "horizon": 2, "lags": 2, "residual": False, "coverage": 0.5},
            {**RLS, **DRIFT, "hidden": 2, "lags": 4, "on_drift": "watch", "watch_for": 5},
            {**RLS, **DRIFT, "hidden": 2, "lags": 4, "on_drift": "adapt", "scale": "ewma", "mix": False},
            {**RLS, "hidden": 2, "lags": 4, "horizon": 2, "features": {"calendar": "hour"}, "keys": 2},
            {**RLS, "target": "given", "outputs": 2, "hidden": 3, "lags": 3, "memory": 2, "horizon": 3},
            {**RLS, "hidden": 3, "horizon": 2, "lags": 4, "replay": 2, "keys": 2},
            {**RLS, "target": "given", "hidden": 3, "lags": 2, "replay": 3},
            {**RLS, "target": "given", "hidden": 0, "keys": 2, "mix": False, "scale": "standard"},
            {**RLS, **FEATURES, **DRIFT, "target": "given", "hidden": 2, "keys": 3, "on_drift": "adapt"},
            {"readout": "adam", "target": "later", "classes": 4, "loss": "cross_entropy", "delay": 4},
            {
                "readout": "adam",
                **DRIFT,
                "on_drift": "watch",
                "watch_for": 5,
                "watch_missing": 0.5,
                "tbptt": (4, 4),
            },
            {
                "readout": "adam",
                **DRIFT,
                "on_drift": "watch",
                **ALARM,
                "watch_for": 3,
                "target": "later",
                "keys": 2,
                "delay": 9,
            },
            {"readout": "adam", **FEATURES, "horizon": 3, "keys": 2, "residual": True, "tbptt": (3, 5)},
            {"readout": "adam", **FEATURES, "target": "later", "delay": 9, "scale": "standard"},
        ),
        depends_on_seed=lambda net: net.spec.units > 0,
        predicted_outputs=lambda net: (
            ("prediction", "present") if net.target_dim else ("error", "score", "present")
        ),
    ),
    "birnn": Kind(
        usual={"dim": 5, "hidden": 18, "cell": "lstm", "chunk": (4, 2), "half_life": 50.0},
        smallest={"dim": 1, "hidden": 1, "chunk": (1, 0)},
        oversized={"hidden": 1 << 14, "layers": 64},
        variants=(
            {"cell": "elman", "layers": 3, "optimizer": "sgd", "learning_rate": DECAY, "clip": 1.0},
            {"cell": "gru", "layers": 2, "chunk": (3, 7), "outputs": 3, "loss": "huber", "scale": "standard"},
            {**DRIFT, "on_drift": "watch", "watch_for": 9, "watch_missing": 0.5, "chunk": (5, 0), **ALARM},
            {"optimizer": "sgd", "learning_rate": IN_SECONDS, "scale": "minmax", "bias": False},
            {"cell": "gru", "keys": 2, "optimizer": "rmsprop", "learning_rate": 0.001, "head_bias": False},
            {"dim": 1, "symbols": 20, "classes": 3, "loss": "cross_entropy", "chunk": (1, 3)},
            {"classes": 20, "loss": "cross_entropy", "keys": 3, "scale": "ewma", "layers": 2, **ALARM},
            {"target": "later", "outputs": 2, "delay": 9, "keys": 3, "scale": "minmax", "chunk": (2, 3)},
            {**DRIFT, "on_drift": "watch", "watch_for": 3, "target": "later", "delay": 4},
            {**FEATURES, "keys": 2, "scale": "standard"},
        ),
        predicted_outputs=lambda net: ("sample", "prediction", "present"),
    ),
    "grossberg": Kind(
        usual={
            "dim": 5,
            "layers": [[9, 11], [4]],
            "threshold": 3.0,
            "learning_rate": DECAY,
            "half_life": 50.0,
        },
        smallest={"dim": 1, "layers": [[1]], "threshold": 0.0},
        oversized={"layers": [[1 << 20] * 64]},
        variants=(
            {"layers": [[2], [3, 3], [40]], "leak": 0.01},
            {"layers": [[70, 5]], "sensitivity": 0.05, **ALARM},
            LAGS,
        ),
        scalings=(),
        depends_on_seed=lambda net: net.dim > 1,  # a unit's only weight is always 1
    ),
    "hamming": Kind(
        usual={"dim": 5, "units": 20, "threshold": 3.0, "learning_rate": DECAY, "half_life": 50.0},
        smallest={"dim": 1, "units": 1, "threshold": 0.0},
        oversized={"dim": 1 << 20, "units": 1 << 20},
        variants=({"units": 70, "max_iterations": 3, **SEQUENCES}, LAGS),
        scalings=(),
    ),
    "malsburg": Kind(
        usual={"dim": 5, "sheet": 2, "h": DECAY, "half_life": 50.0},
        smallest={"dim": 1, "sheet": 0},
        oversized={"dim": 4096, "sheet": 512},
        variants=(
            {"sheet": (4, 6), "q_rings": (0, 2), "delta": 0.5, **SEQUENCES},
            {"sheet": (1, 20), "p_rings": (0, 3), "r_rings": (0, 0), "steps": 3, "theta": 0.0},
            LAGS,
        ),
        scalings=(),
        depends_on_seed=lambda sheet: sheet.dim > 1,  # a cell's only weight is always its sum
        valid_values=np.abs,
    ),
    "cognitron": Kind(
        usual={"dim": 5, "half_life": 50.0},
        smallest={"dim": 1},
        oversized={"dim": 1 << 20, "layers": 64, "area": 16},
        variants=(
            {"dim": 20, "shape": (4, 5), "layers": 2, "area": 1, "falloff": 0.5},
            {**SEQUENCES, "dim": 33, "shape": (11, 3), "layers": 1, "vicinity": 5, "q": 1.0, "q_prime": 0.5},
            LAGS,
        ),
        scalings=(),
        depends_on_seed=lambda net: False,  # all connections start at 0
        valid_values=np.abs,
    ),
}


def specs() -> dict[str, tuple[str, Spec]]:
    """Return (kind, spec) by name of example, for all registered kinds."""
    found = {}
    for name in sorted(models.kinds().keys() & EXAMPLES.keys()):
        kind = EXAMPLES[name]
        found[name] = name, kind.usual
        found[f"{name}-smallest"] = name, kind.smallest
        found[f"{name}-17-channels"] = name, {**kind.usual, "dim": 17}
        settled = {field: 0.1 if value is DECAY else value for field, value in kind.usual.items()}
        found[f"{name}-watch"] = name, {**settled, **WATCH}
        for scale in kind.scalings:
            found[f"{name}-{scale}"] = name, {**kind.usual, "scale": scale}
        if name in LABELLED:
            found[f"{name}{BY_HAND}"] = name, kind.usual
        found[f"{name}-adapts"] = name, {**kind.usual, **DRIFT, "on_drift": "adapt"}
        for number, variant in enumerate(kind.variants, start=1):
            found[f"{name}-variant-{number}"] = name, {**kind.usual, **variant}
    return found


SPECS = specs()
USUAL = [name for name in SPECS if name in EXAMPLES]
Batch = dict[str, np.ndarray]  # the arguments of learn: X, and y, keys, ids, times if the model accepts them


def make(example: str) -> Model:
    kind, spec = SPECS[example]
    model = models.create(kind, spec)
    if example.endswith(BY_HAND):
        for label in hand_labels(model):
            model.apply_label(model.validate_label(*label, None, None))
    return model


def hand_labels(model: Model) -> list[tuple[str, int]]:
    return [(name, k % len(model.labels)) for k, name in enumerate(("ok", "worn", "ok", "leak ü"))]


def make_valid(model: Model, batch: Batch) -> Batch:
    """Convert ``batch`` to values that are valid for the model: symbols and classes are whole numbers."""
    found = {**batch, "X": EXAMPLES[model.kind].valid_values(batch["X"])}
    for name, count in (("X", "symbols"), ("y", "classes"), ("y", "labels")):
        if name in found and getattr(model.spec, count, None) is not None:
            found[name] = np.fmod(np.floor(np.abs(found[name])), np.float32(getattr(model.spec, count)))
    return found


def stream(model: Model, n: int, seed: int = 1, missing: float = 0.1) -> Batch:
    """Return ``n`` samples (and targets) of a noisy wave. Each channel has its own offset and spread."""
    random = np.random.default_rng(seed)
    phase = np.arange(n)[:, None] / 7 + np.arange(model.dim)
    x = np.sin(phase) * (1 + np.arange(model.dim)) + 2 * np.arange(model.dim)
    x += 0.3 * random.normal(size=x.shape)
    x[random.random(x.shape) < missing] = np.nan
    if missing:
        x[n // 3 : n // 3 + 2] = np.nan
    batch = {"X": x.astype(np.float32)}
    if model.target_dim:
        y = np.cos(phase[:, :1]) * (1 + np.arange(model.target_dim))
        y[random.random(y.shape) < missing] = np.nan
        batch["y"] = y.astype(np.float32)
    if model.needs_keys:
        batch["keys"] = random.integers(0, 4, n) // 2 * seed  # keys of unequal frequency
    if model.accepts_late_targets:
        batch["ids"] = 1000 * seed + np.arange(n)
    if model.uses_time:
        batch["times"] = model.samples + np.arange(n) + random.normal(size=n)
    return make_valid(model, batch)


def predict_arguments(batch: Batch) -> Batch:
    """Return the part of ``batch`` that predict accepts."""
    return {name: batch[name] for name in ("X", "keys", "times") if name in batch}


def inputs_of(model: Model, batch: Batch) -> np.ndarray:
    """Return what the learner sees of a batch that comes next: its samples and their features."""
    if model._features is None:
        return batch["X"]
    given = {name: batch.get(name) for name in ("y", "keys", "ids", "times")}
    seen = model._features.preview(model.validate(batch["X"], **given)).x
    least_squares = getattr(model.spec, "least_squares", False)  # which predicts channels from channels
    return seen[:, : model.dim] if least_squares else seen


def stream_of(model: Model, values: np.ndarray, seed: int = 1) -> Batch:
    """Return a stream with the samples ``values`` ``(n, dim)`` and their first channel as targets."""
    batch = {**stream(model, len(values), seed), "X": values.astype(np.float32)}
    if model.target_dim:
        batch["y"] = np.repeat(batch["X"][:, :1], model.target_dim, axis=1)
    return make_valid(model, batch)


def has_predecessor(batch: Batch) -> np.ndarray:
    """Return (n,): whether an earlier sample of the batch has the same key, or is of the only stream."""
    if "keys" not in batch:
        return np.arange(len(batch["X"])) > 0
    keys = batch["keys"].tolist()
    return np.array([key in keys[:i] for i, key in enumerate(keys)])


def match_samples(model: Model, out: NamedArrays, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Match rows of the outputs to the samples from number ``first`` on.

    Returns the rows (k,) and, for each row, the index (k,) of its sample, counted from ``first``. Rows
    for samples before ``first``, which a model with look-ahead also returns, are left out.
    """
    if not model.has_lookahead:
        return np.arange(len(out)), np.arange(len(out))
    rows = np.flatnonzero(out.sample >= first)
    return rows, out.sample[rows] - first


def part(batch: Batch, start: int, stop: int) -> Batch:
    return {name: values[start:stop] for name, values in batch.items()}


def outputs_hash(out: NamedArrays) -> str:
    """Return a hash of the outputs that does not depend on the bit patterns of NaNs."""
    digest = hashlib.sha256()
    for name, array in sorted(out.arrays.items()):
        numbers = np.where(np.isnan(array), np.float32(np.nan), array) if array.dtype.kind == "f" else array
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + numbers.tobytes())
    return digest.hexdigest()


def join(parts: list[NamedArrays]) -> NamedArrays:
    return NamedArrays(
        **{name: np.concatenate([out.arrays[name] for out in parts]) for name in parts[0].arrays}
    )


def count_init_samples(model: Model) -> int:
    """Number of samples that the model collects for its initial weights. They get no scores."""
    return len(model.state.get("init.samples", ()))


def declared(model: Model, attribute: str) -> set[str]:
    """State arrays that ``attribute`` of the model's classes, or of its parts such as ``Watch``, names."""
    owners = [*type(model).__mro__, *map(type, vars(model).values())]
    return {name for owner in owners for name in vars(owner).get(attribute, ())}


def not_finite(model: Model) -> list[str]:
    """Names of state arrays with a NaN or an infinity that the owner of the array does not declare."""
    may_hold_nan, may_hold_inf = declared(model, "may_hold_nan"), declared(model, "may_hold_inf")
    return [
        name
        for name, array in model.state.items()
        if (np.isnan(array).any() and name not in may_hold_nan)
        or (np.isinf(array).any() and name not in may_hold_inf)
    ]
