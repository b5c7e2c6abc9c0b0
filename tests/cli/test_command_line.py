"""The command line: errors are one line, exit codes differ, and client commands load no heavy package."""

from __future__ import annotations

import ast
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import streamlearn
from streamlearn import cli
from streamlearn.cli.errors import Declined, Unconfirmed, exit_code
from streamlearn.cli.options import DEFAULT_ENDPOINT, confirm
from streamlearn.errors import (
    BadConfig,
    BadSpec,
    FatalError,
    NoAnswer,
    PortTaken,
    StreamlearnError,
    StreamLost,
)
from streamlearn_client.client import DEFAULT_ENDPOINT as CLIENTS_DEFAULT

NO_DAEMON = "ipc://no-daemon"
COMMANDS = (
    "serve gateway mqtt kafka token keygen demo warmup status models create describe read reheat pause "
    "resume feedback label delete push predict forecast sample alarms watch explain checkpoint checkpoints "
    "unpin restore export clone backup verify repair"
).split()


@pytest.fixture
def run(capsys):
    def run(*arguments):
        code = cli.main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def one_line(text):
    assert text.startswith("streamlearn: ")
    assert text.count("\n") == 1
    return text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run, command):
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    assert command in out
    assert command in run("--help")[1]


def test_without_a_command_help_is_shown(run):
    code, out, _ = run()
    assert code == 2
    assert "Usage" in out


def test_version(run):
    assert run("--version") == (0, f"streamlearn {streamlearn.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "nonsense"),
        (["describe"], "NAME"),
        (["status", "--timeout", "soon"], "--timeout"),
        (["create", "pump"], "--kind"),
        (["create", "pump", "-k", "som", "-s", "dim"], "KEY=VALUE"),
        (["create", "pump", "-k", "som", "--dim", "3"], "-s dim=VALUE"),
        (["read", "net", "parameters", "--safetensors", "net.st"], ".safetensors"),
        (["verify", "."], "not a data directory"),
        (["push", "x.csv"], "--model"),
        (["push", "x.csv", "-m", "x", "--targets"], "--id"),
        (["push", "x.csv", "-m", "x", "--targets", "--id", "1", "--columns", "2"], "--columns"),
        (["forecast", "x", "0"], "STEPS"),
        (["reheat", "x", "--heat", "much"], "--heat"),
    ],
)
def test_wrong_usage_is_2(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in one_line(err)


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["models"], ["describe", "pump"], ["create", "pump", "-k", "som"], ["checkpoint", "pump"]],
)
def test_no_daemon_is_10(run, arguments):
    code, out, err = run(*arguments, "--endpoint", NO_DAEMON, "--timeout", "0.05")
    assert (code, out) == (10, "")
    assert NO_DAEMON in one_line(err)
    assert "streamlearn serve" in err


def test_the_endpoint_option_works_before_and_after_the_command(run, monkeypatch):
    monkeypatch.setenv("STREAMLEARN_ENDPOINT", "ipc://from-the-environment")
    assert "ipc://from-the-environment" in run("status", "--timeout", "0.05")[2]
    assert NO_DAEMON in run("--endpoint", NO_DAEMON, "status", "--timeout", "0.05")[2]
    assert NO_DAEMON in run("-e", "ipc://other", "status", "-e", NO_DAEMON, "--timeout", "0.05")[2]


def test_the_endpoint_by_default_is_the_clients():
    assert DEFAULT_ENDPOINT == CLIENTS_DEFAULT


def test_a_missing_file_is_1(run, tmp_path):
    code, _, err = run("predict", str(tmp_path / "absent.csv"), "-m", "pump", "-e", NO_DAEMON)
    assert code == 1
    assert "absent.csv: No such file" in one_line(err)


def test_an_invalid_configuration_is_2_and_names_every_error(run, tmp_path):
    config = tmp_path / "streamlearn.toml"
    config.write_text("[endpoints]\nrequest = 'x'\n[checkpoints]\nseconds = -1\nkeep = 'many'\n")
    code, _, err = run("serve", "--config", str(config), "--data-dir", str(tmp_path / "data"))
    assert code == 2
    for setting in ("endpoints.request", "checkpoints.seconds", "checkpoints.keep"):
        assert setting in one_line(err)


def test_the_clients_endpoint_is_no_setting_of_the_daemon(monkeypatch):
    """STREAMLEARN_ENDPOINT is for clients; `serve` must ignore it, although its settings share the prefix."""
    from streamlearn.daemon import config

    monkeypatch.setenv("STREAMLEARN_ENDPOINT", NO_DAEMON)
    assert config.load().endpoints.requests == DEFAULT_ENDPOINT


def test_exit_codes_differ():
    assert exit_code(NoAnswer("")) == exit_code(StreamLost("")) == 10
    assert exit_code(BadSpec("")) == exit_code(StreamLost("", cause={"code": "BAD_SHAPE"})) == 1
    assert exit_code(BadConfig("")) == 2
    assert exit_code(PortTaken("")) == PortTaken.exit_code
    ours = [error.exit_code for error in _subclasses(FatalError) if "exit_code" in vars(error)]
    theirs = [10, 11, 12, 13]
    assert len({*ours, *theirs}) == len(ours) + len(theirs)


