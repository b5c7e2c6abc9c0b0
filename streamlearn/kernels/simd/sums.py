"""The sum of sixteen lanes or of four columns, in one order on every CPU."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from ..compiler import device
from .lanes import COLUMNS, doubles, f64, lane


@device
def add_up(v):
    """Neighbours are added, then pairs, and so on: four steps, where one after another would be fifteen."""
    a = (lane(v, 0) + lane(v, 1)) + (lane(v, 2) + lane(v, 3))
    b = (lane(v, 4) + lane(v, 5)) + (lane(v, 6) + lane(v, 7))
    c = (lane(v, 8) + lane(v, 9)) + (lane(v, 10) + lane(v, 11))
    d = (lane(v, 12) + lane(v, 13)) + (lane(v, 14) + lane(v, 15))
    return (a + b) + (c + d)


@intrinsic
def add_columns(typingctx: Any, value: Any) -> Any:
    """The sum of doubles, the first two and the last two first; a float64 itself."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if value is not doubles:
            return values[0]
        a, b, c, d = (
            builder.extract_element(values[0], ir.Constant(ir.IntType(32), i)) for i in range(COLUMNS)
        )
        return builder.fadd(builder.fadd(a, b), builder.fadd(c, d))

    return (f64(value), build) if value in (doubles, f64) else None
