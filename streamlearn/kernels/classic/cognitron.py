"""Cognitron (Fukushima 1975): layers of cells with shunting inhibition, each organizing itself upon the one
below.

    excitation     e = Σ_i a_i u_i      inhibition  h = b v, v = Σ_i c_i u_i     over the cell's area below
    cell           w = max(0, (1 + e)/(1 + h) − 1)
    lateral stage  z = max(0, (1 + w)/(1 + Σ_j g_j w_j) − 1)                     over its vicinity
    reinforced by q, if it fires and nobody in its vicinity fires stronger, else
    by q′, if nobody in its vicinity fires:
                   Δa_i = q c_i u_i,   Δb = q Σ_i c_i u_i²/(2v)
                   Δa_i = q′ c_i u_i,  Δb = q′ v

So e grows by twice what h does and a familiar pattern's output tends to 1. All layers are reinforced by what
one sample made of them, a = b = 0 at first; c and g are fixed, and each cell's sum to 1.

Cells lie on planes (``plane.py``), one behind the other: the sample, then every layer's z. Block b of layer l
is row l·blocks + b of ``a`` ``(layers·blocks, area, 16)``, ``b`` and ``v`` ``(layers·blocks, 16)``.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..simd.lanes import WIDTH, anywhere, fma, lane, load, select, store, zero
from ..stream import score as scores
from .plane import largest_around, put, receive, strongest, window

# An output under this is none, so that rounding fires no cell: part of the rule.
FAINTEST = np.float32(2.0**-14)

# Live quality, float64 (4,): exponentially weighted count, Σ share of the last layer's cells that fire,
# Σ cells reinforced by q, Σ cells reinforced by q′
COUNT, FIRING, WON, RECRUITED = 0, 1, 2, 3

_0, _1, _2 = np.float32(0), np.float32(1), np.float32(2)


@device
def _shunted(e, h):
    """max(0, (1 + e)/(1 + h) − 1), written so that little is lost to rounding."""
    value = (e - h) / (_1 + h)
    return select(value >= FAINTEST, value, zero())


@device
def _scratch(layers, blocks, margin, dim):
    """Room for responding: the sample's lines, the planes, every layer's v, and the plane of w."""
    size = 2 * margin + blocks * WIDTH
    planes = np.zeros((layers + 1) * size, np.float32)
    v = np.empty((layers * blocks, WIDTH), np.float32)
    return np.empty(dim, np.float32), planes, v, np.zeros(size, np.float32)


@device
def _respond(l, net, scratch):
    """Layer ``l``'s z from the plane below it; its v is kept for the reinforcement."""
    a, b, c, g, area, vicinity, margin = net
    _, planes, v, fired = scratch
    blocks, size = c.shape[0], fired.size
    for k in range(blocks):
        start, row = l * size + margin + k * WIDTH, l * blocks + k
        e, inhibition = zero(), zero()
        for i in range(area.size):
            u = window(planes, start + area[i])
            e = fma(load(a, row, i), u, e)
            inhibition = fma(load(c, k, i), u, inhibition)
        store(v, row, inhibition)
        put(fired, margin + k * WIDTH, _shunted(e, load(b, row) * inhibition))
    for k in range(blocks):
        start = margin + k * WIDTH
        around = zero()
        for j in range(vicinity.size):
            around = fma(load(g, k, j), window(fired, start + vicinity[j]), around)
        put(planes, (l + 1) * size + start, _shunted(window(fired, start), around))


@device
def _reinforce(l, net, scratch, q, q_prime):
    """Reinforce layer ``l``'s cells; returns how many by q and by q′."""
    a, b, c, _, area, vicinity, margin = net
    _, planes, v, fired = scratch
    blocks, size = c.shape[0], fired.size
    won, recruited = zero(), zero()
    for k in range(blocks):
        start, row = l * size + margin + k * WIDTH, l * blocks + k
        z, most = window(planes, start + size), largest_around(planes, start + size, vicinity)
        inhibition = load(v, row)
        firing = most > _0
        gain = select(firing, select(z >= most, q, zero()), q_prime)
        gain = select(inhibition > _0, gain, zero())
        if anywhere(gain > _0):
            grown = zero()
            for i in range(area.size):
                u = window(planes, start + area[i])
                more = gain * (load(c, k, i) * u)
                store(a, row, i, load(a, row, i) + more)
                grown = fma(more, u, grown)
            half = select(gain > _0, grown / (_2 * inhibition), zero())
            store(b, row, load(b, row) + select(firing, half, gain * inhibition))
            one = select(gain > _0, zero() + _1, zero())
            won = won + select(firing, one, zero())
            recruited = recruited + select(firing, zero(), one)
    return _sum(won), _sum(recruited)


