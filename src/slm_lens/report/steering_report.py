"""What a model goes on with under steering: a table on the terminal, and files."""

from pathlib import Path

from rich.table import Table

from slm_lens._console import make_console
from slm_lens.studies.steer_prompt import SteeredPrompt


def report_steering(steered: SteeredPrompt, out: Path) -> None:
    """Write continuations, and print them.

    Args:
        steered: the result.
        out: gets ``steering.parquet`` and ``steering.json``.
    """
    steered.write(out)
    console = make_console()
    less = "" if steered.away is None else f" and away from {steered.away}"
    fading = "" if steered.decay is None else f", fading over {steered.decay}"
    console.print(
        f"{steered.provenance.name}: {steered.prompt}, toward {steered.toward}{less} at "
        f"{steered.kind} of layer {steered.layer}, from position {steered.start} on{fading}; "
        f"strength 1 is {steered.length:.3g}",
        soft_wrap=True,
    )
    console.print(steered.provenance.in_words(), soft_wrap=True)
    table = Table("strength", "text", "speech", "continuation")
    for row in steered.table.iter_rows(named=True):
        counts = (str(row["n_text"]), str(row["n_speech"]))
        table.add_row(f"{row['strength']:g}", *counts, "".join(row["labels"]))
    console.print(table)
    console.print(f"Wrote {out}/steering.parquet, steering.json.", soft_wrap=True)
