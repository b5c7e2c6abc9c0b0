"""Settings: their sources, their precedence, and the report of all mistakes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from streamlearn.daemon import gateway
from streamlearn.daemon.config import DeclaredModel, Settings, load
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
    assert set(declared) == set(DeclaredModel.model_fields)
    expected = load().model_dump(exclude={"models"}, mode="json")
    assert values == expected
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            assert set(values[name]) == set(field.annotation.model_fields)


def test_the_example_can_be_used_as_it_is() -> None:
    assert load(EXAMPLE).model_dump() == load().model_dump()


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
