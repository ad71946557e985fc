"""``slm-lens inspect``: what a checkpoint is, before anything is run on it."""

from slm_lens.cli.model_options import ModelName, ModelOptions


def inspect(model: ModelName, options: ModelOptions) -> None:
    """Show layout, partition of the vocabulary, prompts and sizes of a model."""
    from rich.table import Table

    from slm_lens._console import make_console
    from slm_lens.model.describe import describe_model

    described = describe_model(options.load(model))
    console = make_console()
    for title, rows in described.items():
        table = Table("", "", title=title, show_header=False, title_justify="left")
        for name, value in rows.items():
            table.add_row(name, value)
        console.print(table)
