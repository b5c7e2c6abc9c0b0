"""The repository: import layers, rule R3, pins, documents, and a client without Numba."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
ENGINE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CLIENT = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())["project"]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")


def run(*command: str | Path, **options) -> str:
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    assert result.returncode == 0, f"{command} failed:\n{result.stdout}\n{result.stderr}"
    return result.stdout


# the code


def test_import_contracts_hold():
    output = run(Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache", cwd=ROOT)
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", output), output


REGISTRY = """
import sys
import streamlearn as sl
from streamlearn.registry import KINDS, MODELS, PUBLIC
assert len(KINDS) == len(set(KINDS)) == len({row.name for row in MODELS})
assert set(PUBLIC) | {"__version__"} == set(sl.__all__) <= set(dir(sl))
assert not {"numpy", "numba", "streamlearn.models"} & set(sys.modules), "the registry loads a compiler"
from streamlearn.models import kinds
assert list(kinds()) == list(KINDS)
for row in MODELS:
    model = kinds()[row.kind]
    assert (model.kind, model.__module__, model.__name__) == (row.kind, f"streamlearn.{row.module}", row.name)
    assert getattr(sl, row.name) is model
"""


def test_the_registry_names_every_kind_and_loads_no_compiler():
    run(sys.executable, "-c", REGISTRY)


LIBRARIES = {"np", "numpy", "math", "nb", "numba"}
NOT_IN_KERNELS = set(
    "prange dot matmul einsum exp expm1 log log1p log2 log10 tanh sin cos tan power pow".split()
)


def breaks_r3(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id=library), attr=name):
            return library in LIBRARIES and name in NOT_IN_KERNELS
        case ast.ImportFrom(module=str(library), names=names):
            return library in LIBRARIES and any(alias.name in NOT_IN_KERNELS for alias in names)
        case ast.keyword(arg="fastmath" | "parallel", value=value):
            return not (isinstance(value, ast.Constant) and value.value is False)
        case ast.BinOp(op=ast.MatMult()):
            return True
    return False


def test_kernels_keep_rule_r3():
    """No reassociated, threaded, BLAS or libm arithmetic: its results differ between machines."""
    paths = sorted((ROOT / "streamlearn/kernels").rglob("*.py"))
    assert paths
    found = [
        f"{path.name}:{node.lineno}: {ast.unparse(node)}"
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if breaks_r3(node)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source", ["np.exp(x)", "a @ b", "njit(fastmath=True)", "from math import tanh", "nb.prange(3)"]
)
def test_the_r3_check_finds(source):
    assert any(breaks_r3(node) for node in ast.walk(ast.parse(source)))


def test_no_file_has_more_than_450_lines():
    tops = ("streamlearn", "clients/python", "clients/vectors", "tests", "benchmarks")
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for top in tops
        for path in (ROOT / top).rglob("*.py")
    }
    assert lengths
    assert not {name: lines for name, lines in lengths.items() if lines > 450}


# versions and pins


def test_the_versions_of_both_distributions_are_equal():
    import streamlearn
    import streamlearn_client

    assert ENGINE["version"] == CLIENT["version"] == streamlearn.__version__ == streamlearn_client.__version__
    assert ENGINE["requires-python"] == CLIENT["requires-python"]
    requirement = next(r for r in map(Requirement, ENGINE["dependencies"]) if r.name == "streamlearn-client")
    assert requirement.specifier.contains(CLIENT["version"])


def test_every_requirement_has_one_pin_within_its_range():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    pins = {}
    for line in lines:
        name, version = line.split("==")  # fails for addresses, options and ranges
        assert canonicalize_name(name) not in pins, f"{name} is pinned twice"
        pins[canonicalize_name(name)] = version
    extras = chain.from_iterable(ENGINE["optional-dependencies"].values())
    for requirement in map(Requirement, chain(ENGINE["dependencies"], CLIENT["dependencies"], extras)):
        if not requirement.name.startswith("streamlearn"):
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


# the documents


def test_the_readme_begins_with_two_commands_and_a_program():
    opening = (ROOT / "README.md").read_text().split("\n## ")[0]
    assert "make demo" in opening
    assert "make test" in opening
    assert "from streamlearn_client import Client" in opening


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_targets_in_documents_exist(document):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = re.findall(r"`[^`]+`|^\$ .*$", (ROOT / document).read_text(), re.MULTILINE)
    named = {word for text in code for word in re.findall(r"\bmake ((?:[a-z-]+\b ?)+)(?!=)", text)}
    assert {target for words in named for target in words.split()} <= targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_have_targets(document):
    links = re.findall(r"\]\(([^)#]+)", (ROOT / document).read_text())
    assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]


# the client

PROGRAM = """
import importlib.util
import numpy as np
from streamlearn_client import Client, protocol
from streamlearn_client.errors import NoAnswer

for absent in ("numba", "streamlearn"):
    assert importlib.util.find_spec(absent) is None, f"{absent} is installed, so this test proves nothing"

x = np.arange(24, dtype=np.float32).reshape(3, 8)
sent = protocol.Learn("pump", x, producer="bench-7", epoch=1, seq=41, ack="written", id=5)
frames = [bytes(frame) for frame in protocol.encode_request(sent)]
decoded = protocol.decode_request(frames)
assert np.array_equal(decoded.x, x) and decoded.x.dtype == np.float32
assert decoded._replace(x=None) == sent._replace(x=None), decoded

frames = protocol.encode_reply(5, {"lsn": 9}, {"winner": np.arange(3, dtype=np.int32)})
reply = protocol.decode_reply([bytes(frame) for frame in frames])
assert (reply.id, reply.ok, reply.error) == (5, {"lsn": 9}, None)
assert reply.arrays["winner"].tolist() == [0, 1, 2]

with Client("ipc://no-daemon", timeout=0.2) as client:
    try:
        client.models()
    except NoAnswer as error:
        print("no answer:", error)
"""


@pytest.fixture(scope="session")
def client_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a new environment with the client distribution and its requirements."""
    venv = tmp_path_factory.mktemp("client") / "venv"
    run(sys.executable, "-m", "venv", venv)
    python = venv / "bin/python"
    pins = ("-c", ROOT / "constraints.txt")
    run(python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *pins, ROOT / "clients/python")
    return python


def test_client_works_without_numba(client_only, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    assert "no answer: " in run(client_only, "-I", program, cwd=tmp_path)
