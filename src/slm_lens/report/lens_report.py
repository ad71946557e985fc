"""What a fitted lens is worth: a line, and its KL beside the logit lens."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from slm_lens._console import make_console
from slm_lens.lens.fit import lens_divergence
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.middle_layers import middle_divergence
from slm_lens.lens.model import LensModel
from slm_lens.lens.tuned_lens import TunedLens
from slm_lens.lens.word_lens import LOGIT_LENS
from slm_lens.sequence.sequence import SpeechTextSequence


def report_lens(
    model: LensModel, lens: TunedLens, held_out: Sequence[SpeechTextSequence], out: Path
) -> None:
    """Print how far a lens is from the model's own prediction.

    Args:
        model: the model that it was fitted on.
        lens: the lens.
        held_out: what to measure on; without any, there is no table.
        out: folder where the lens is.
    """
    console = make_console()
    if held_out:
        console.print(divergence_table(model, lens, held_out))
    facts = lens.facts
    fitted = f"{facts.n_steps} steps, {facts.n_positions} {facts.positions} positions"
    console.print(f"Wrote {out}/tuned_lens.safetensors: {lens.name}, {fitted}.", soft_wrap=True)


def divergence_table(
    model: LensModel, lens: TunedLens, held_out: Sequence[SpeechTextSequence]
) -> Table:
    """KL over the middle layers, of the logit lens and of a fitted one, by modality.

    Args:
        model: the model that it was fitted on.
        lens: the fitted one.
        held_out: what to measure on.

    Returns:
        A table for the terminal; nats.
    """
    rows = lens_divergence(model, {LOGIT_LENS: LogitLens(model), lens.name: lens}, held_out)
    modalities = rows["positions"].unique(maintain_order=True).to_list()
    table = Table(
        "KL(final || lens), nats", *(f"{p} positions" for p in modalities),
        caption="Mean over the middle layers, on held-out documents.", caption_justify="left",
    )  # fmt: skip
    for name in (LOGIT_LENS, lens.name):
        table.add_row(name, *(f"{middle_divergence(rows, name, p):.3f}" for p in modalities))
    return table
