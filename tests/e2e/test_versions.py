"""A data directory of each earlier version opens, and its models answer as they did.

``python -m tools.version_directory`` wrote them, each with its own version.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from streamlearn_client import Client
from tests.e2e.daemon_process import DaemonProcess

pytestmark = pytest.mark.e2e

VERSIONS = Path(__file__).parent / "versions"
SAME = {"winner", "coords", "label", "present", "sample"}  # others may differ by rounding
CLOSE = {"distance", "prediction"}  # what a score or a band means may change with a version
ROWS = 120


@pytest.mark.parametrize("version", sorted(path.name for path in VERSIONS.iterdir()))
def test_a_directory_of_an_earlier_version_opens(tmp_path, version):
    with tarfile.open(VERSIONS / version / "directory.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    answers = dict(np.load(VERSIONS / version / "answers.npz"))
    asked = answers.pop("asked")
    names = {key.partition("/")[0] for key in answers}
    with DaemonProcess(tmp_path) as daemon:
        daemon.ready()
        with Client(daemon.requests) as client:
            models = {model["name"]: model for model in client.models()}
            assert models.keys() == names
            for name, model in models.items():
                assert model["samples"] == ROWS
                outputs = client.predict(name, asked[:, : model["dim"]]).arrays
                for output in SAME & outputs.keys():
                    np.testing.assert_array_equal(outputs[output], answers[f"{name}/{output}"])
                for output in CLOSE & outputs.keys():
                    np.testing.assert_allclose(
                        outputs[output], answers[f"{name}/{output}"], rtol=1e-3, atol=1e-4
                    )
                targets = asked[:, :1] if model["kind"] == "birnn" else None
                client.learn(name, asked[:, : model["dim"]], y=targets)
        assert daemon.terminate() == 0
