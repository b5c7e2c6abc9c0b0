"""What one row of a spec may cost at most, in multiply-adds: the unit of ``limits.row_cost``.

Each spec adds up the parts of its work (``Spec.row_costs``): the worst of learning a sample, learning a late
target, predicting, and one step of a forecast. A loop whose length depends on the data counts with its
largest length. Other operations count as the multiply-adds that take the same time, so that the cost of every
kind takes about the same time: ``python -m benchmarks.row_cost`` measures it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import BadSpec
from ..kernels.simd.blocks import WIDTH, blocks

if TYPE_CHECKING:
    from .spec import Spec

EXPONENTIAL = 8  # of a lane: exp, sigmoid, tanh, or a division with a square root
SCALAR = 4  # an operation outside of lanes, with its loads and stores
RANDOM_ACCESS = 12  # a load and a store far from the ones before
SCALING = 40  # of a channel: scale it and update its statistics
FIXED = 4000  # score, live quality and schedules

_UNLISTED = 0.1  # a refusal names the parameters of the largest parts, all but this share of the cost


class Cost(NamedTuple):
    """A part of the work of a row."""

    multiply_adds: int
    parameters: tuple[str, ...]  # on which it depends, the most effective first; none if it is fixed
    learning: bool = False  # whether only learning does it, and no query


def lanes(units: int) -> int:
    """Return ``units``, rounded up to whole blocks of lanes."""
    return blocks(units) * WIDTH


def row_cost(spec: Spec) -> int:
    """Return the multiply-adds that a row of ``spec`` may cost at most."""
    return spec.total_costs[0]


def query_cost(spec: Spec) -> int:
    """Return the multiply-adds that a row of ``predict``, or a step of a forecast, may cost at most."""
    return spec.total_costs[1]


def check(kind: str, spec: Spec, limit: int) -> None:
    """Raise ``BadSpec`` if a row of ``spec`` may cost more than ``limit``."""
    total = row_cost(spec)
    if total <= limit:
        return
    costs = [cost for cost in spec.row_costs() if cost.parameters]
    left = sum(cost.multiply_adds for cost in costs)
    rest = _UNLISTED * left
    names: list[str] = []
    for cost in sorted(costs, key=lambda cost: -cost.multiply_adds):
        if left > rest:
            names += [name for name in cost.parameters if name not in names]
            left -= cost.multiply_adds
    message = (
        f"a row may cost {total:,} multiply-adds, and limits.row_cost allows {limit:,}; lower"
        f" {' or '.join(names)}, or raise limits.row_cost in the settings of the daemon"
    )
    raise BadSpec(
        f"invalid spec of a {kind}: {message}",
        errors=[{"field": names[0], "message": message}],
        limit="limits.row_cost",
        row_cost=total,
        row_cost_limit=limit,
    )
