"""``streamlearn repair``: show and drop what a daemon has set aside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamlearn.cli.options import Json, Yes, confirm


def repair(
    data_dir: Annotated[Path, typer.Argument(metavar="DATA_DIR", help="data directory of a stopped daemon")],
    drop_record: Annotated[
        int | None,
        typer.Option(min=1, metavar="LSN", help="drop the record at which a model died", show_default=False),
    ] = None,
    drop_model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="drop a model that is set aside", show_default=False),
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Show the models that are set aside, and drop one of them or its record.

    The daemon sets a model aside if it died twice at one of its records. A dropped record is not learned; the
    model goes on with the next one. A dropped model is deleted. A copy is kept in each case.
    """
    from streamlearn.cli import report
    from streamlearn.cli.errors import BadUsage
    from streamlearn.set_aside import Repair
    from streamlearn.store.fs import FS

    if drop_record is not None and drop_model is not None:
        raise BadUsage("give --drop-record or --drop-model, not both")
    if not (data_dir / "journal").is_dir():
        raise BadUsage(
            f"{data_dir} is not a data directory: it has no journal/;"
            " give the directory of `streamlearn serve --data-dir`"
        )
    with Repair(FS(), data_dir) as directory:
        models = directory.set_aside()
        done = None
        if drop_record is not None:
            model = directory.model_at(drop_record)
            confirm(f"Drop record {drop_record:,} of {model}? {model} will not learn it", yes)
            copy = directory.drop_record(drop_record)
            done = f"record {drop_record:,} of {model} is dropped; a copy is in {copy}"
        elif drop_model is not None:
            directory.find(drop_model)
            confirm(f"Delete {drop_model} and everything that it has learned?", yes)
            copy = directory.drop_model(drop_model)
            done = f"{drop_model} is dropped; a copy of its files is in {copy}"
    facts = [
        {
            "model": each.name,
            "create_lsn": each.create_lsn,
            "lsn": each.lsn,
            "deaths": each.deaths,
            "time": each.set_aside,
        }
        for each in models
    ]
    if done is not None:
        report.show({"set_aside": facts, "done": done}, as_json, f"{done}. Start the daemon")
        return
    table = report.table("model", ">record", ">deaths", "set aside")
    for each in models:
        table.add_row(each.name, f"{each.lsn:,}", f"{each.deaths}", report.moment(each.set_aside))
    report.show({"set_aside": facts}, as_json, table if models else "no model is set aside")
