"""The command ``streamlearn``.

One module for each topic. They import what they need inside their commands, so that ``streamlearn
status`` never waits for a compiler; and they raise, so that here alone is decided how an error looks.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from streamlearn.cli import checkpoints, demo, models, predict, push, serve, verify, warmup
from streamlearn.cli.options import DEFAULT_ENDPOINT

__all__ = ["app", "main"]

INTERRUPTED = 130
DEBUG = "STREAMLEARN_DEBUG"

app = typer.Typer(
    name="streamlearn",
    help="Models that learn from sensor streams, sample by sample, and survive kill -9.",
    epilog="streamlearn COMMAND --help tells more. Exit codes and examples: docs/cli.md.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
for module in (serve, demo, warmup, models, push, predict, checkpoints, verify):
    module.add_to(app)


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
            help="where the daemon takes requests",
        ),
    ] = DEFAULT_ENDPOINT,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="say the version, and stop")
    ] = False,
) -> None:
    commands = context.command.list_commands(context)  # type: ignore[attr-defined] # it is the group
    context.default_map = {name: {"endpoint": endpoint} for name in commands}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code. Whatever goes wrong is one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no µ is no reason to fail
    try:
        code = typer.main.get_command(app).main(
            list(sys.argv[1:] if arguments is None else arguments), "streamlearn", standalone_mode=False
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (typer.Abort, KeyboardInterrupt):
        return _complain("stopped", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has left, as `head` does. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # the last handler there is
        if os.environ.get(DEBUG):
            raise
        return _explain(error)


def _explain(error: Exception) -> int:
    from streamlearn.cli.errors import exit_code
    from streamlearn.errors import StreamlearnError

    if isinstance(error, typer.TyperException):
        command = getattr(getattr(error, "ctx", None), "command_path", "streamlearn")
        told = error.format_message().removesuffix(".")
        if not told:  # nothing but the command's name was given, and its help has been shown
            return error.exit_code
        return _complain(f"{told} (see {command} --help)", error.exit_code)
    if isinstance(error, StreamlearnError):
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        return _complain(f"{error.message}{notes}", exit_code(error))
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        return _complain(f"{where}{error.strerror}", 1)
    return _complain(
        f"a fault of streamlearn itself: {type(error).__name__}: {error} (with {DEBUG}=1 it shows where)", 1
    )


def _complain(line: str, code: int) -> int:
    with contextlib.suppress(OSError):  # nobody is left to be told
        print("streamlearn:", " ".join(line.split()), file=sys.stderr)
    return code
