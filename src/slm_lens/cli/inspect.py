"""``slm-lens inspect``: what a checkpoint is, before anything is run on it."""

from typing import Annotated

import typer


def inspect(
    model: Annotated[str, typer.Argument(help="Embedded model or folder.")],
    text_tokenizer: Annotated[
        str | None, typer.Option(help="Folder of the text tokenizer, if the model has none.")
    ] = None,
) -> None:
    """Show layout, partition of the vocabulary, prompt format and sizes of a model."""
    from rich.table import Table

    from slm_lens._console import make_console
    from slm_lens.model.describe import describe_model
    from slm_lens.model.load import load

    described = describe_model(load(model, text_tokenizer=text_tokenizer))
    console = make_console()
    for title, rows in described.items():
        table = Table("", "", title=title, show_header=False, title_justify="left")
        for name, value in rows.items():
            table.add_row(name, value)
        console.print(table)
