"""The gradient of the forecaster's GRU through the read-out, against autograd in float64."""

from __future__ import annotations

import numpy as np
import torch

import streamlearn as sl
from streamlearn.kernels.recurrent import memory_layout
from streamlearn.models.recurrent import forecaster_sizes, state_dict
from tests.models.test_forecaster import daily

HORIZON, HIDDEN, LAGS = 3, 18, 5
K1, K2 = forecaster_sizes.K1, forecaster_sizes.K2


def gru(parameters: dict[str, np.ndarray]) -> torch.nn.GRU:
    cells = torch.nn.GRU(2, HIDDEN).double()
    with torch.no_grad():
        for name, value in parameters.items():
            if not name.startswith("head."):
                getattr(cells, name).copy_(torch.from_numpy(value.astype(float)))
    return cells


def test_an_update_is_autograds_gradient_through_the_read_out():
    net = sl.RNN(readout="rls", dim=1, horizon=HORIZON, hidden=HIDDEN, lags=LAGS, seed=3)
    layout, matrices = forecaster_sizes.layout(net.spec)
    blocks = state_dict.parameter_blocks(layout, matrices)
    x = daily(700, seed=3)
    updates = K1 * 100 + HORIZON  # samples that complete K1·100 pairs
    net.learn(x[: updates - 1])
    before = net.copy_state()
    assert before["net.progress"].tolist() == [[K2 - 1, K1 - 1, HORIZON]]
    net.learn(x[updates - 1 : updates])
    after = net.copy_state()
    assert after["net.progress"].tolist() == [[K2 - K1, 0, HORIZON]]

    window = before["net.window"][0, 0].reshape(-1, layout[memory_layout.WINDOW_ROWS] * 16).astype(float)
    state, target = 16 * layout[memory_layout.STATE], 16 * layout[memory_layout.TARGET]
    given = window[: K2 - 1, target : target + HIDDEN]
    # The newest pair: its gradient from its targets, with W of before
    origin = updates - 1 - HORIZON
    row = origin % HORIZON
    anchor, scale, *_ = before["stream.origins"][0, 0, row]
    z, W = before["stream.features"][0, 0, row], before["readout.weights"][0]
    read_out = torch.tensor(W)
    state_before = torch.tensor(z[-HIDDEN:], requires_grad=True)
    y = torch.tensor((x[origin + 1 : updates, 0].astype(float) - anchor) / scale)
    features = torch.cat([torch.tensor(z[:-HIDDEN]), state_before])
    errors = y - features @ read_out
    sigma = torch.tensor(after["readout.error_size"][0])
    loss = torch.nn.HuberLoss(reduction="none", delta=1.0)  # of e/(2σ): its gradient is e cut to ±2σ
    cut = 2 * sigma
    value = (loss(errors / cut, torch.zeros(HORIZON).double()) * cut * cut / (sigma * HORIZON)).sum()
    (newest,) = torch.autograd.grad(value, state_before)

    parameters = {name: block.unpack(before["net.parameters"][0]) for name, block in blocks.items()}
    cells = gru(parameters)
    inputs = torch.tensor(window[:K2, :2])[:, None]
    first = torch.tensor(window[0, state : state + HIDDEN])[None, None]
    states, _ = cells(inputs, first)
    gradient = torch.cat([torch.tensor(given), newest[None]])
    (states[:, 0] * gradient).sum().div(K2).backward()
    expected = {name: getattr(cells, name).grad.numpy() for name in blocks if not name.startswith("head.")}
    norm = np.sqrt(sum((values**2).sum() for values in expected.values()))
    assert norm > 1e-3
    largest = max(np.abs(values).max() for values in expected.values()) * min(1, 1 / norm)
    for name, values in expected.items():
        old, new = (blocks[name].unpack(arrays["net.mean"][0]).astype(float) for arrays in (before, after))
        ours = (new - 0.9 * old) / 0.1
        bound = 5e-5 * largest + 1e-6 * np.abs(old).max()  # Adam's mean is float32
        np.testing.assert_allclose(ours, values * min(1, 1 / norm), rtol=0, atol=bound)
    np.testing.assert_allclose(after["net.clock"][0, 2], norm, rtol=1e-4)
