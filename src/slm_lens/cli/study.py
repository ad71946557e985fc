"""``slm-lens study``: an experiment of the literature, as one command."""

from pathlib import Path
from typing import Annotated, Any

import typer

from slm_lens.cli.model_options import ModelOptions


def study(
    options: ModelOptions,
    name: Annotated[str | None, typer.Argument(help="Which study; see --list.")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Embedded model, folder or hub id; may be given several times."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for page, figures and tables; runs/study-NAME."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="An option of the study, in YAML."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show the studies, and end.")] = False,
    show_options: Annotated[
        bool, typer.Option(help="Show the options of the study with their defaults, and end.")
    ] = False,
) -> None:
    """Run an experiment of the literature: tables, figures, and a page with the numbers."""
    from slm_lens.studies.catalogue import find_study

    if list_:
        _list()
        return
    if name is None:
        raise typer.BadParameter("got no study, expected its name. See slm-lens study --list.")
    found = find_study(name)
    if show_options:
        _show_options(name)
        return
    chosen = _entries(set_ or [])
    from slm_lens._typed_entries import typed_entries
    from slm_lens.report.study_page import report_study
    from slm_lens.studies.run_study import run_study

    typed_entries(found.options_class(), chosen, f"study {name!r}")  # before models are loaded
    models = [options.load(m) for m in model or found.models]
    result = run_study(name, models, **chosen)
    page = report_study(result, Path("runs") / f"study-{name}" if out is None else out)
    for finding in result.findings:
        typer.echo(f"- {finding}")
    typer.echo(f"Wrote {page} with its figures and tables.")


def _list() -> None:
    from slm_lens._console import make_console
    from slm_lens.studies.catalogue import STUDIES

    console = make_console()
    for one in STUDIES:
        console.print(f"{one.name}: {one.question}", soft_wrap=True)
        console.print(f"    cost: {one.cost}; needs: {one.needs}", soft_wrap=True)


def _show_options(name: str) -> None:
    from dataclasses import fields

    from slm_lens.studies.catalogue import find_study

    for field in fields(find_study(name).options_class()):
        kind = getattr(field.type, "__name__", None) or str(field.type)
        typer.echo(f"{field.name}={field.default!r}  ({kind})")


def _entries(given: list[str]) -> dict[str, Any]:
    import yaml

    from slm_lens._yaml import OnceLoader

    entries: dict[str, Any] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or name in entries:
            raise typer.BadParameter(f"got --set {one!r}, expected OPTION=VALUE, each option once.")
        entries[name] = yaml.load(value, Loader=OnceLoader)
    return entries
