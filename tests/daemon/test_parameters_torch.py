"""A network of PyTorch goes in over the wire, learns, and comes out equal to what PyTorch computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from streamlearn import models as real_models
from streamlearn_client import Client
from streamlearn_client.files import write_parameters
from tests.daemon.harness import Running
from tests.pytorch_net import CELLS, SPEC, STEPS, Net, assert_same, stream, train


@pytest.mark.parametrize("cell", CELLS)
def test_a_network_of_pytorch_goes_in_learns_and_comes_out(
    cell: str, serve: Callable[..., Running], tmp_path: Path
) -> None:
    net, x = Net(cell), stream(20 * STEPS + 1)
    path = tmp_path / "net.safetensors"
    safetensors.torch.save_file(net.state_dict(), path)
    net = net.double()
    running = serve(models=real_models)
    with Client(running.endpoints["requests"]) as client:
        client.create("net", "rnn", parameters=path, **SPEC)
        client.create("same", "rnn", parameters=net.state_dict(), **SPEC)
        with torch.no_grad():
            expected = net(torch.from_numpy(x).double())[0].numpy()
        for name in ("net", "same"):
            np.testing.assert_allclose(client.predict(name, x).prediction, expected, atol=2e-6)
        client.learn("net", x)
        train(net, x)
        reading = client.read("net", "parameters")
        assert (reading.samples, reading.kind) == (len(x), "rnn")
        write_parameters(path, reading["parameters"])
    assert_same(cell, safetensors.torch.load_file(path), net, x)
