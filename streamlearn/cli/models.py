"""``streamlearn status | models | create | describe | reheat | delete``: the daemon and its models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from streamlearn.cli.options import DEFAULT_ENDPOINT, Endpoint, Json, Name, Timeout, Yes, confirm, connect

KINDS = ("som", "competitive", "gng", "rnn", "birnn", "grossberg", "hamming", "malsburg", "cognitron")
"""what the registry of models has, which takes a compiler to ask"""
_ANY_KIND = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}"


def add_to(app: typer.Typer) -> None:
    for command in (status, models, create, describe, reheat, delete):
        app.command()(command)


def status(endpoint: Endpoint = DEFAULT_ENDPOINT, timeout: Timeout = 3.0, as_json: Json = False) -> None:
    """Say how the daemon is: what it has taken, learned and answered since it started."""
    from streamlearn.cli import report

    with connect(endpoint, timeout) as client:
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
    shown = report.table(
        "model", ">samples", ">learned", ">duplicates", ">refused", ">backlog", ">per sample"
    )
    for name, each in stats["models"].items():
        pace = each["microseconds_per_sample"] * 1e-6
        counts = (each[key] for key in ("samples", "learned", "duplicates", "refused", "backlog_rows"))
        shown.add_row(name, *map(report.text, counts), report.duration(pace) if pace else "–")
    none = "no models yet: streamlearn create --help"
    report.show({**hello, **stats}, as_json, report.pairs(facts), shown if stats["models"] else none)


def models(endpoint: Endpoint = DEFAULT_ENDPOINT, timeout: Timeout = 3.0, as_json: Json = False) -> None:
    """List the models."""
    from streamlearn.cli import report

    with connect(endpoint, timeout) as client:
        there = client.models()
    shown = report.table("model", "kind", ">dim", ">samples", ">learned up to lsn")
    for each in there:
        numbers = (each["dim"], each["samples"], each["applied_lsn"])
        shown.add_row(each["name"], each["kind"], *map(report.text, numbers))
    report.show(there, as_json, shown if there else "no models yet: streamlearn create --help")


def create(
    name: Name,
    kind: Annotated[str | None, typer.Option("--kind", "-k", help=_ANY_KIND, show_default=False)] = None,
    spec: Annotated[
        list[str] | None,
        typer.Option(
            "--spec", "-s", metavar="KEY=VALUE", help="a parameter; may be repeated", show_default=False
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", "-f", metavar="FILE", help="parameters, and kind, in TOML or JSON", show_default=False
        ),
    ] = None,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Make a model.

        streamlearn create pump -k som -s dim=8 -s grid=10,10 -s scale=standard

        streamlearn create flow -k rnn -s dim=1 -s hidden=16 -s learning_rate=0.01

    A value is JSON where it can be read so, and text otherwise. What --spec says goes before the file.
    """
    from streamlearn.cli import report
    from streamlearn.cli.errors import BadUsage

    given = read_spec(file) if file is not None else {}
    told = given.pop("kind", None)
    kind = kind or (told if isinstance(told, str) else None)
    if kind is None:
        raise BadUsage(f"which kind of model? Give --kind {_ANY_KIND}, or `kind` in the file")
    for assignment in spec or ():
        assign(given, assignment)
    with connect(endpoint, timeout) as client:
        made = client.create(name, kind, **given)
    shown = {key: value for key, value in made["spec"].items() if value is not None}
    report.show(made, as_json, f"{name}: a new {kind}", report.pairs(shown))


