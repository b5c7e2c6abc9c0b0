"""The gradient of ``cell="rtu"`` against autograd's through all steps, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.models.test_rtu import FROZEN, assert_same, last_gradient, series, units


def run(parameters: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Return the forecasts of all steps (n, outputs), from a zero state."""
    real, imaginary = parameters["weight_ih_l0"].chunk(2)
    nu, phi = parameters["nu_phi_l0"].chunk(2)
    weights = torch.complex(real, imaginary)
    pole = torch.exp(torch.complex(-torch.exp(nu), torch.exp(nu) * phi))
    h, found = torch.zeros(len(nu), dtype=torch.complex128), []
    for row in x:
        h = pole * h + (1 - pole.abs()) * (weights @ row.to(torch.complex128))
        found.append(parameters["head.weight"] @ torch.cat([h.real, h.imag]) + parameters["head.bias"])
    return torch.stack(found)


@pytest.mark.parametrize("loss", ["mse", "huber", "cross_entropy"])
@pytest.mark.parametrize("k", [1, 20])
def test_the_gradient_is_autograds_through_the_whole_history(k, loss):
    n, classes = 200, {"classes": 4} if loss == "cross_entropy" else {"outputs": 2}
    net = units(dim=4, hidden=19, target="given", tbptt=(k, k), loss=loss, **classes, **FROZEN)
    x = series(n, 4, seed=2)
    y = series(n, 2, seed=3)
    if loss == "cross_entropy":
        y = np.random.default_rng(3).integers(0, 4, (n, 1)).astype(np.float32)
    parameters = {
        name: torch.tensor(values.astype(float), requires_grad=True)
        for name, values in net.parameters.items()
    }
    net.learn(x, y)
    forecasts = run(parameters, torch.from_numpy(x.astype(float)))[-k:]
    target = torch.from_numpy(y[-k:].astype(float))
    if loss == "cross_entropy":
        value = torch.nn.functional.cross_entropy(forecasts, target[:, 0].long())
    else:
        value = {"mse": torch.nn.functional.mse_loss, "huber": torch.nn.functional.huber_loss}[loss](
            forecasts, target
        )
    value.backward()
    expected = {name: values.grad.numpy() for name, values in parameters.items()}
    assert_same(last_gradient(net), expected, 1e-4)
