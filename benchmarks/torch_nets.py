"""The same recurrent networks in PyTorch, on one thread, from the same initial parameters."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

import streamlearn as sl

CELLS = {"lstm": "LSTM", "gru": "GRU", "elman": "RNN"}


class Net:
    """Cells, a linear read-out and SGD. ``torch`` is the module."""

    def __init__(self, torch: Any, ours: sl.RNN) -> None:
        spec = ours.spec
        self.torch, self.spec = torch, spec
        self.cells = getattr(torch.nn, CELLS[spec.cell])(spec.dim, spec.hidden)
        self.head = torch.nn.Linear(spec.hidden, spec.dim)
        given = {name: torch.from_numpy(values.copy()) for name, values in ours.parameters.items()}
        self.cells.load_state_dict({name: value for name, value in given.items() if "head" not in name})
        self.head.load_state_dict({name[5:]: value for name, value in given.items() if "head" in name})
        self.parameters = [*self.cells.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.SGD(self.parameters, lr=ours.spec.learning_rate)
        self.state = self.start()

    def start(self) -> Any:
        """The state before the first sample."""
        h = self.torch.zeros(1, self.spec.hidden)
        return (h, h.clone()) if self.spec.cell == "lstm" else h

    def update(self, loss: Any) -> float:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def learn_windows(self, stream: np.ndarray, window: int) -> np.ndarray:
        """TBPTT(k, k): one update per window, with carried, detached state. Return the loss of each."""
        samples, losses = self.torch.from_numpy(stream), []
        for first in range(0, len(samples) - window, window):
            x, y = samples[first : first + window], samples[first + 1 : first + 1 + window]
            hidden, state = self.cells(x, self.state)
            losses.append(self.update(self.torch.nn.functional.mse_loss(self.head(hidden), y)))
            lstm = isinstance(state, tuple)
            self.state = tuple(part.detach() for part in state) if lstm else state.detach()
        return np.array(losses)

    def learn_every_sample(self, stream: np.ndarray, window: int) -> np.ndarray:
        """One update per sample, on the last ``window`` pairs, from a zero state. Return each last error."""
        samples, losses = self.torch.from_numpy(stream), []
        inputs: deque[Any] = deque(maxlen=window + 1)
        for sample in samples:
            inputs.append(sample)
            if len(inputs) > 1:
                run = self.torch.stack(tuple(inputs))
                hidden, _ = self.cells(run[:-1], self.start())
                forecast = self.head(hidden)
                losses.append(float(((forecast[-1] - run[-1]) ** 2).mean().detach()))
                self.update(self.torch.nn.functional.mse_loss(forecast, run[1:]))
        return np.array(losses)

    def stepper(self) -> Callable[[Any], np.ndarray]:
        """Return a function that takes one sample (1, dim), advances the state and returns the forecast."""
        torch, cells, head, state = self.torch, self.cells, self.head, self.start()

        def step(sample: Any) -> np.ndarray:
            nonlocal state
            with torch.inference_mode():
                hidden, state = cells(sample, state)
                return head(hidden).numpy()

        return step

    def forecasts(self, samples: Any) -> np.ndarray:
        """Return the forecasts after each of the samples (n, dim), in one call."""
        with self.torch.inference_mode():
            return self.head(self.cells(samples, self.start())[0]).numpy()

    def as_onnx(self) -> bytes:
        """Return one step as an ONNX model: x and h (and c) to y and the next h (and c)."""
        import io
        import warnings

        torch, lstm = self.torch, self.spec.cell == "lstm"

        class Step(torch.nn.Module):
            def __init__(self, cells: Any, head: Any) -> None:
                super().__init__()
                self.cells, self.head = cells, head

            def forward(self, x: Any, h: Any, c: Any = None) -> Any:
                hidden, state = self.cells(x, (h, c) if lstm else h)
                return (self.head(hidden), *state) if lstm else (self.head(hidden), state)

        state = torch.zeros(1, 1, self.spec.hidden)
        states = (state, state) if lstm else (state,)
        names = ["h", "c"][: len(states)]
        file = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Step(self.cells, self.head).eval(), (torch.zeros(1, 1, self.spec.dim), *states), file,
                dynamo=False, input_names=["x", *names], output_names=["y", *(f"next_{n}" for n in names)],
            )  # fmt: skip
        return file.getvalue()
