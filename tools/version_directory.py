"""Writes a data directory of this version, for the tests of later versions.

    python -m tools.version_directory

`tests/e2e/test_versions.py` opens all that exist. Run it once for each release. The directory is that of a
daemon which was killed: each model has a checkpoint and samples after it. Beside it are the answers that the
daemon gave.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from streamlearn import __version__
from streamlearn_client import Client

TARGET = Path(__file__).resolve().parents[1] / "tests/e2e/versions"
ROWS, CHECKPOINT_AT, ASKED = 120, 80, 5
MODELS: dict[str, dict[str, Any]] = {
    "map": {"kind": "som", "dim": 3, "grid": [5, 4], "scale": "standard", "labels": ["ok", "worn"]},
    "alarm": {"kind": "som", "dim": 3, "grid": [4, 4], "alarm": True},
    "net": {"kind": "competitive", "dim": 3, "units": 6},
    "gas": {"kind": "gng", "dim": 3, "max_units": 12},
    "forecast": {"kind": "rnn", "dim": 2, "horizon": 3, "hidden": 4},
    "lstm": {"kind": "rnn", "dim": 2, "cell": "lstm", "readout": "adam", "hidden": 4},
    "both": {"kind": "birnn", "dim": 2, "hidden": 4},
}


def main() -> None:
    """Run a daemon, kill it, and keep its directory and its answers."""
    target = TARGET / __version__
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        process, endpoint = serve(work)
        try:
            with Client(endpoint) as client:
                answers: dict[str, Any] = fill(client)
            np.savez_compressed(target / "answers.npz", **answers)
        finally:
            process.kill()
            process.wait()
        with tarfile.open(target / "directory.tar.xz", "w:xz") as archive:
            archive.add(work / "data", "data")
    print(f"wrote {target}")  # noqa: T201


def serve(work: Path) -> tuple[subprocess.Popen[str], str]:
    """Start a daemon with small journal files. Return it and its endpoint."""
    settings = work / "settings.toml"
    settings.write_text("[journal]\nsegment_bytes = 65536\n")
    command = [
        sys.executable,
        "-m",
        "streamlearn",
        "serve",
        "--config",
        settings,
        "--data-dir",
        work / "data",
    ]
    for name in ("requests", "firehose", "events"):
        command += [f"--{name}", f"ipc://{work}/{name}"]
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if "ready" not in process.stdout.readline():
        raise SystemExit("the daemon did not start")
    return process, f"ipc://{work}/requests"


def fill(client: Client) -> dict[str, Any]:
    """Create and train the models. Return what was asked, and each model's answers as ``model/output``."""
    random = np.random.default_rng(10)
    asked = random.normal(size=(ASKED, 3)).astype(np.float32)
    answers = {"asked": asked}
    for name, spec in MODELS.items():
        client.create(name, **spec)
        dim = spec["dim"]
        samples = random.normal(size=(ROWS, dim)).astype(np.float32)
        y: Any = None
        if name == "map":
            y = ["ok", "worn"] * (ROWS // 2)
        elif name == "both":
            y = samples[:, :1]
        for rows in (slice(CHECKPOINT_AT), slice(CHECKPOINT_AT, None)):
            client.learn(name, samples[rows], y=None if y is None else y[rows])
            if rows.stop:
                client.checkpoint(name)
        outputs = client.predict(name, asked[:, :dim])
        answers |= {f"{name}/{output}": np.asarray(values) for output, values in outputs.arrays.items()}
    return answers


if __name__ == "__main__":
    main()
