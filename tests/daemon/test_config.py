"""Settings: their sources, their precedence, and the report of all mistakes."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from streamlearn.daemon import gateway
from streamlearn.daemon.config import DeclaredModel, Settings, load
from streamlearn.daemon.sections import is_section, kinds
from streamlearn.errors import BadConfig, InsecureBind

EXAMPLE = Path(__file__).parents[2] / "deploy" / "streamlearn.toml"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.upper().startswith("STREAMLEARN_")]:
        monkeypatch.delenv(name)


def written(directory: Path, text: str) -> Path:
    path = directory / "streamlearn.toml"
    path.write_text(text)
    return path


def mistakes(path: Path | None = None, **options: Any) -> dict[str, str]:
    with pytest.raises(BadConfig) as error:
        load(path, **options)
    assert error.value.exit_code == 2
    found = {each["field"]: each["message"] for each in error.value.detail["errors"]}
    for field in found:
        assert field in error.value.message
    return found


def test_without_a_file_everything_has_a_default() -> None:
    settings = load()
    assert settings.endpoints.requests == "tcp://127.0.0.1:7700"
    assert settings.checkpoints.keep == 2
    assert settings.models == ()


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(
        tmp_path,
        'data_dir = "a"\n[endpoints]\nrequests = "tcp://127.0.0.1:1"\nfirehose = "tcp://127.0.0.1:2"\n'
        'events = "tcp://127.0.0.1:3"\n[checkpoints]\nseconds = 5',
    )
    monkeypatch.setenv("STREAMLEARN_ENDPOINTS__REQUESTS", "tcp://127.0.0.1:11")
    monkeypatch.setenv("STREAMLEARN_ENDPOINTS__FIREHOSE", "tcp://127.0.0.1:12")
    monkeypatch.setenv("STREAMLEARN_DATA_DIR", "b")
    settings = load(path, requests="tcp://127.0.0.1:21")
    assert settings.endpoints.requests.endswith(":21")
    assert settings.endpoints.firehose.endswith(":12")
    assert settings.endpoints.events.endswith(":3")
    assert settings.data_dir == Path("b")
    assert settings.checkpoints.seconds == 5
    assert load(path, data_dir="c").data_dir == Path("c")


def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        data_dirr = "x"
        [endpoints]
        requests = "http://here"
        [checkpoints]
        keep = 1
        secunds = 3
        [[models]]
        name = "a/b"
        kind = "som"
        [[models]]
        name = "good"
        kind = "som"
        [models.spec]
        dim = 0
        gird = [2, 2]
        [[models]]
        name = "other"
        kind = "sum"
        """,
    )
    found = mistakes(path)
    assert "did you mean data_dir?" in found["data_dirr"]
    assert "did you mean seconds?" in found["checkpoints.secunds"]
    assert "not 1" in found["checkpoints.keep"]
    assert "tcp://HOST:PORT or ipc://PATH" in found["endpoints.requests"]
    assert "not a valid model name" in found["models.0.name"]
    assert {"models.1.spec.dim", "models.1.spec.grid", "models.1.spec.gird"} < set(found)
    assert "there is no kind 'sum'" in found["models.2"]
    assert len(found) == 9


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('endpoints.requests = "tcp://127.0.0.1:70000"', "endpoints.requests"),
        ('endpoints.requests = "tcp://127.0.0.1"', "endpoints.requests"),
        ('endpoints.requests = "tcp://127.0.0.1:7701"', "endpoints"),
        ("learning.slice_milliseconds = 0", "learning.slice_milliseconds"),
        ("learning.backlog_seconds = inf", "learning.backlog_seconds"),
        ("checkpoints.samples = 1.5", "checkpoints.samples"),
        ('log.level = "loud"', "log.level"),
        ('security.server_key = "server.key"', "security"),
        ('security = {client_keys = "clients", rights = "rights.toml"}', "security"),
        ('endpoints.ipc_mode = "0999"', "endpoints.ipc_mode"),
        ("endpoints.ipc_mode = 600", "endpoints.ipc_mode"),
        ("journal = 3", "journal"),
        ("models = {}", "models"),
        ("models = [3]", "models.0"),
        ('[[models]]\nname="m"\nkind="som"\nspec=3', "models.0.spec"),
        ("data_dir = 3", "data_dir"),
        ('data_dir = ""', "data_dir"),
        ("endpoints.insecure = 2", "endpoints.insecure"),
        ("checkpoints.seconds = nan", "checkpoints.seconds"),
        ("checkpoints.seconds = true", "checkpoints.seconds"),
        ("checkpoints.samples = true", "checkpoints.samples"),
        ("checkpoints.samples = inf", "checkpoints.samples"),
        ("limits.frame_bytes = 1_073_741_825", "limits.frame_bytes"),
        (
            '[[models]]\nname="m"\nkind="som"\nspec={dim=1,grid=[1,1]}\n' * 2,
            "models",
        ),
    ],
)
def test_a_single_mistake(tmp_path: Path, text: str, field: str) -> None:
    assert list(mistakes(written(tmp_path, text))) == [field]


