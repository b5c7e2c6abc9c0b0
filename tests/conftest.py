"""Shared options, the Hypothesis profile and the header line."""

from __future__ import annotations

import os
import signal
from importlib import metadata, util

import pytest
from hypothesis import HealthCheck, settings

IN_CI = bool(os.environ.get("CI"))
HAS_TORCH = util.find_spec("torch") is not None
ORACLES = ("torch", "minisom", "scikit-learn", "river")

# No deadlines: results must not depend on the speed of the machine. In CI, all runs use the same examples.
settings.register_profile(
    "house",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    derandomize=IN_CI,
)
settings.load_profile("house")

# Files with a test of half a minute or more. They begin first, so that no core idles while the last one ends.
LONG = frozenset(
    f"test_{name}.py"
    for name in (
        *("benchmarks", "first_start", "kill9", "kill9_history", "poison", "rnn_accuracy_torch", "rnn_torch"),
        *("same_bits", "templates", "verify_and_serve"),
    )
)

# Only files with this name import PyTorch, so all other tests run without it.
collect_ignore_glob = [] if HAS_TORCH else ["*_torch.py", "**/*_torch.py"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills",
        type=int,
        default=50 if IN_CI else 10,
        metavar="N",
        help="number of random kill -9s in the crash test (default 50 in CI, else 10; --timeout 0 for many)",
    )
    parser.addoption(
        "--mutated-files",
        type=int,
        default=1000,
        metavar="N",
        help="number of mutated model files to load (default 1000; for many, also raise --timeout)",
    )
    parser.addoption(
        "--extremes",
        type=int,
        default=100,
        metavar="N",
        help="number of random combinations of extreme numbers in specs, for each kind (default 100)",
    )
    parser.addoption(
        "--simulation-seeds",
        type=int,
        default=20,
        metavar="N",
        help="number of simulations, each with its own seed (tests/simulation, default 20)",
    )
    parser.addoption(
        "--seed", type=int, default=None, metavar="S", help="run only the simulation with this seed"
    )
    parser.addoption(
        "--update-documents",
        action="store_true",
        help="write the real outputs of commands into the documents (tests/e2e/test_documents.py)",
    )


def pytest_configure(config: pytest.Config) -> None:
    # A shell makes its background jobs ignore SIGINT, and child processes inherit that. Tests send SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if IN_CI and not HAS_TORCH:
        raise pytest.UsageError(
            "in CI the PyTorch tests must run, but PyTorch is absent: pip install -e '.[torch]'"
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)  # stable: the order within is that of the files


def pytest_report_header() -> str:
    return "oracles: " + ", ".join(f"{name} {_version(name)}" for name in ORACLES)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not HAS_TORCH:
        terminalreporter.write_line("PyTorch: absent, so the tests in files named *_torch.py did not run")


@pytest.fixture(scope="session")
def kills(request: pytest.FixtureRequest) -> int:
    """Number of random kill -9s in a crash test: ``pytest --kills N``."""
    return int(request.config.getoption("--kills"))


@pytest.fixture(scope="session")
def mutated_files(request: pytest.FixtureRequest) -> int:
    """Number of mutated model files to load: ``pytest --mutated-files N``."""
    return int(request.config.getoption("--mutated-files"))


@pytest.fixture(scope="session")
def extremes(request: pytest.FixtureRequest) -> int:
    """Number of random combinations of extreme numbers: ``pytest --extremes N``."""
    return int(request.config.getoption("--extremes"))


@pytest.fixture(scope="session")
def simulation_seeds(request: pytest.FixtureRequest) -> range:
    """The seeds of the simulations: ``pytest --simulation-seeds N``, or one with ``--seed S``."""
    seed = request.config.getoption("--seed")
    return (
        range(int(request.config.getoption("--simulation-seeds"))) if seed is None else range(seed, seed + 1)
    )


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"
