"""Options, the Hypothesis profile and the head line that all tests share."""

from __future__ import annotations

import os
import signal
from importlib import metadata, util

import pytest
from hypothesis import HealthCheck, settings

IN_CI = bool(os.environ.get("CI"))
TORCH_IS_HERE = util.find_spec("torch") is not None
ORACLES = ("torch", "minisom", "scikit-learn", "river")

# No deadlines: how fast a machine is must not decide a test. In CI the examples are the same on every run.
settings.register_profile(
    "house",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    derandomize=IN_CI,
)
settings.load_profile("house")

# Tests that compare with PyTorch live in files of this name, so that all others run on a machine without it.
collect_ignore_glob = [] if TORCH_IS_HERE else ["*_torch.py", "**/*_torch.py"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills",
        type=int,
        default=5,
        metavar="N",
        help="how many random kill -9s the crash tests do (default 5; for many, raise --timeout as well)",
    )
    parser.addoption(
        "--update-documents",
        action="store_true",
        help="write the real outputs of commands into the documents (tests/e2e/test_documents.py)",
    )


def pytest_configure(config: pytest.Config) -> None:
    # A shell has what it runs in the background ignore Ctrl-C, and so would programs that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if IN_CI and not TORCH_IS_HERE:
        raise pytest.UsageError("PyTorch is absent, and in CI its tests must run: pip install -e '.[torch]'")


def pytest_report_header() -> str:
    return "oracles: " + ", ".join(f"{name} {_version(name)}" for name in ORACLES)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not TORCH_IS_HERE:
        terminalreporter.write_line("PyTorch: absent, so the tests in files named *_torch.py did not run")


@pytest.fixture(scope="session")
def kills(request: pytest.FixtureRequest) -> int:
    """How many random kill -9s a crash test does: ``pytest --kills N``."""
    return int(request.config.getoption("--kills"))


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"
