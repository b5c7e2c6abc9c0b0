"""The command ``streamlearn``.

Each topic is one module. ``commands.py`` imports it when one of its commands is used. Modules import heavy
packages inside their commands, so that ``streamlearn status`` does not load the compiler. Commands raise;
only this module formats errors.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, TextIO

import typer

from streamlearn.cli.commands import Program
from streamlearn.cli.environment import check_environment, choose_processor
from streamlearn.cli.options import DEFAULT_ENDPOINT, KeyFile, ServerKey

__all__ = ["app", "main"]

INTERRUPTED = 130
DEBUG = "STREAMLEARN_DEBUG"

app = typer.Typer(
    cls=Program,
    name="streamlearn",
    help="Models that learn from sensor streams, sample by sample, and survive kill -9.",
    epilog="More about a command: streamlearn COMMAND --help. Exit codes and examples: docs/cli.md.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from streamlearn import __version__

        typer.echo(f"streamlearn {__version__}")
        raise typer.Exit


@app.callback()
def _before(
    context: typer.Context,
    endpoint: Annotated[
        str,
        typer.Option(
            "--endpoint",
            "-e",
            envvar="STREAMLEARN_ENDPOINT",
            metavar="EP",
            help="the daemon's endpoint for requests",
        ),
    ] = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version")
    ] = False,
) -> None:
    check_environment()
    choose_processor()
    commands = context.command.list_commands(context)  # type: ignore[attr-defined] # the context of the group
    if context.invoked_subcommand == "serve" and (server_key is not None or key_file is not None):
        from streamlearn.cli.errors import BadUsage

        raise BadUsage(
            "--server-key and --key-file before serve are keys of a client; give the daemon its key after "
            "serve"
        )
    connection = {"endpoint": endpoint, "server_key": server_key, "key_file": key_file}
    # `serve` has a --server-key of its own: the secret one.
    context.default_map = {name: connection for name in commands if name != "serve"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code. Every error is one line on standard error."""
    warnings.showwarning = _print_warning
    _open_standard_files()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without µ must not fail
    try:
        code = typer.main.get_command(app).main(
            list(sys.argv[1:] if arguments is None else arguments), "streamlearn", standalone_mode=False
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (typer.Abort, KeyboardInterrupt):
        return _print_error("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has closed the pipe, as `head` does. Keep Python from reporting it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # the last handler
        if os.environ.get(DEBUG):
            raise
        return _report(error)


def _report(error: Exception) -> int:
    from streamlearn.cli.errors import exit_code
    from streamlearn.errors import StreamlearnError

    if isinstance(error, typer.TyperException):
        command = getattr(getattr(error, "ctx", None), "command_path", "streamlearn")
        message = error.format_message().removesuffix(".")
        if not message:  # a command without arguments has shown its help
            return error.exit_code
        if command.endswith(" create") and (option := getattr(error, "option_name", "")).startswith("--"):
            message += f"; a parameter of a model is set with -s {option[2:]}=VALUE"
        return _print_error(f"{message} (see {command} --help)", error.exit_code)
    if isinstance(error, StreamlearnError):
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        return _print_error(f"{error.message}{notes}", exit_code(error))
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        return _print_error(f"{where}{error.strerror}", 1)
    return _print_error(f"internal error: {type(error).__name__}: {error} (set {DEBUG}=1 for a traceback)", 1)


def _open_standard_files() -> None:
    """Replace closed standard files by the null device, so that no other file gets their descriptors."""
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def _print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Replace `warnings.showwarning`, which prints a line of source code too."""
    _print_error(f"warning: {message}", 0)


def _print_error(line: str, code: int) -> int:
    with contextlib.suppress(OSError):  # standard error is closed
        print("streamlearn:", " ".join(line.split()), file=sys.stderr)
    return code