def describe(
    name: Name, endpoint: Endpoint = DEFAULT_ENDPOINT, timeout: Timeout = 10.0, as_json: Json = False
) -> None:
    """Say all about one model: spec, samples, quality, state hash, checkpoints."""
    from streamlearn.cli import report

    with connect(endpoint, timeout) as client:
        found = client.describe(name)
    facts = {
        "model": found["name"],
        "kind": found["kind"],
        "takes": _takes(found),
        "samples": found["samples"],
        "state hash": found["state_hash"],
        "learned up to": f"lsn {found['applied_lsn']:,} (durable up to {found['durable_lsn']:,})",
        **{label.replace("_", " "): value for label, value in found["quality"].items()},
        "checkpoints": ", ".join(f"lsn {each['lsn']:,}" for each in found["checkpoints"]) or "none",
        "spec": report.pairs(found["spec"]),
    }
    report.show(found, as_json, report.pairs(facts))


def reheat(
    name: Name,
    heat: Annotated[
        float, typer.Option(metavar="SHARE", help="how far towards their start, above 0, up to 1")
    ] = 1.0,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Let a model's schedules begin again, so that it learns as fast as it did when it was new."""
    from streamlearn.cli import report

    with connect(endpoint, timeout) as client:
        done = client.reheat(name, heat)
    after = report.many(done["samples"], "sample")
    report.show(done, as_json, f"{name} is reheated to {heat:g} after {after}, at lsn {done['lsn']:,}")


def delete(
    name: Name,
    yes: Yes = False,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Remove a model with all that it learned, and its checkpoints."""
    from streamlearn.cli import report

    with connect(endpoint, timeout) as client:
        samples = client.describe(name)["samples"]
        confirm(
            f"Delete {name}, which has learned {report.many(samples, 'sample')}, and its checkpoints?", yes
        )
        client.delete(name)
    report.show({"deleted": name, "samples": samples}, as_json, f"{name} is deleted")


def read_spec(path: Path) -> dict[str, Any]:
    """The parameters in a TOML or JSON file. Raises ``BadUsage``, ``OSError``."""
    import tomllib

    from streamlearn.cli.errors import BadUsage

    data = path.read_bytes()
    try:
        text = data.decode()
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:  # of json, tomllib and decode
        raise BadUsage(f"{path} is not {'JSON' if path.suffix == '.json' else 'TOML'}: {error}") from None
    if not isinstance(found, dict):
        raise BadUsage(f"{path} must hold one object with a model's parameters")
    return found


def assign(spec: dict[str, Any], assignment: str) -> None:
    """Set what ``key=value`` says; ``a.b=value`` sets ``b`` within ``a``. Raises ``BadUsage``."""
    from streamlearn.cli.errors import BadUsage

    key, equals, value = assignment.partition("=")
    if not equals or not all(key.split(".")):
        raise BadUsage(f"--spec {assignment!r} is not KEY=VALUE, as in --spec dim=8")
    *path, last = key.split(".")
    for part in path:
        within = spec.setdefault(part, {})
        if not isinstance(within, dict):
            raise BadUsage(
                f"--spec {assignment!r}: {part} is a value already, so nothing can be set within it"
            )
        spec = within
    spec[last] = parse_value(value)


def parse_value(text: str) -> Any:
    """JSON where it can be read so (``10,10`` as a list, ``none`` as null), and text otherwise."""
    if text.lower() == "none":
        return None
    for reading in (text, f"[{text}]") if "," in text else (text,):
        try:
            return json.loads(reading)
        except ValueError:
            continue
    return text


def _takes(found: dict[str, Any]) -> str:
    """What comes with each sample, in words."""
    from streamlearn.cli.report import many

    told = [many(found["dim"], "value")]
    if found["target_dim"]:
        told.append(
            many(found["target_dim"], "target")
            + (", also later by id" if found["accepts_late_targets"] else "")
        )
    if found["needs_keys"]:
        told.append("a key")
    return "; ".join(told) + ("; it counts when they come" if found["uses_time"] else "")


def _quantiles(histogram: dict[str, Any]) -> str:
    from streamlearn.cli.report import duration

    if not histogram["count"]:
        return ""
    return f" (half within {duration(histogram['p50'])}, 99 % within {duration(histogram['p99'])})"
