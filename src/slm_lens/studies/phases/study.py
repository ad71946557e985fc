"""The study ``phases``: recall of the current and of the next word, modality, errors by kind."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from slm_lens.corpus.folder import read_utterances
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.utterance import Utterance
from slm_lens.speech.phonemes import phonemes
from slm_lens.studies.phases.chance import CHANCE_CAPTION, chance_frame, chance_rows
from slm_lens.studies.phases.errors import (
    ERRORS_CAPTION,
    ErrorReading,
    error_frame,
    error_rows,
    read_errors,
)
from slm_lens.studies.phases.findings import (
    chance_finding,
    error_finding,
    modality_finding,
    order_finding,
    recall_finding,
)
from slm_lens.studies.phases.grid import GRID_CAPTION, example_frame, grid_frame
from slm_lens.studies.phases.headline import (
    CLAIM_K,
    HEADLINE_CAPTION,
    Claim,
    Target,
    headline_frame,
    headline_rows,
)
from slm_lens.studies.phases.layers import (
    CURVES_CAPTION,
    LAYERS_CAPTION,
    MODALITY_CAPTION,
    curve_frame,
    layer_frame,
    layer_rows,
    modality_frame,
)
from slm_lens.studies.phases.options import PhasesAcrossOptions
from slm_lens.studies.phases.reading import Reading, read_model
from slm_lens.studies.study_result import StudyResult, StudyTable

_LONGEST = 60  # rows of a table on a page


def study_phases_across(models: Sequence[HookedSLM], options: PhasesAcrossOptions) -> StudyResult:
    """Read every model on the same clips, and compare.

    Args:
        models: any number, with a text vocabulary.
        options: what is read.

    Returns:
        The tables ``headline``, ``phase_layers``, ``modality``, ``errors``, ``chance``,
        ``example``, ``grid`` and ``curves``.

    Raises:
        ImportError: sounds are phonemes, and there is no espeak-ng.
        VocabError: a model has no text tokens.
        ValueError: too few words count, or an option does not fit the data.
    """  # noqa: DOC502 (raised by the functions it calls)
    for model in models:
        model.vocab.require_text("study 'phases'", model.provenance.model_and_family)
    data = {m.provenance.name: read_utterances(m, options.data)[: options.n_clips] for m in models}
    return compare_phases(models, data, options)


def compare_phases(
    models: Sequence[HookedSLM],
    data: Mapping[str, Sequence[Utterance]],
    options: PhasesAcrossOptions,
) -> StudyResult:
    """The study on utterances that are already there.

    Args:
        models: any number.
        data: utterances of each model by its name, as their units differ.
        options: what is read; ``data`` and ``n_clips`` are not looked at.

    Returns:
        As `study_phases_across`.
    """
    if options.sounds == "phonemes":
        phonemes((), voice=options.voice)  # before anything is read
    parts = [_part(m, data[m.provenance.name], options) for m in models]
    grid = grid_frame([p.errors for p in parts], options.example)
    tables = {
        "headline": (headline_frame([r for p in parts for r in p.headline]), HEADLINE_CAPTION),
        "phase_layers": (
            layer_frame([r for p in parts for r in layer_rows(p.reading.phases, p.above)]),
            LAYERS_CAPTION,
        ),
        "modality": (modality_frame([p.reading.phases for p in parts]), MODALITY_CAPTION),
        "errors": (error_frame([r for p in parts for r in p.error_rows]), ERRORS_CAPTION),
        "chance": (chance_frame([r for p in parts for r in p.chance]), CHANCE_CAPTION),
        "example": (example_frame(grid, parts[0].reading.name, parts[0].peak), _example(grid)),
        "grid": (grid, GRID_CAPTION),
        "curves": (curve_frame([p.reading.phases for p in parts]), CURVES_CAPTION),
    }
    shown = {"headline", "phase_layers", "modality", "chance", "example"}
    made = {
        name: StudyTable(frame, caption, on_page=name in shown and len(frame) <= _LONGEST)
        for name, (frame, caption) in tables.items()
    }
    found = [s for p in parts for s in _findings(p, made)]
    return StudyResult(
        study="phases",
        findings=tuple(found),
        tables=made,
        provenance={p.reading.name: p.reading.phases.provenance for p in parts},
        settings=asdict(options)
        | {
            "policy": {p.reading.name: p.reading.table.policy for p in parts},
            "left_out": {p.reading.name: dict(p.reading.phases.left_out) for p in parts},
        },
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """What was found for one model."""

    reading: Reading
    errors: ErrorReading
    headline: list[dict[str, Any]]
    claims: dict[Target, Claim | None]
    error_rows: list[dict[str, Any]]
    chance: list[dict[str, Any]]

    @property
    def peak(self) -> int:
        """The current-word peak."""
        layer = self.reading.phases.current_word.layer
        assert layer is not None, "measure_phases refuses data without current words"
        return layer

    @property
    def above(self) -> tuple[bool, bool]:
        """Whether the recall of the current and of the next word is above its controls."""
        held = [c is not None and c.holds for c in self.claims.values()]
        return held[0], held[1]


def _part(model: HookedSLM, utterances: Sequence[Utterance], options: PhasesAcrossOptions) -> _Part:
    reading = read_model(model, utterances, options)
    errors = read_errors(reading, options)
    headline, claims = headline_rows(reading, options)
    peak = reading.phases.current_word.layer
    assert peak is not None, "measure_phases refuses data without current words"
    chance = chance_rows(errors, peak, options)
    return _Part(reading, errors, headline, claims, error_rows(errors, options), chance)


def _findings(part: _Part, tables: dict[str, StudyTable]) -> list[str]:
    name, found = part.reading.name, []
    rows = tables["headline"].frame.filter(model=name, vocab="text", k=CLAIM_K)
    for row in rows.iter_rows(named=True):
        claim = part.claims["current" if row["measure"].startswith("current") else "next"]
        if claim is not None:
            found.append(recall_finding(row, claim, part.reading.phases.n_layers))
    of_model = pl.col("model") == name
    return [
        *found,
        order_finding(part.reading.phases, part.above),
        modality_finding(tables["modality"].frame.filter(of_model)),
        error_finding(tables["errors"].frame.filter(of_model), part.errors, part.peak),
        chance_finding(tables["chance"].frame.filter(of_model)),
    ]


def _example(grid: pl.DataFrame) -> str:
    return (
        f"A row is a spoken word of the clip {grid['utterance'][0]!r}, with the top text token of "
        f"{grid['model'][0]} at each layer and its class, unless that is other."
    )
