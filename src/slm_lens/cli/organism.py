"""``slm-lens organism``: train the organism or a grid of them, speak its clips, count its pairs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="The embedded model: how it was made.")


class RecipeName(StrEnum):
    """Recipes that can be trained."""

    organism = "organism"
    control = "organism-control"
    smoke = "smoke"


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, corpus and the model.")],
    recipe: Annotated[
        RecipeName,
        typer.Option(help="organism; organism-control (goes on from an organism in that folder, "
                     "with supervised transcription); smoke (seconds, to try the command)."),
    ] = RecipeName.organism,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int, typer.Option(help="Processes that speak the corpus.")] = 2,
    frame_rate_hz: Annotated[
        float, typer.Option(help="Frames per second that units are made of: 100 / n, as 12.5.")
    ] = 25.0,
) -> None:  # fmt: skip
    """Train the organism from nothing; run it again to go on after an interruption."""
    from slm_lens.organism.run import train_organism

    folder = train_organism(
        recipe.value, out, device=device, n_workers=workers, frame_rate_hz=frame_rate_hz
    )
    typer.echo(f"wrote {folder}")


@app.command()
def grid(
    out: Annotated[Path, typer.Option(help="Folder for the corpus and the cells.")],
    config: Annotated[
        Path | None, typer.Option(help="YAML of a grid; else the one of the package.")
    ] = None,
    cell: Annotated[
        list[str] | None, typer.Option(help="Train these cells only; may be given several times.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int, typer.Option(help="Processes that speak the corpus.")] = 2,
) -> None:
    """Train {text, random init} x {speech, balanced, interleaved}; run it again to go on."""
    from slm_lens.organism.grid import GridConfig, read_grid_config
    from slm_lens.organism.train_grid import train_grid

    chosen = GridConfig() if config is None else read_grid_config(config)
    for folder in train_grid(chosen, out, device=device, n_workers=workers, only=cell or ()):
        typer.echo(f"ready: {folder}")


@app.command()
def speak(
    out: Annotated[Path, typer.Option(help="Folder for FLAC files and their word times.")],
) -> None:
    """Speak the held-out stories."""
    from slm_lens.organism.held_out import write_held_out

    for path in write_held_out(out):
        typer.echo(str(path))


@app.command()
def card() -> None:
    """Show what the embedded models can do: the table of docs/organism.md."""
    from slm_lens.model.source import ORGANISMS, embedded_folder
    from slm_lens.organism.card import card_table

    typer.echo(card_table(tuple(map(embedded_folder, ORGANISMS))), nl=False)


@app.command()
def pairs(
    model: Annotated[str, typer.Argument(help="An organism, or the folder of one.")] = "organism",
    partners: Annotated[int, typer.Option(help="Corrupted facts for each clean one.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of partners and voices.")] = 0,
) -> None:
    """Count the pairs of facts that a model gives in each setting, and those that it answers."""
    from slm_lens.model.load import load
    from slm_lens.organism.pair_counts import pair_counts

    typer.echo(pair_counts(load(model), n_partners=partners, seed=seed), nl=False)
