"""Keys: which of a model's slots holds what it remembers of a sample's own stream.

A key that is new takes a free slot, or the one whose key was heard of longest ago, which is forgotten. A few
thousand keys are looked through faster than a table of them could be kept in order.

State, per slot: its key in ``table`` and the number of the last sample of it in ``heard``, −1 where the slot
is free. ``forgotten`` ``(1,)`` counts.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel

NONE = -1


@device
def _slot(key, table, heard, guess):
    """The slot of ``key``, or −1; ``guess`` is looked at first, for samples of a key come in runs."""
    if guess >= 0 and heard[guess] >= 0 and table[guess] == key:
        return guess
    for slot in range(table.size):
        if table[slot] == key and heard[slot] >= 0:
            return np.int64(slot)
    return np.int64(NONE)


@device
def _oldest(heard):
    """The first free slot, or that of the key heard of longest ago."""
    oldest = np.int64(0)
    for slot in range(heard.size):
        if heard[slot] < heard[oldest]:
            oldest = slot
    return oldest


@kernel("void(i8[::1], i8[::1], i8[::1], i8[::1], i8[::1], i8[::1], b1[::1])")
def assign(
    keys,  # (n,)
    table,  # (slots,)
    heard,  # (slots,)
    forgotten,  # (1,)
    samples,  # (1,): learned so far
    place,  # (n,)
    fresh,  # (n,)
):
    """For each sample the slot of its key in ``place``, and whether the slot begins anew with it."""
    slot = np.int64(NONE)
    for n in range(keys.size):
        slot = _slot(keys[n], table, heard, slot)
        fresh[n] = slot < 0
        if slot < 0:
            slot = _oldest(heard)
            forgotten[0] += 1 if heard[slot] >= 0 else 0
            table[slot] = keys[n]
        heard[slot] = samples[0] + n
        place[n] = slot


@kernel("void(i8[::1], i8[::1], i8[::1], i8[::1])")
def find(
    keys,  # (n,)
    table,  # (slots,)
    heard,  # (slots,)
    place,  # (n,)
):
    """For each key its slot in ``place``, −1 where it has none."""
    slot = np.int64(NONE)
    for n in range(keys.size):
        slot = _slot(keys[n], table, heard, slot)
        place[n] = slot