def test_an_internal_error_is_one_line_too(run, monkeypatch):
    def broken(*_):
        raise KeyError("uptime")

    monkeypatch.setattr("streamlearn.cli.models.connect", broken)
    code, _, err = run("status")
    assert code == 1
    assert "KeyError: 'uptime'" in one_line(err)
    monkeypatch.setenv(cli.DEBUG, "1")
    with pytest.raises(KeyError):
        run("status")


def test_an_interrupted_command_is_130(run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("streamlearn.cli.models.connect", interrupted)
    assert run("status")[0] == 130


def test_irreversible_commands_ask_first(monkeypatch):
    stdin = io.StringIO("n\ny\n")
    monkeypatch.setattr("sys.stdin", stdin)
    confirm("Sure?", yes=True)
    with pytest.raises(Unconfirmed, match="--yes"):
        confirm("Sure?", yes=False)
    stdin.isatty = lambda: True
    with pytest.raises(Declined, match="nothing was changed"):
        confirm("Sure?", yes=False)
    confirm("Sure?", yes=False)


HEAVY = ("numba", "llvmlite", "pydantic", "asyncio", "safetensors", "river", "matplotlib")
PROBE = """
import sys
from streamlearn.cli import main
main(sys.argv[1:])
print([name for name in {heavy!r} if name in sys.modules])
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["status"],
        ["models"],
        ["push", __file__, "-m", "x"],
        ["predict", __file__, "-m", "x"],
        ["forecast", "x", "3"],
        ["reheat", "x"],
        ["pause", "x"],
    ],
)
def test_commands_of_a_client_load_nothing_heavy(arguments):
    endpoint = ["--endpoint", NO_DAEMON] if "--help" not in arguments else []
    wait = ["--timeout", "0.05"] if endpoint else []
    command = [sys.executable, "-c", PROBE.format(heavy=HEAVY), *arguments, *endpoint, *wait]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ast.literal_eval(result.stdout.splitlines()[-1]) == [], result


def test_serve_imports_no_module_that_it_does_not_need():
    program = """
import sys
from streamlearn.daemon import process
process.prepare()
import streamlearn.cli.serve
import streamlearn.daemon.config
import streamlearn.daemon.lifecycle
streamlearn.daemon.config.load()
heavy = ("scipy", "yaml", "rich", "numba", "llvmlite", "pydantic", "asyncio", "importlib.metadata")
models = [f"streamlearn.models.{name}" for name in ("base", "factory", "outputs", "spec")]
print([name for name in (*heavy, *models) if sys.modules.get(name)])
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (result.stdout, result.stderr) == ("[]\n", "")


@pytest.mark.parametrize("command", ["serve", "token"])
def test_a_command_imports_no_module_of_another_command(command):
    program = """
import sys
from streamlearn.cli import commands, main
main([sys.argv[1], "--help"])
print([name for name in commands.MODULES if f"streamlearn.cli.{name}" in sys.modules])
"""
    result = subprocess.run(
        [sys.executable, "-c", program, command], capture_output=True, text=True, timeout=60
    )
    module = {"serve": "serve", "token": "gateway"}[command]
    assert ast.literal_eval(result.stdout.splitlines()[-1]) == [module], result


def test_a_terminal_without_unicode_is_no_error():
    command = [sys.executable, "-m", "streamlearn", "--help"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_closed_pipe_is_no_error():
    program = "import sys; from streamlearn.cli import main; sys.exit(main(['--help']))"
    shell = f'"{sys.executable}" -c "{program}" | true'
    result = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")


def _subclasses(cls):
    for each in cls.__subclasses__():
        yield each
        yield from _subclasses(each)


# docs/cli.md

DOCUMENT = (Path(__file__).parents[2] / "docs/cli.md").read_text()


def test_every_client_command_takes_keys(run, tmp_path):
    """The names of the options are given before or after the command; both reach the client."""
    for command in ("models", "status"):
        for arguments in (
            ["--server-key", "x.pub", "--key-file", "y.key", command],
            [command, "--server-key", "x.pub", "--key-file", "y.key"],
        ):
            code, out, err = run(*arguments)
            assert (code, out) == (1, "")
            assert "can't read the key file x.pub" in err
    group = typer.main.get_command(cli.app)
    for name, command in group.commands.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert ("--key-file" in options) == ("--endpoint" in options), name


def test_a_clients_key_is_no_key_of_the_daemon(run):
    """A daemon that ignored it would serve everybody."""
    code, out, err = run("--server-key", "server.key", "serve")
    assert (code, out) == (2, "")
    assert "give the daemon its key after serve" in err


def test_the_document_names_every_command():
    assert set(re.findall(r"^\| `streamlearn (\w+)", DOCUMENT, re.MULTILINE)) == set(COMMANDS)


def test_the_document_has_every_exit_code():
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", DOCUMENT, re.MULTILINE)}
    errors = [*_subclasses(StreamlearnError)]
    codes = {exit_code(error("")) for error in errors}
    assert codes <= documented
    assert documented - codes == {0, cli.INTERRUPTED}


def test_options_in_the_document_are_there(run):
    for line in re.findall(r"streamlearn ((?:push|predict|create) .*)$", DOCUMENT, re.MULTILINE):
        words = line.split("#")[0].split()
        shown = run(words[0], "--help")[1]
        assert all(word in shown for word in words if word.startswith("--")), line
