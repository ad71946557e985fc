"""``slm-lens run``: a whole data set through a model."""

from pathlib import Path
from typing import Annotated, Any

import typer


def run(
    config: Annotated[
        Path | None,
        typer.Argument(exists=True, dir_okay=False, help="YAML file; see docs/corpus.md."),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="phases, score, patch, trace or cache.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Embedded model, folder or hub id (owner/name).")
    ] = None,
    data: Annotated[str | None, typer.Option(help="File or folder of the data.")] = None,
    data_format: Annotated[
        str | None,
        typer.Option(
            "--format", help="folder, jsonl_units, parquet, huggingface, text, trials or pairs."
        ),
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="Of trials: swuggy, sblimp, salmon ...")
    ] = None,
    out: Annotated[str | None, typer.Option(help="Folder of the run, or its URL.")] = None,
    n_draws: Annotated[int | None, typer.Option(min=0, help="Control words per word.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of whatever is drawn.")] = None,
    items_per_shard: Annotated[int | None, typer.Option(min=1, help="Items in one file.")] = None,
    tokens_per_batch: Annotated[
        int | None, typer.Option(min=1, help="Tokens in one forward pass.")
    ] = None,
    n_readers: Annotated[
        int | None, typer.Option(min=1, help="Threads that read sound and make units.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where to put the model.")] = None,
    engine: Annotated[
        str | None, typer.Option(help="local (this process) or ray (a pool of processes).")
    ] = None,
    n_workers: Annotated[int | None, typer.Option(min=1, help="Of ray: models at once.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first item that cannot be used.")
    ] = False,
) -> None:
    """Run a model over a data set; the same command goes on where it was stopped.

    What is given here takes the place of what the file says.
    """
    from slm_lens.corpus.run import run_corpus
    from slm_lens.corpus.run_config import read_run_config, run_config

    changes: dict[str, Any] = {
        "model": _given(name=model, device=device),
        "data": _given(path=data, format=data_format, layout=layout),
    }
    changes["phases"] = _given(n_draws=n_draws)
    changes["engine"] = _given(name=engine, n_workers=n_workers)
    changes = {name: entries for name, entries in changes.items() if entries}
    changes |= _given(
        kind=kind,
        out=out,
        seed=seed,
        items_per_shard=items_per_shard,
        tokens_per_batch=tokens_per_batch,
        n_readers=n_readers,
        strict=strict or None,
    )
    chosen = (
        run_config({}, changes, where="run") if config is None else read_run_config(config, changes)
    )
    finished = run_corpus(chosen, progress=True)
    n_errors = len(finished.errors.collect())
    typer.secho(finished.summary(), fg="red" if n_errors else None)
    typer.echo(f"Wrote {finished.url}; slm_lens.open_run reads it.")


def _given(**options: object) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
