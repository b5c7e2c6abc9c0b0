"""The example is valid, and mistakes are named with the file, the setting and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamlearn.bridges.mqtt.configuration import load
from streamlearn.cli import main
from streamlearn.errors import BadConfig

EXAMPLE = Path(__file__).parents[3] / "deploy/mqtt/bridge.toml"
INPUT = '[[input]]\ntopic = "a/{b}"\nmodel = "m"\nchannels = ["x"]\n'

WRONG = [
    ('[broker]\nhst = "a"', "broker.hst: unknown setting (did you mean host?)"),
    ("[broker]\nport = 99999", "broker.port: input should be less than or equal to 65535, not 99999"),
    ('[broker]\npassword_file = "p"', "broker: password_file needs a username"),
    ('[broker.tls]\ncertificate = "c"', "broker.tls: certificate and private_key are needed both"),
    ('[broker.tls]\nca = "/nowhere/ca"', "broker.tls.ca: can't read /nowhere/ca: No such file or directory"),
    ('[[input]]\ntopic = "a/#/b"', "input.0.topic: the level '#' of the topic 'a/#/b' is not valid"),
    ('[[input]]\ntopic = "a"', "input.0.model: is missing; input.0.channels: is missing"),
    (INPUT + 'tme = "t"', "input.0.tme: unknown setting (did you mean time?)"),
    (INPUT + 'key = "{c}"', "input.0: '{c}' uses {c}, which is no part of the topic; it has b"),
    (INPUT + 'key = "{"', "input.0: '{' has a brace that belongs to no {name}"),
    (INPUT.replace('"m"', '"m/n"'), "input.0: 'm/n' is not a valid model name"),
    (INPUT + 'time = "a[x]"', "input.0: 'a[x]' is not a path"),
    (INPUT + 'time_format = "swatch"', "input.0: time_format swatch: use one of iso"),
    (INPUT + 'payload = "xml"', "input.0.payload: input should be 'json'"),
    (INPUT + 'payload = "number"\ntime = "t"', 'input.0: payload = "number" has no time'),
    (INPUT + 'payload = "csv"', 'input.0: payload = "csv" needs columns'),
    (INPUT + 'payload = "csv"\ncolumns = ["y"]', "input.0: 'x' is not one of the columns y"),
    (INPUT + 'run = "boot"', "input.0: run and source need number"),
    (INPUT + 'number = "n"\njoin = { window = 1 }', "input.0: join can't be used with number"),
    (INPUT + 'template = "t"', "input.0.template is 't'; the templates are: none"),
    ('[template.t]\nkind = "sum"', "template.t.kind: there is no kind 'sum'; the kinds are"),
    ('[[output]]\nwhat = "alarms"', "output.0.what: input should be 'alarm'"),
    ('[[output]]\nwhat = "alarm"\ntopic = "a/{x}"', "output.0.topic: 'a/{x}' uses {x}"),
    ('[[output]]\nwhat = "alarm"\ntopic = "a/#"', "output.0.topic: 'a/#' is no topic to publish to"),
    ('[[output]]\nwhat = "alarm"\nevery = 1', "output.0: every is for score and winner"),
    ("a = [", "is not TOML"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_mistake_is_named(text, message, tmp_path):
    file = tmp_path / "bridge.toml"
    file.write_text(text)
    with pytest.raises(BadConfig) as error:
        load(file)
    assert str(file) in error.value.message
    assert message in error.value.message


def test_all_mistakes_are_named_at_once_and_in_one_line(tmp_path, capsys):
    file = tmp_path / "bridge.toml"
    file.write_text('[broker]\nport = "x"\n[[output]]\nwhat = "alarms"\n')
    assert main(["mqtt", "--config", str(file)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"streamlearn: 2 mistakes in {file}: broker.port: ")


def test_a_missing_file_is_one_line(tmp_path, capsys):
    assert main(["mqtt", "--config", str(tmp_path / "none.toml"), "--check"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"streamlearn: can't read {tmp_path}/none.toml: No such file or directory"


def test_the_example_is_valid_and_names_every_setting(capsys):
    assert main(["mqtt", "--config", str(EXAMPLE), "--check"]) == 0
    assert "is valid" in capsys.readouterr().out
    from streamlearn.bridges import inputs
    from streamlearn.bridges.mqtt import settings

    text = EXAMPLE.read_text()
    for section in (
        settings.Broker, settings.Tls, settings.Daemon, inputs.Input, inputs.Join, inputs.Template,
        settings.Output, settings.Discovery, settings.Settings,
    ):  # fmt: skip
        for name in section.model_fields:
            assert name in text, f"{section.__name__}.{name}"
