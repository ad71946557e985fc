"""``slm-lens convert-kmeans``: published k-means centroids without their pickle."""

from pathlib import Path
from typing import Annotated

import typer


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
