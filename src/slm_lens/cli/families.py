"""``slm-lens families``: which published checkpoints load."""

from typing import Annotated

import typer


def families(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="One table in Markdown: that of docs/families.md.")
    ] = False,
) -> None:
    """Show every family of checkpoints: models, units, markers, prompts, unit tokenizer."""
    from rich.table import Table

    from slm_lens._console import make_console
    from slm_lens.families.overview import as_markdown, family_rows, in_backticks
    from slm_lens.families.registry import families_by_name

    known = families_by_name().values()
    if markdown:
        typer.echo(as_markdown(family_rows(known, in_backticks)), nl=False)
        return
    console = make_console()
    for row in family_rows(known):
        title, *others = row.items()
        table = Table("", "", title=title[1], show_header=False, title_justify="left")
        for name, value in others:
            table.add_row(name, value)
        console.print(table)
