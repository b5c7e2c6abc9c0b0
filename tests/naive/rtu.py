"""Diagonal complex units learned by real-time recurrent learning, in float64 NumPy, from the formulas.

Elelimy et al., Real-time recurrent learning using trace units, 2024; with λ = exp(e^ν(−1 + iφ)) and
γ = 1 − |λ|.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
Parameters = dict[str, Array]


class TraceUnits:
    """Complex units and a linear read-out of their real and imaginary parts, by our names of parameters."""

    def __init__(self, parameters: Parameters) -> None:
        self.p = {name: np.array(values, float) for name, values in parameters.items()}
        hidden, dim = self.B.shape
        self.h = np.zeros(hidden, complex)
        self.e_pole = np.zeros(hidden, complex)  # ∂h/∂λ with γ constant
        self.e_input = np.zeros((hidden, dim), complex)  # ∂h/∂(Re B)

    @property
    def B(self) -> Array:
        real, imaginary = np.split(self.p["weight_ih_l0"], 2)
        return real + 1j * imaginary

    @property
    def poles(self) -> tuple[Array, Array, Array]:
        """k, φ and λ."""
        nu, phi = np.split(self.p["nu_phi_l0"], 2)
        return np.exp(nu), phi, np.exp(np.exp(nu) * (-1 + 1j * phi))

    def step(self, x: Array) -> Array:
        """Advance the states and the traces. Return the forecast."""
        _, _, pole = self.poles
        gamma = 1 - abs(pole)
        self.e_pole = pole * self.e_pole + self.h
        self.e_input = pole[:, None] * self.e_input + gamma[:, None] * x
        self.h = pole * self.h + gamma * (self.B @ x)
        return self.p["head.weight"] @ self.features + self.p["head.bias"]

    @property
    def features(self) -> Array:
        return np.concatenate([self.h.real, self.h.imag])

    def gradient(self, dy: Array) -> Parameters:
        """Return the gradient of a loss from ∂loss/∂(the forecast of the last step)."""
        hidden = len(self.h)
        dh = self.p["head.weight"].T @ dy
        dh = dh[:hidden] + 1j * dh[hidden:]
        k, phi, pole = self.poles
        by_nu = self.e_pole * k * (-1 + 1j * phi) * pole + self.h / (1 - abs(pole)) * k * abs(pole)
        by_phi = self.e_pole * 1j * k * pole

        def along(derivative: Array) -> Array:
            """∂loss/∂p of a real parameter p, from ∂h/∂p."""
            return (np.conj(dh) * derivative.T).T.real

        return {
            "weight_ih_l0": np.vstack([along(self.e_input), along(1j * self.e_input)]),
            "nu_phi_l0": np.concatenate([along(by_nu), along(by_phi)]),
            "head.weight": np.outer(dy, self.features),
            "head.bias": dy,
        }


def loss(parameters: Parameters, x: Array, y: Array) -> float:
    """Return the mean squared error of all steps from a zero state. NaN is a missing target."""
    net = TraceUnits(parameters)
    errors = np.array([net.step(row) for row in x]) - y
    return float(np.nanmean(errors**2))
