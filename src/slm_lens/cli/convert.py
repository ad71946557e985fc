"""``slm-lens convert`` and ``convert-kmeans``: other people's files as plain ones."""

from pathlib import Path
from typing import Annotated

import typer

from slm_lens.cli.model_options import CheckpointOptions, ModelName


def convert(
    source: ModelName,
    out: Annotated[Path, typer.Argument(help="Folder to write; new or empty.")],
    options: CheckpointOptions,
) -> None:
    """Write a checkpoint of any family as a plain Hugging Face folder with its description."""
    from slm_lens.model.convert import convert_checkpoint

    convert_checkpoint(
        source,
        out,
        text_tokenizer=options.text_tokenizer,
        vocab_spec=options.vocab_spec,
        family=options.family,
        adapter=options.adapter,
        dtype=options.torch_dtype(),
    )
    typer.echo(f"wrote {out}; load it with slm_lens.load({str(out)!r})")


def convert_kmeans(
    source: Annotated[Path, typer.Argument(help="The published joblib file, a pickle.")],
    out: Annotated[Path, typer.Argument(help="File to write, ending in .safetensors.")],
    allow_pickle: Annotated[
        bool,
        typer.Option(help="Unpickle the file. This runs any code that its author put there."),
    ] = False,
) -> None:
    """Convert the published k-means of a unit tokenizer to safetensors."""
    from slm_lens.speech.convert import convert_kmeans as convert

    n_units, n_features = convert(source, out, allow_pickle=allow_pickle).shape
    typer.echo(f"wrote {out}: {n_units} centroids of {n_features} features")
