"""A process of `peers.deep_river`: learn as many samples as each line of standard input names.

The answer to each line is the CPU time of this thread so far.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from deep_river.regression import RollingRegressor


class Net(torch.nn.Module):
    """An LSTM with a linear read-out of its last state."""

    def __init__(self, n_features: int, hidden: int) -> None:
        super().__init__()
        self.n_features = n_features
        self.cells = torch.nn.LSTM(n_features, hidden)
        self.head = torch.nn.Linear(hidden, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.cells(x)[0][-1])


def main() -> None:
    dim, hidden, window = map(int, sys.argv[1:4])
    torch.set_num_threads(1)
    regressor = RollingRegressor(Net(dim, hidden), window_size=window, lr=float(sys.argv[4]))
    stream = np.random.default_rng(1).random((1000, dim)).tolist()
    samples = [dict(enumerate(sample)) for sample in stream]
    for line in sys.stdin:
        for n in range(int(line)):
            regressor.learn_one(samples[n % 1000], samples[(n + 1) % 1000][0])
        print(time.thread_time(), flush=True)


if __name__ == "__main__":
    main()
