"""``slm-lens report``: a run as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[
        Path, typer.Argument(help="Folder that 'slm-lens phases' or 'slm-lens demo' wrote.")
    ],
    out: Annotated[Path, typer.Option(dir_okay=False, help="The HTML file.")] = Path("report.html"),
) -> None:
    """Write figures, tables and utterances with their sound into one file that opens offline."""
    from slm_lens.report.html_report import report_run

    path = report_run(run, out)
    typer.echo(f"Wrote {path} ({path.stat().st_size / 1e6:.1f} MB).")
