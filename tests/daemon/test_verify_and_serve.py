"""``verify`` and a start come to the same verdict about a data directory, in the same words."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from streamlearn import models
from streamlearn.cli import main
from streamlearn.daemon import lifecycle
from streamlearn.daemon.config import Settings
from streamlearn.errors import FatalError
from streamlearn.store import FS
from streamlearn.verification import Report, verify
from tests.daemon.test_refused_start import FREE, MISSING, REFUSALS, make, segments, tree


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("original") / "data"
    make(directory)
    return directory


@pytest.fixture
def data(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "data")
    return tmp_path / "data"


def serve(directory: Path) -> FatalError | None:
    """The error with which a start ends; `None` if it serves. Then it is stopped at once."""
    try:
        with ExitStack() as stack, lifecycle.startup_errors(directory):
            lifecycle._start(Settings(data_dir=directory, endpoints=FREE), FS(), stack)
    except FatalError as error:
        return error
    return None


def compare(data: Path, caplog: pytest.LogCaptureFixture) -> Report:
    """Check the directory, then start on it, and compare."""
    before = tree(data)
    report = verify(FS(), data, models)
    assert tree(data) == before
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        refusal = serve(data)
    if refusal is None:
        assert report.refusal is None
        set_aside = any("It was set aside as" in record.getMessage() for record in caplog.records)
        damaged = {found.path for found in report.findings if found.level == "damage"}
        assert not set_aside or damaged
        # A start reads the newest good checkpoint of a model. `verify` also reads the older ones.
        assert set_aside or all(
            any(other.name > path.name for other in path.parent.iterdir() if other not in damaged)
            for path in damaged
        )
        torn = [found.message for found in report.findings if "complete record" in found.message]
        for record in caplog.records:
            if "complete record" in record.getMessage():
                assert torn == [f"{record.getMessage()}. A running daemon may be writing them"]
                torn.clear()
        assert torn == []
    else:
        assert report.refusal is not None
        assert report.damaged
        assert (report.refusal.message, report.refusal.exit_code) == (refusal.message, refusal.exit_code)
    return report


@pytest.mark.parametrize("name", MISSING)
def test_missing_files(data: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    code, choose = MISSING[name]
    for path in choose(data):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    report = compare(data, caplog)
    assert report.refusal is not None
    assert report.refusal.exit_code == code


@pytest.mark.parametrize("name", [name for name, (_, _, settings) in REFUSALS.items() if not settings])
def test_damaged_files(data: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    code, damage, _ = REFUSALS[name]
    damage(data)
    report = compare(data, caplog)
    assert report.refusal is not None
    assert report.refusal.exit_code == code


@pytest.mark.parametrize("place", ["journal", "checkpoints", "checkpoints/m@1", "manifest.json", "lock"])
def test_a_file_in_the_place_of_a_directory_or_the_reverse(
    data: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = data / place
    if path.is_dir():
        shutil.rmtree(path)
        path.write_bytes(b"file")
    else:
        path.unlink(missing_ok=True)
        path.mkdir()
    report = compare(data, caplog)
    assert report.refusal is not None
    assert report.refusal.exit_code == 2


def test_a_bad_checkpoint_and_a_torn_tail(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    report = compare(data, caplog)
    assert sorted(found.level for found in report.findings) == ["damage", "note"]


def flip(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def cut(path: Path, random: Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: random.randrange(len(content))])


def clear(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    begin, end = sorted(random.randrange(len(content) + 1) for _ in range(2))
    content[begin:end] = bytes(end - begin)
    path.write_bytes(content)


def remove(path: Path, random: Random) -> None:
    path.unlink()


def replace_by_directory(path: Path, random: Random) -> None:
    path.unlink()
    path.mkdir()


def swap(path: Path, random: Random) -> None:
    other = random.choice(sorted(each for each in path.parent.iterdir() if each.is_file()))
    content = other.read_bytes()
    other.write_bytes(path.read_bytes())
    path.write_bytes(content)


DAMAGES: list[Callable[[Path, Random], None]] = [flip, cut, clear, remove, replace_by_directory, swap]


def test_random_damage(original: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, kills: int) -> None:
    outcomes: dict[int, int] = {}
    for seed in range(20 * kills):
        print(f"seed {seed}")
        random, data = Random(seed), tmp_path / str(seed)
        shutil.copytree(original, data)
        for _ in range(random.choice([1, 1, 2])):
            files = sorted(path for path in data.rglob("*") if path.is_file() and path.name != "lock")
            random.choice(DAMAGES)(random.choice(files), random)
        report = compare(data, caplog)
        code = report.refusal.exit_code if report.refusal is not None else 0
        outcomes[code] = outcomes.get(code, 0) + 1
        shutil.rmtree(data)
    print(outcomes)
    assert {0, 5} <= set(outcomes)


def test_the_command_ends_with_the_code_and_the_words_of_the_start(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segments(data)[2].unlink()
    error = serve(data)
    assert error is not None
    assert main(["verify", str(data), "--json"]) == 5
    out, err = capsys.readouterr()
    assert err.splitlines()[-1] == f"streamlearn: {error.message}"
    assert json.loads(out)["refusal"] == {"exit_code": 5, "message": error.message}
    assert json.loads(out)["ok"] is False


def test_a_copy_without_its_journal_is_damaged(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(data / "journal")
    (data / "manifest.json").unlink()
    assert main(["verify", str(data)]) == 5
    out, err = capsys.readouterr()
    assert "damaged" in out
    assert "segments of the journal are missing" in err
