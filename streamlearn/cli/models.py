"""``streamlearn status | models | create | describe | reheat | …``: the daemon and its models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from streamlearn.cli.options import (
    DEFAULT_ENDPOINT,
    Endpoint,
    Json,
    KeyFile,
    Name,
    ServerKey,
    Timeout,
    Yes,
    confirm,
    connect,
)
from streamlearn.registry import KINDS

_ANY_KIND = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}"
COMPILING = (
    "waiting for the daemon. The first model of a kind waits until its kernels are compiled, once per "
    "installation; the daemon's log shows the progress"
)


def status(
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 3.0,
    as_json: Json = False,
) -> None:
    """Show the daemon's counters since its start."""
    from streamlearn.cli import report

    with connect(endpoint, timeout, server_key, key_file) as client:
        hello, stats = client.hello(), client.stats()
    queries, commits = stats["query_seconds"], stats["commit_seconds"]
    facts = {
        "daemon": f"{hello['server']} {hello['version']}, up {report.duration(stats['uptime_seconds'])}",
        **hello["endpoints"],
        "journal": f"{report.size(stats['journal_bytes'])}, durable up to lsn {stats['durable_lsn']:,}"
        f" of {stats['written_lsn']:,}",
        "backlog": f"{report.many(stats['backlog_rows'], 'sample')} ({report.size(stats['backlog_bytes'])})",
        "queries": f"{queries['count']:,}{_quantiles(queries)}",
        "commits": f"{commits['count']:,}{_quantiles(commits)}",
    }
    if any(stats["refused"].values()):
        facts["refused"] = ", ".join(f"{count:,} {kind}" for kind, count in stats["refused"].items() if count)
    table = report.table(
        "model", ">samples", ">learned", ">duplicates", ">refused", ">backlog", ">per sample"
    )
    for name, model in stats["models"].items():
        seconds = model["microseconds_per_sample"] * 1e-6
        counts = (model[key] for key in ("samples", "learned", "duplicates", "refused", "backlog_rows"))
        table.add_row(name, *map(report.text, counts), report.duration(seconds) if seconds else "–")
    none = "no models; create one: streamlearn create --help"
    report.show(
        {**hello, **stats},
        as_json,
        report.pairs(facts),
        table if stats["models"] else none,
        *_set_aside(stats["models"]),
    )


def models(
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 3.0,
    as_json: Json = False,
) -> None:
    """List the models."""
    from streamlearn.cli import report

    with connect(endpoint, timeout, server_key, key_file) as client:
        found = client.models()
    table = report.table("model", "kind", ">dim", ">samples", ">applied lsn", "learning")
    for model in found:
        numbers = (model["dim"], model["samples"], model["applied_lsn"])
        learning = "paused" if model["paused"] else "on"
        table.add_row(model["name"], model["kind"], *map(report.text, numbers), learning)
    none = "no models; create one: streamlearn create --help"
    report.show(
        found, as_json, table if found else none, *_set_aside({model["name"]: model for model in found})
    )


def _set_aside(models: dict[str, Any]) -> list[str]:
    """Return a line for each model that is set aside."""
    return [
        f"{name} is set aside: {model['quarantined']['reason']}; see: streamlearn repair --help"
        for name, model in models.items()
        if model.get("quarantined")
    ]


def create(
    name: Name,
    kind: Annotated[str | None, typer.Option("--kind", "-k", help=_ANY_KIND, show_default=False)] = None,
    spec: Annotated[
        list[str] | None,
        typer.Option(
            "--spec", "-s", metavar="KEY=VALUE", help="a parameter (repeatable)", show_default=False
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="TOML or JSON file with parameters and kind",
            show_default=False,
        ),
    ] = None,
    from_file: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="file of export: spec and state", show_default=False),
    ] = None,
    parameters: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="start of a network: a state_dict of PyTorch, as .safetensors",
            show_default=False,
        ),
    ] = None,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Create a model.

        streamlearn create pump -k som -s dim=8 -s grid=10,10 -s scale=standard

        streamlearn create flow -k rnn -s readout=adam -s dim=1 -s hidden=16 -s learning_rate=0.01

        streamlearn create pump-2 --from pump.slm

    A value is read as JSON if possible, else as text. --spec overrides the file.
    """
    from streamlearn.cli import report
    from streamlearn.cli.errors import BadUsage

    given = read_spec(file) if file is not None else {}
    file_kind = given.pop("kind", None)
    kind = kind or (file_kind if isinstance(file_kind, str) else None)
    if kind is None and from_file is None:
        raise BadUsage(f"the kind of model is missing: give --kind {_ANY_KIND}, or `kind` in the file")
    for assignment in spec or ():
        assign(given, assignment)
    if from_file is not None and (given or parameters is not None):
        raise BadUsage("--from is a file with spec and state; leave out --spec, --file and --parameters")
    with connect(endpoint, timeout, server_key, key_file) as client, report.notice(COMPILING):
        created = client.create(name, kind, from_file=from_file, parameters=parameters, **given)
    shown = {key: value for key, value in created["spec"].items() if value is not None}
    report.show(created, as_json, f"created {name} ({created['kind']})", report.pairs(shown))


def describe(
    name: Name,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Show one model: spec, samples, quality, state hash, checkpoints."""
    from streamlearn.cli import report

    with connect(endpoint, timeout, server_key, key_file) as client:
        found = client.describe(name)
    facts = {
        "model": found["name"],
        "kind": found["kind"],
        "input": _input(found),
        "samples": found["samples"],
        "state hash": found["state_hash"],
        "applied lsn": f"{found['applied_lsn']:,} (durable: {found['durable_lsn']:,})",
        **{label.replace("_", " "): value for label, value in found["quality"].items()},
        "checkpoints": ", ".join(f"lsn {each['lsn']:,}" for each in found["checkpoints"]) or "none",
        "spec": report.pairs(found["spec"]),
    }
    report.show(found, as_json, report.pairs(facts))


