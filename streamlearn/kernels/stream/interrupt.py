"""A request to end a learn call early. Another thread sets it while the kernel runs.

A kernel looks at ``interrupt`` after each sample, and returns the number of samples that it did:

    for n in range(x.shape[0]):
        ...                                    # learn sample n
        if requested(interrupt):
            return n + 1
    return x.shape[0]

So at least one sample is done. Any split of a batch gives the same bits, and so does any end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from ..compiler import device

NEVER = np.zeros(1, np.uint8)  # the flag of a call that no thread ends early; stays 0


@intrinsic
def _load_atomic(typing: Any, array: Any) -> Any:
    """``array[0]``, read from memory at each call. The compiler may move a plain load out of a loop.

    The order "monotonic" orders no other access. The load costs as much as a plain one.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = make_array(array)(context, builder, arguments[0]).data
        return builder.load_atomic(data, "monotonic", align=1)

    return types.uint8(array), build


@device
def requested(interrupt):
    """Whether another thread asks the kernel to end. ``interrupt``: uint8 ``(1,)``, 0 or 1."""
    return _load_atomic(interrupt) != 0