@device
def _sum(values):
    total = _0
    for l in range(WIDTH):
        total += lane(values, l)
    return total


@device
def _say(x, n, layers, net, scratch, inputs, places, scored, said):
    """Respond to sample ``n`` and write what is said of it."""
    winner, activity, distance, score, channels = said
    lines, planes, _, _ = scratch
    channels[n] = receive(x, n, lines)
    for i in range(lines.size):
        planes[inputs[i]] = lines[i]
    for l in range(layers):
        _respond(l, net, scratch)
    winner[n], most = strongest(planes, places, activity, n)
    distance[n] = _1 / (_1 + most) if channels[n] > 0 else np.float32(np.nan)
    score[n] = scores.rank(*scored, distance[n])


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], f4[:,:,::1], f4[:,:,::1], i8[::1], i8[::1], i8, i8[::1],"
    " i8[::1], f8[::1], f8[::1], i4[::1], f4[:,::1], f4[::1], f4[::1], i4[::1])"
)
def predict(
    x,  # (n, dim)
    a,  # (layers·blocks, area, 16)
    b,  # (layers·blocks, 16)
    c,  # (blocks, area, 16)
    g,  # (blocks, vicinity, 16)
    area,  # (area,): steps
    vicinity,  # (vicinity,): steps
    margin,
    inputs,  # (dim,): where the sample's lines go
    places,  # (cells,): where the last layer's cells are
    tree,  # (3072,)
    head,  # (2,)
    winner,  # (n,)
    activity,  # (n, cells)
    distance,  # (n,)
    score,  # (n,)
    channels,  # (n,)
):
    """What the model, as it stands, says of each sample."""
    layers = b.shape[0] // c.shape[0]
    net, scratch = (a, b, c, g, area, vicinity, margin), _scratch(layers, c.shape[0], margin, x.shape[1])
    scored, said = (tree, head), (winner, activity, distance, score, channels)
    for n in range(x.shape[0]):
        _say(x, n, layers, net, scratch, inputs, places, scored, said)


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], f4[:,:,::1], f4[:,:,::1], i8[::1], i8[::1], i8, i8[::1],"
    " i8[::1], f8[::1], f8[::1], i8[::1], f8[::1], f8, f4, f4, i4[::1], f4[:,::1], f4[::1], f4[::1], i4[::1])"
)
def learn(
    x,  # (n, dim)
    a,  # (layers·blocks, area, 16)
    b,  # (layers·blocks, 16)
    c,  # (blocks, area, 16)
    g,  # (blocks, vicinity, 16)
    area,  # (area,)
    vicinity,  # (vicinity,)
    margin,
    inputs,  # (dim,)
    places,  # (cells,)
    tree,  # (3072,)
    head,  # (2,)
    samples,  # (1,)
    quality,  # (4,)
    decay,
    q,
    q_prime,
    winner,  # (n,)
    activity,  # (n, cells)
    distance,  # (n,)
    score,  # (n,)
    channels,  # (n,)
):
    """Learn ``x`` in order; report of each sample what ``predict`` would have said just before."""
    layers = b.shape[0] // c.shape[0]
    net, scratch = (a, b, c, g, area, vicinity, margin), _scratch(layers, c.shape[0], margin, x.shape[1])
    scored, said = (tree, head), (winner, activity, distance, score, channels)
    for n in range(x.shape[0]):
        _say(x, n, layers, net, scratch, inputs, places, scored, said)
        if channels[n] > 0:
            won, recruited, firing = 0.0, 0.0, 0
            for l in range(layers):
                by_q, by_q_prime = _reinforce(l, net, scratch, q, q_prime)
                won += by_q
                recruited += by_q_prime
            for cell in range(places.size):
                firing += activity[n, cell] > _0
            quality[COUNT] = quality[COUNT] * decay + 1.0
            quality[FIRING] = quality[FIRING] * decay + firing / places.size
            quality[WON] = quality[WON] * decay + won
            quality[RECRUITED] = quality[RECRUITED] * decay + recruited
        scores.observe(tree, head, distance[n], decay)
        samples[0] += 1
