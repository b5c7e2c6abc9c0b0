"""Over HTTP alone: a network of PyTorch goes in, learns, and comes out equal to what PyTorch computes."""

from __future__ import annotations

import json

import httpx
import numpy as np
import pytest
import safetensors.torch
import torch

from tests.pytorch_net import CELLS, SPEC, STEPS, Net, assert_same, stream, train


@pytest.mark.parametrize("cell", CELLS)
def test_a_network_goes_in_learns_and_comes_out(cell: str, http: httpx.Client) -> None:
    net, x = Net(cell), stream(20 * STEPS + 1)
    file = safetensors.torch.save(net.state_dict())
    net = net.double()
    made = http.put("/v1/models/net", params={"kind": "rnn", "spec": json.dumps(SPEC)}, content=file)
    assert made.status_code == 201, made.text
    with torch.no_grad():
        expected = net(torch.from_numpy(x).double())[0].numpy()
    predicted = http.post("/v1/models/net/predict", json={"x": x.tolist()}).json()["outputs"]["prediction"]
    np.testing.assert_allclose(predicted, expected, atol=2e-6)
    assert http.post("/v1/models/net/learn", json={"x": x.tolist()}).status_code == 200
    train(net, x)
    found = http.get("/v1/models/net/read", params={"what": "parameters"}).json()["parts"]["parameters"]
    assert_same(cell, {name: torch.tensor(values) for name, values in found.items()}, net, x)


def test_what_is_wrong_with_parameters_is_said(http: httpx.Client) -> None:
    file = safetensors.torch.save(Net("gru").state_dict())
    wrong = {
        "kind=som": (file, "BAD_SPEC", "no parameters of PyTorch"),
        "kind=rnn&spec=[1]": (file, "BAD_VALUE", "an object of JSON was expected"),
        "kind=rnn&spec={": (file, "BAD_VALUE", "an object of JSON was expected"),
        'kind=rnn&spec={"from_file":"/etc/passwd"}': (file, "BAD_SPEC", "from_file"),
        'kind=rnn&spec={"hidden":5}': (file, "BAD_SHAPE", "expected (15,)"),
        "spec={}": (file, "BAD_VALUE", "kind"),
        "kind=rnn": (file[:100], "BAD_CHECKPOINT", "the body"),
    }
    for query, (content, code, words) in wrong.items():
        answer = http.put(f"/v1/models/net?{query}", content=content)
        assert (answer.status_code, answer.json()["code"]) == (400, code), (query, answer.text)
        assert words in answer.text, (query, answer.text)
        assert "/tmp" not in answer.text
    assert http.get("/v1/models").json() == []
