"""One step of a recurrent cell and its derivative, in float64 NumPy.

Elman: Cognitive Science 14 (1990). LSTM: Hochreiter & Schmidhuber, Neural Computation 9 (1997), with the
forget gate of Gers et al., Neural Computation 12 (2000). GRU: Cho et al., EMNLP 2014, with the reset gate
applied after W_hh·h as in PyTorch. The gates are in PyTorch's order: i, f, g, o and r, z, n.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
Weights = list[Array]  # weight_ih (G·H, D), weight_hh (G·H, H), bias_ih (G·H,), bias_hh (G·H,)


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def softmax(y: Array) -> Array:
    e = np.exp(y - y.max())
    return e / e.sum()


def forward(cell: str, weights: Weights, x: Array, h: Array, c: Array) -> tuple[Array, Array, tuple]:
    """Return h_t, c_t and the activations for ``backward``, from x_t, h_{t−1} and c_{t−1}.

    Only an LSTM uses c."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    a_x = weight_ih @ x + bias_ih
    a_h = weight_hh @ h + bias_hh
    if cell == "elman":
        new_h = np.tanh(a_x + a_h)
        return new_h, c, (x, h, new_h)
    if cell == "gru":
        (r_x, z_x, n_x), (r_h, z_h, n_h) = np.split(a_x, 3), np.split(a_h, 3)
        r, z = sigmoid(r_x + r_h), sigmoid(z_x + z_h)
        n = np.tanh(n_x + r * n_h)
        return (1 - z) * n + z * h, c, (x, h, r, z, n, n_h)
    i, f, g, o = np.split(a_x + a_h, 4)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    new_c = f * c + i * g
    return o * np.tanh(new_c), new_c, (x, h, c, i, f, g, o, new_c)


def backward(
    cell: str, weights: Weights, activations: tuple, dh: Array, dc: Array
) -> tuple[Weights, Array, Array, Array]:
    """Return ∂L/∂weights, ∂L/∂x_t, ∂L/∂h_{t−1} and ∂L/∂c_{t−1}, from ∂L/∂h_t and ∂L/∂c_t.

    ``d_x`` and ``d_h`` are the derivatives with respect to W_ih·x + b_ih and W_hh·h + b_hh."""
    weight_ih, weight_hh, _, _ = weights
    if cell == "elman":
        x, h, new_h = activations
        d_x = d_h = dh * (1 - new_h**2)
        dh_direct, dc = 0.0, np.zeros_like(dc)
    elif cell == "gru":
        x, h, r, z, n, n_h = activations
        dn = dh * (1 - z) * (1 - n**2)
        dr, dz = dn * n_h * r * (1 - r), dh * (h - n) * z * (1 - z)
        d_x, d_h = np.concatenate([dr, dz, dn]), np.concatenate([dr, dz, dn * r])
        dh_direct, dc = dh * z, np.zeros_like(dc)
    else:
        x, h, c, i, f, g, o, new_c = activations
        dc = dc + dh * o * (1 - np.tanh(new_c) ** 2)
        di, df, dg = dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2)
        do = dh * np.tanh(new_c) * o * (1 - o)
        d_x = d_h = np.concatenate([di, df, dg, do])
        dh_direct, dc = 0.0, dc * f
    d_weights = [np.outer(d_x, x), np.outer(d_h, h), d_x, d_h]
    return d_weights, weight_ih.T @ d_x, dh_direct + weight_hh.T @ d_h, dc
