"""The client works without Numba and without the daemon's package."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

CLIENT = Path(__file__).parents[2] / "clients" / "python"

PROGRAM = """
import sys
import threading

class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numba", "llvmlite", "streamlearn"):
            raise ImportError(f"the client must not import {name}")

sys.meta_path.insert(0, Forbid())

import zmq
from streamlearn_client import AsyncClient, Client, Outputs, errors
from streamlearn_client.protocol import decode_request, encode_reply, split_envelope

router = zmq.Context.instance().socket(zmq.ROUTER)
port = router.bind_to_random_port("tcp://127.0.0.1")

def serve():
    while True:
        envelope, frames = split_envelope(router.recv_multipart())
        reply = encode_reply(decode_request(frames).id, {"models": {"pump": 1}})
        router.send_multipart([*envelope, *reply])

threading.Thread(target=serve, daemon=True).start()
with Client(f"tcp://127.0.0.1:{port}") as client:
    assert client.stats() == {"models": {"pump": 1}}
assert not {"numba", "streamlearn"} & set(sys.modules)
print("independent")
"""


def test_the_client_works_without_numba_and_streamlearn():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=CLIENT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "independent\n", done.stderr


def test_the_package_is_marked_as_typed():
    assert (CLIENT / "streamlearn_client" / "py.typed").exists()


def test_it_depends_on_three_packages_only():
    """So that its installation is quick; pandas and pyarrow are read if the user has them."""
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    names = [requirement.partition(">")[0] for requirement in project["dependencies"]]
    assert names == ["numpy", "pyzmq", "msgpack"]


def test_tables_are_read_without_an_import_of_pandas_or_pyarrow():
    program = (
        "import sys\n"
        "from streamlearn_client.protocol import as_batch\n"
        "assert as_batch('m', {'t': [1.0], 'a': [2]}, times='t').x.tolist() == [[2]]\n"
        "assert not {'pandas', 'pyarrow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=CLIENT, timeout=60, check=True)
