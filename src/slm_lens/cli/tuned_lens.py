"""``slm-lens tuned-lens``: fit a lens to a model."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slm_lens.cli.model_options import ModelName, ModelOptions

if TYPE_CHECKING:
    from slm_lens.lens.fit import SequenceSource
    from slm_lens.model.hooked import HookedSLM

app = typer.Typer(no_args_is_help=True, help="A trained readout of every layer.")


class Positions(StrEnum):
    """Modality of the positions at which a lens is fitted."""

    text = "text"
    speech = "speech"
    all = "all"


@app.callback()
def tuned_lens() -> None:
    """Keep ``fit`` a command of its own while it is the only one."""


def fit(
    model: ModelName,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the lens and its state.")],
    options: ModelOptions,
    audio: Annotated[
        str | None,
        typer.Option(help="Folder of clips with word times: each is read spoken, written and as "
                     "a mixture of both."),
    ] = None,
    organism_corpus: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="File with stories in the organism's language, for an "
                     "organism; spoken (extra 'synth') if it is not there."),
    ] = None,
    stories: Annotated[int, typer.Option(min=1, help="Stories of that file.")] = 500,
    workers: Annotated[int, typer.Option(min=1, help="Processes that speak them.")] = 2,
    positions: Annotated[
        Positions, typer.Option(help="Modality of the positions at which it is fitted.")
    ] = Positions.text,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimiser, at most.")] = 250,
    batch_size: Annotated[int, typer.Option(min=1, help="Documents a step.")] = 8,
    learning_rate: Annotated[float, typer.Option(help="At the start; falls to 0.")] = 1e-3,
    held_out: Annotated[
        str | None,
        typer.Option(help="Folder of clips to evaluate on, or 'held-out'; not fitted on."),
    ] = None,
    evaluate_every: Annotated[int, typer.Option(min=1, help="Steps between evaluations.")] = 50,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many evaluations in vain.")
    ] = None,
    min_improvement: Annotated[
        float, typer.Option(help="Share by which the held-out KL must fall, or it was in vain.")
    ] = 0.01,
    seed: Annotated[int, typer.Option(help="Seed of the order of clips.")] = 0,
    progress: Annotated[bool, typer.Option(help="Show a progress bar on a terminal.")] = True,
) -> None:  # fmt: skip
    """Fit a tuned lens; run it again to go on after an interruption."""
    from slm_lens.corpus.documents import clip_documents
    from slm_lens.lens.fit import fit_tuned_lens
    from slm_lens.lens.fit_settings import FitSettings
    from slm_lens.report.lens_report import report_lens

    slm = options.load(model)
    settings = FitSettings(
        positions=positions.value,
        n_steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        evaluate_every=evaluate_every,
        patience=patience,
        min_improvement=min_improvement,
    )
    evaluated = () if held_out is None else clip_documents(slm, held_out)
    source = _sequences(slm, audio, organism_corpus, stories, workers)
    lens = fit_tuned_lens(
        slm, source, settings, held_out=evaluated, checkpoint=out, progress=progress
    )
    lens.save(out)
    report_lens(slm, lens, evaluated, out)


def _sequences(
    slm: "HookedSLM", audio: str | None, corpus: Path | None, n_stories: int, n_workers: int
) -> "SequenceSource":
    from slm_lens.corpus.documents import clip_documents
    from slm_lens.organism.lens_corpus import lens_corpus

    if (audio is None) == (corpus is None):
        raise ValueError(
            f"tuned-lens fit: got --audio {audio} and --organism-corpus {corpus}, expected one of "
            "them. Give a folder of clips, or for an organism the file of its stories."
        )
    if corpus is not None:
        return lens_corpus(slm, corpus, n_stories, n_workers=n_workers)
    assert audio is not None
    return clip_documents(slm, audio)