def test_mistakes_in_the_environment_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMLEARN_LIMITS__ROWS", "many")
    assert "many" in mistakes()["limits.rows"]


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("ENDPOINTS__INSECURE", "yes", True),
        ("ENDPOINTS__INSECURE", "False", False),
        ("ENDPOINTS__INSECURE", "0", False),
        ("LIMITS__ROWS", "17", 17),
        ("CHECKPOINTS__SECONDS", "1e3", 1000.0),
        ("CHECKPOINTS__SECONDS", "5", 5.0),
        ("BACKUP__DIRECTORY", "", ""),
        ("LOG__FORMAT", "json", "json"),
    ],
)
def test_a_variable_becomes_a_value(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, value: Any
) -> None:
    monkeypatch.setenv(f"STREAMLEARN_{variable}", text)
    section, name = variable.lower().split("__")
    found = getattr(getattr(load(), section), name)
    assert (found, type(found)) == (value, type(value))


def test_a_section_and_the_models_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "[checkpoints]\nkeep = 5\nhourly = 5\ndaily = 5\nundo = 5")
    monkeypatch.setenv("STREAMLEARN_CHECKPOINTS", '{"hourly": 6, "daily": 6}')
    monkeypatch.setenv("STREAMLEARN_CHECKPOINTS__DAILY", "7")
    monkeypatch.setenv(
        "STREAMLEARN_MODELS", '[{"name": "m", "kind": "som", "spec": {"dim": 1, "grid": [2]}}]'
    )
    settings = load(path)
    checkpoints = settings.checkpoints
    assert (checkpoints.keep, checkpoints.hourly, checkpoints.daily, checkpoints.undo) == (5, 6, 7, 5)
    assert [(model.name, model.spec["dim"]) for model in settings.models] == [("m", 1)]
    monkeypatch.setenv("STREAMLEARN_MODELS", '{"name": "m"}')
    with pytest.raises(BadConfig, match="expected a JSON list"):
        load(path)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        load().log.level = "debug"  # type: ignore[misc]


def test_a_message_has_the_value_and_what_was_expected(tmp_path: Path) -> None:
    path = written(
        tmp_path, "checkpoints = {keep = 1, hourly = 1.5}\nlearning.slice_milliseconds = 0\nlog.level = 3"
    )
    assert mistakes(path) == {
        "checkpoints.keep": "expected at least 2, not 1",
        "checkpoints.hourly": "expected a whole number, not 1.5",
        "learning.slice_milliseconds": "expected a number above 0, not 0.0",
        "log.level": "expected one of 'debug', 'info', 'warning', 'error', not 3",
    }


@pytest.mark.parametrize("text", ["a = ", "\x00", "[[models]\n"])
def test_a_file_that_is_not_toml(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadConfig, match="is not TOML"):
        load(written(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="No such file"):
        load(tmp_path / "nothing.toml")


def test_the_example_has_every_setting_with_its_default(tmp_path: Path) -> None:
    text = "\n".join(
        line[1:] if line.startswith("#") and not line.startswith("# ") and line != "#" else line
        for line in EXAMPLE.read_text().splitlines()
    )
    values = tomllib.loads(text)
    assert load(written(tmp_path, text)).models[0].name == "pump"
    declared = values.pop("models")[0]
    assert set(declared) == set(kinds(DeclaredModel))
    expected = asdict(load())
    assert values == {name: value for name, value in expected.items() if name != "models"} | {
        "data_dir": str(expected["data_dir"])
    }
    for name, kind in kinds(Settings).items():
        if is_section(kind):
            assert set(values[name]) == set(kinds(kind))


def test_the_example_can_be_used_as_it_is() -> None:
    assert load(EXAMPLE) == load()


def test_a_daemon_with_keys_needs_a_key_for_its_gateway(tmp_path: Path) -> None:
    keys = '[security]\nserver_key = "s.key"\nclient_keys = "clients"\nrights = "rights.toml"\n'
    found = mistakes(written(tmp_path, keys), http="127.0.0.1:7780")
    assert found["settings"].startswith("clients need keys, so http.key_file must be a key")
    path = written(tmp_path, keys + '[http]\nkey_file = "gateway.key"')
    assert load(path, http="127.0.0.1:7780").http.key_file == "gateway.key"


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ('address = "7780"', "http.address", "'7780' is not HOST:PORT, for example 127.0.0.1:7780"),
        ('certificate = "c.pem"', "http", "certificate and private_key are needed both for TLS"),
        (
            'address = "127.0.0.1:0"\nkey_file = "gateway.key"',
            "settings",
            "http.key_file needs security.server_key: without it no client has a key",
        ),
    ],
)
def test_wrong_settings_of_the_gateway(tmp_path: Path, text: str, field: str, message: str) -> None:
    assert mistakes(written(tmp_path, f"[http]\n{text}")) == {field: message}


def test_a_gateway_that_everybody_could_use_is_refused() -> None:
    with pytest.raises(InsecureBind, match=r"http at 0\.0\.0\.0:0 would accept everybody on the network"):
        gateway.bind(load(http="0.0.0.0:0").http)


def test_a_gateway_on_ipv6() -> None:
    loaded = load(http="[::1]:0")
    settings = loaded.http
    with gateway.bind(settings) as bound:
        port = bound.getsockname()[1]
        assert gateway.url(settings, bound) == f"http://[::1]:{port}"
        command = gateway.command(settings, loaded.log, bound, "tcp://0.0.0.0:7700", None)
    assert command[command.index("--endpoint") + 1] == "tcp://127.0.0.1:7700"


def test_a_gateway_without_its_libraries_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "NEEDED", ("numpy", "missing_library"))
    with pytest.raises(BadConfig, match=r"needs missing_library, which is not installed: pip install"):
        gateway.bind(load(http="127.0.0.1:0").http)