def feedback(
    name: Name,
    verdict: Annotated[str, typer.Argument(metavar="VERDICT", help="normal or fault")],
    sample: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help="number of the sample: the first one or the peak of an alarm"),
    ] = None,
    values: Annotated[
        str | None, typer.Option(metavar="V,V,…", help="values of the sample; nan if missing")
    ] = None,
    fault: Annotated[str, typer.Option("--name", metavar="NAME", help="name of the fault")] = "",
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Judge a sample: its pattern is normal and raises no alarm again, or it is a fault with a name."""
    from streamlearn.cli import report

    if (sample is None) == (values is None):
        raise typer.BadParameter(
            "give the number of the sample or its values", param_hint="--sample, --values"
        )
    try:
        judged: Any = sample if values is None else [float(value) for value in values.split(",")]
    except ValueError as error:
        raise typer.BadParameter(
            f"{error}; write numbers, separated by commas", param_hint="--values"
        ) from None
    with connect(endpoint, timeout, server_key, key_file) as client:
        found = client.feedback(name, judged, verdict, fault)
    what = "normal" if verdict == "normal" else f"the fault {fault or 'fault'!r}"
    report.show(found, as_json, f"{name}: this pattern is {what} (lsn {found['lsn']})")


def reheat(
    name: Name,
    heat: Annotated[
        float,
        typer.Option(metavar="SHARE", help="share of the way back to the start values, above 0, up to 1"),
    ] = 1.0,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Restart a model's schedules, so that it learns as fast as a new model."""
    with connect(endpoint, timeout, server_key, key_file) as client:
        done = client.reheat(name, heat)
    _show_change(done, as_json, f"{name} is reheated to {heat:g}")


def pause(
    name: Name,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Pause learning: the model only watches its samples until resume."""
    with connect(endpoint, timeout, server_key, key_file) as client:
        done = client.pause(name)
    _show_change(done, as_json, f"{name} is paused")


def resume(
    name: Name,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Learn again after pause."""
    with connect(endpoint, timeout, server_key, key_file) as client:
        done = client.resume(name)
    _show_change(done, as_json, f"{name} is resumed")


def _show_change(done: Mapping[str, Any], as_json: bool, change: str) -> None:
    """Print a change of a model, with its sample count and lsn."""
    from streamlearn.cli import report

    report.show(
        done, as_json, f"{change} after {report.many(done['samples'], 'sample')} (lsn {done['lsn']:,})"
    )


def delete(
    name: Name,
    yes: Yes = False,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Delete a model, its state and its checkpoints."""
    from streamlearn.cli import report

    with connect(endpoint, timeout, server_key, key_file) as client:
        samples = client.describe(name)["samples"]
        confirm(
            f"Delete {name}, which has learned {report.many(samples, 'sample')}, and its checkpoints?", yes
        )
        client.delete(name)
    report.show({"deleted": name, "samples": samples}, as_json, f"deleted {name}")


def read_spec(path: Path) -> dict[str, Any]:
    """Read parameters from a TOML or JSON file. Raises ``BadUsage`` and ``OSError``."""
    import tomllib

    from streamlearn.cli.errors import BadUsage

    data = path.read_bytes()
    try:
        text = data.decode()
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:  # from json, tomllib and decode
        raise BadUsage(f"{path} is not {'JSON' if path.suffix == '.json' else 'TOML'}: {error}") from None
    if not isinstance(found, dict):
        raise BadUsage(f"{path} must hold one table (or object) with the parameters of a model")
    return found


def assign(spec: dict[str, Any], assignment: str) -> None:
    """Set ``key=value`` in ``spec``; ``a.b=value`` sets ``b`` in ``a``. Raises ``BadUsage``."""
    from streamlearn.cli.errors import BadUsage

    key, equals, value = assignment.partition("=")
    if not equals or not all(key.split(".")):
        raise BadUsage(f"--spec {assignment!r} is not KEY=VALUE; example: --spec dim=8")
    *path, last = key.split(".")
    for part in path:
        nested = spec.setdefault(part, {})
        if not isinstance(nested, dict):
            raise BadUsage(
                f"--spec {assignment!r}: {part} already has a value and cannot hold further parameters"
            )
        spec = nested
    spec[last] = parse_value(value)


def parse_value(text: str) -> Any:
    """Parse JSON if possible (``10,10`` is a list, ``none`` is null), else return the text."""
    if text.lower() == "none":
        return None
    for candidate in (text, f"[{text}]") if "," in text else (text,):
        try:
            return json.loads(candidate)
        except ValueError:
            continue
    return text


def _input(found: Mapping[str, Any]) -> str:
    """Describe the parts of a sample."""
    from streamlearn.cli.report import many

    parts = [many(found["dim"], "value")]
    if found["target_dim"]:
        parts.append(
            many(found["target_dim"], "target")
            + (", also late by id" if found["accepts_late_targets"] else "")
        )
    if found["needs_keys"]:
        parts.append("a key")
    if found["uses_time"]:
        parts.append("its time, or else the time of its arrival")
    return "; ".join(parts)


def _quantiles(histogram: dict[str, Any]) -> str:
    from streamlearn.cli.report import duration

    if not histogram["count"]:
        return ""
    return f" (median {duration(histogram['p50'])}, 99 % within {duration(histogram['p99'])})"
