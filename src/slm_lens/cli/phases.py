"""``slm-lens phases`` and ``slm-lens demo``: the phase report."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from slm_lens.cli.model_options import ModelName, ModelOptions


class Policy(StrEnum):
    """Which tokens count as a word."""

    whole_word = "whole_word"
    first_piece = "first_piece"
    prefixes = "prefixes"


class Words(StrEnum):
    """Which words count."""

    content = "content"
    all = "all"


class Overlap(StrEnum):
    """What to do with words that overlap in time."""

    refuse = "refuse"
    trim = "trim"


class Forward(StrEnum):
    """Which forward pass gives the residual stream."""

    auto = "auto"
    fast = "fast"
    hooked = "hooked"


class Missing(StrEnum):
    """What to do with words without times."""

    refuse = "refuse"
    interpolate = "interpolate"


def phases(
    model: ModelName,
    data: Annotated[str, typer.Argument(help="Folder of clips with word times, or 'held-out'.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder for tables and figure.")],
    options: ModelOptions,
    policy: Annotated[
        Policy | None, typer.Option(help="Tokens that count as a word; else the family's choice.")
    ] = None,
    words: Annotated[Words, typer.Option(help="Words that count.")] = Words.content,
    overlap: Annotated[
        Overlap, typer.Option(help="Words that overlap in time: refuse, or let them meet.")
    ] = Overlap.refuse,
    missing: Annotated[
        Missing, typer.Option(help="Words without times: refuse, or place between neighbours.")
    ] = Missing.refuse,
    n_draws: Annotated[
        int, typer.Option(min=0, help="Control words for each word; 0 for one clip.")
    ] = 20,
    n_bootstrap: Annotated[
        int, typer.Option(min=0, help="Resamples of utterances; 0 for one clip.")
    ] = 2000,
    batch_size: Annotated[int, typer.Option(min=1, help="Utterances at once.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of controls and resamples.")] = 0,
    forward: Annotated[
        Forward,
        typer.Option(help="Forward pass: the plain model's, the bridge's, or the fast one if any."),
    ] = Forward.auto,
    lens: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of a tuned lens to read through."),
    ] = None,
    n_explored: Annotated[
        int, typer.Option(min=0, help="Clips kept with lens grid and sound, for the report.")
    ] = 30,
) -> None:
    """Find the layers of transcription, next word and return to speech."""
    from slm_lens.corpus.folder import clips_of, read_utterances
    from slm_lens.lens.tuned_lens import load_tuned_lens
    from slm_lens.report.phase_report import report_phases
    from slm_lens.studies.phase_study import study_phases

    slm = options.load(model)
    slm.vocab.require_text("phases", slm.provenance.model_and_family)  # before clips are encoded
    fitted = None if lens is None else load_tuned_lens(lens, slm)
    study = study_phases(
        slm,
        read_utterances(slm, data, overlap=overlap.value, missing=missing.value),
        policy=None if policy is None else policy.value,
        words=words.value,
        n_draws=n_draws,
        n_bootstrap=n_bootstrap,
        batch_size=batch_size,
        seed=seed,
        forward=forward.value,
        lens=fitted,
        n_grids=n_explored,
    )
    settings = {
        "command": "phases",
        "data": data,
        "policy": study.phases.policy,
        "words": words.value,
        "overlap": overlap.value,
        "missing": missing.value,
        "n_draws": n_draws,
        "n_bootstrap": n_bootstrap,
        "batch_size": batch_size,
        "seed": seed,
    }
    clips = {sound.stem: sound for sound, _ in clips_of(data)}
    report_phases([study], out, clips=clips, settings=settings)


def demo(
    out: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for tables and figure.")
    ] = Path("runs/demo"),
) -> None:
    """Phases of the embedded organism and of its positive control, on the held-out clips."""
    from slm_lens.corpus.folder import HELD_OUT, clips_of, read_utterances
    from slm_lens.model.load import load
    from slm_lens.model.source import ORGANISMS
    from slm_lens.report.phase_report import report_phases
    from slm_lens.studies.phase_study import study_phases

    studies = []
    for name in ORGANISMS:
        slm = load(name)
        utterances = read_utterances(slm, HELD_OUT)
        studies.append(study_phases(slm, utterances, batch_size=10, n_grids=len(utterances)))
    clips = {sound.stem: sound for sound, _ in clips_of(HELD_OUT)}
    settings = {"command": "demo", "data": HELD_OUT, "batch_size": 10}
    report_phases(studies, out, clips=clips, settings=settings)
