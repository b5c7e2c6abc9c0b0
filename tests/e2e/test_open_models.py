"""Models are read, moved and copied through a real daemon, which is killed with SIGKILL meanwhile."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import streamlearn as sl
from streamlearn import cli
from streamlearn_client import Client
from tests.e2e.daemon_process import DaemonProcess

pytestmark = pytest.mark.e2e

X = np.random.default_rng(3).normal(size=(400, 3)).astype(np.float32)
NETWORK = {"readout": "adam", "dim": 3, "hidden": 4, "scale": None, "tbptt": [4, 4]}


def test_models_from_files_networks_and_clones_survive_kill_9(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = sl.RNN(**NETWORK)
    net.save_parameters(tmp_path / "net.safetensors")
    with DaemonProcess(tmp_path / "daemon") as daemon:
        daemon.ready()
        options = ["-e", daemon.requests, "--timeout", "600"]

        def run(*arguments: str | Path) -> str:
            assert cli.main([*map(str, arguments), *options]) == 0
            return capsys.readouterr().out

        run("create", "map", "-k", "som", "-s", "dim=3", "-s", "grid=4,4")
        with Client(daemon.requests, timeout=60) as client:
            client.learn("map", X[:200])
        assert "wrote map (som, 200 samples" in run("export", "map", tmp_path / "map.slm")
        assert "created copy (som)" in run("create", "copy", "--from", tmp_path / "map.slm")
        assert "created clone with the state of map (200 samples)" in run("clone", "map", "clone")
        spec = [f"-s{name}={json.dumps(value)}" for name, value in NETWORK.items() if name != "hidden"]
        run("create", "net", "-k", "rnn", "--parameters", tmp_path / "net.safetensors", *spec)
        with Client(daemon.requests, timeout=60) as client:
            for name in ("map", "copy", "clone", "net"):
                client.learn(name, X[200:])
        daemon.kill()
    with DaemonProcess(tmp_path / "daemon") as daemon:
        daemon.ready()
        options = ["-e", daemon.requests, "--timeout", "60"]
        som = sl.SOM(dim=3, grid=(4, 4))
        som.learn(X)
        net.learn(X[200:])
        with Client(daemon.requests, timeout=60) as client:
            names = ("map", "copy", "clone", "net")
            hashes = {name: client.describe(name)["state_hash"] for name in names}
        assert hashes == {
            **dict.fromkeys(("map", "copy", "clone"), som.state_hash()),
            "net": net.state_hash(),
        }
        out = run("read", "net", "parameters", "--safetensors", tmp_path / "out.safetensors")
        assert re.search(r"arrays +6", out)
        found = load_file(tmp_path / "out.safetensors")
        assert found.keys() == net.parameters.keys()
        for name, values in net.parameters.items():
            np.testing.assert_array_equal(found[name], values)
        reading = json.loads(run("read", "map", "hits", "quality", "--json"))
        assert reading["samples"] == 400
        np.testing.assert_array_equal(np.array(reading["hits"]).reshape(-1), som.hits)
