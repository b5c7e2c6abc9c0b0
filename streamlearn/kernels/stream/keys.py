"""Keys: the assignment of the streams that share a model to the model's slots.

A new key takes a free slot. If all slots are in use, it replaces the least recently used key. Linear search
is faster than a sorted table for a few thousand keys.

State: ``table`` ``(slots,)`` holds the key of each slot, ``last_sample`` ``(slots,)`` the number of the key's
last sample, NONE for a free slot. ``forgotten`` ``(1,)`` counts the replaced keys.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel

NONE = -1


@device
def _slot(key, table, last_sample, guess):
    """The slot of ``key``, or −1. Tries ``guess`` first, because samples of one key often come in runs."""
    if guess >= 0 and last_sample[guess] >= 0 and table[guess] == key:
        return guess
    for slot in range(table.size):
        if table[slot] == key and last_sample[slot] >= 0:
            return np.int64(slot)
    return np.int64(NONE)


@device
def _least_recent(last_sample):
    """The first free slot, else the slot of the least recently used key."""
    least_recent = np.int64(0)
    for slot in range(last_sample.size):
        if last_sample[slot] < last_sample[least_recent]:
            least_recent = slot
    return least_recent


@kernel("void(i8[::1], i8[::1], i8[::1], i8[::1], i8[::1], i8[::1], b1[::1])")
def assign(
    keys,  # (n,)
    table,  # (slots,)
    last_sample,  # (slots,)
    forgotten,  # (1,)
    samples,  # (1,): number of samples learned
    slots,  # (n,)
    fresh,  # (n,)
):
    """Write the slot of each sample to ``slots``, and to ``fresh`` whether its key is new in that slot."""
    slot = np.int64(NONE)
    for n in range(keys.size):
        slot = _slot(keys[n], table, last_sample, slot)
        fresh[n] = slot < 0
        if slot < 0:
            slot = _least_recent(last_sample)
            forgotten[0] += 1 if last_sample[slot] >= 0 else 0
            table[slot] = keys[n]
        last_sample[slot] = samples[0] + n
        slots[n] = slot


@kernel("void(i8[::1], i8[::1], i8[::1], i8[::1])")
def find(
    keys,  # (n,)
    table,  # (slots,)
    last_sample,  # (slots,)
    slots,  # (n,)
):
    """Write the slot of each key to ``slots``; −1 if it has none."""
    slot = np.int64(NONE)
    for n in range(keys.size):
        slot = _slot(keys[n], table, last_sample, slot)
        slots[n] = slot
