"""Units and time: how much speech does a word need?

1. *Density*: units per word and second, what deduplication leaves, entropy, beside text tokens.
2. *Build-up*: every word is read at the unit that sounds when a share of it was heard, at every
   layer; share 0 is the position before it. Beside it, what units alone say by then.
3. *Frame rate*: the same clips made units again at other rates (a shift of the input for a model
   that was trained at one), states pooled to lower rates, and units alone at each rate. Models
   whose own tokenizers have different rates stand side by side, each reading in its own units.

Source: ours, after Ye et al. 2026, arXiv:2606.12199 (density, pooling).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import polars as pl

from slm_lens.lens.build_up import word_build_up
from slm_lens.model.hooked import HookedSLM
from slm_lens.model.provenance import Provenance
from slm_lens.sequence.function_words import ENGLISH_FUNCTION_WORDS
from slm_lens.studies.study_result import StudyResult, StudyTable
from slm_lens.studies.units.alone import units_alone_tables
from slm_lens.studies.units.building import curve_rows, slope_rows, word_hits
from slm_lens.studies.units.clips import read_clips
from slm_lens.studies.units.density import density_tables
from slm_lens.studies.units.findings import findings
from slm_lens.studies.units.options import UnitsOptions
from slm_lens.studies.units.rates import rate_rows, refitted_rows

_CAPTIONS = {
    "density": "A quantity of one model's units: a ratio of sums over clips with its 95 % interval "
    "over clips. Units of pauses belong to no word. The entropy is that of single units (plug-in, "
    "so its interval reaches low): an upper bound, since neighbours tell of each other.",
    "slopes": "Current or next word of one model at the layer of its peak, for each half of the "
    "word types that of the other half: slope of recall over the share heard and recall of the "
    "whole word less that before it, both less the same of shuffled words, with 95 % intervals "
    "(clips and word types crossed).",
    "isolation": "Who reads: the share of a word from which on it is among the k best to its end "
    "(median over words with an example in another clip; empty: less than half ever are).",
    "rates": "One reading at one frame rate: recall of the current word at the layer of the "
    "model's peak at its own rate, with its 95 % interval over clips; shuffled words likewise. "
    "Re-tokenised: the same centroids at a rate that the model never read.",
    "build_up": "Recall of a model's words by target, pooling, control, layer and share heard.",
    "units_alone": "Recall from units alone by share heard, with shuffled words.",
    "clips": "One clip in the units of one model.",
}
_ON_PAGE = ("density", "slopes", "isolation", "rates")
_PAGE_ROWS = 60  # of many models, tables are files alone


@dataclass(frozen=True, eq=False)
class _Read:
    """What one model gives."""

    tables: Mapping[str, pl.DataFrame]
    provenance: Provenance
    left_out: Mapping[str, int]


def study_units(models: Sequence[HookedSLM], options: UnitsOptions) -> StudyResult:
    """Run the study.

    Args:
        models: with text and unit tokenizers; of the same frame rate or not.
        options: what is read, and how it is counted.

    Returns:
        Tables ``density``, ``slopes``, ``isolation``, ``rates``, ``build_up``, ``units_alone`` and
        ``clips``, with what they say.

    Raises:
        VocabError: a model has no text.
        ValueError: no word counts, or too few clips or frames for a control.
    """  # noqa: DOC502 (raised by the parts)
    read = [_read_model(model, options) for model in models]
    tables = {n: pl.concat([r.tables[n] for r in read]) for n in _CAPTIONS}
    again = pl.DataFrame(list(refitted_rows(options)), schema=tables["rates"].schema)
    tables["rates"] = pl.concat([tables["rates"], again])
    left_out = {m.provenance.name: dict(r.left_out) for m, r in zip(models, read, strict=True)}
    return StudyResult(
        study="units",
        findings=findings(tables, options),
        tables={
            n: StudyTable(t, _CAPTIONS[n], n in _ON_PAGE and len(t) <= _PAGE_ROWS)
            for n, t in tables.items()
        },
        provenance={m.provenance.name: r.provenance for m, r in zip(models, read, strict=True)},
        settings=asdict(options) | {"left_out": left_out},
    )


def _read_model(model: HookedSLM, options: UnitsOptions) -> _Read:
    model.vocab.require_text("study units", model.provenance.model_and_family)
    clips = read_clips(model, options.data)
    by_clip, density = density_tables(model, clips, options)
    build_up = word_build_up(
        model,
        [c.utterance for c in clips],
        function_words=ENGLISH_FUNCTION_WORDS,
        policy=model.word_policy,
        times_s=[c.times_s for c in clips],
        n_draws=options.n_draws,
        seed=options.seed,
    )
    found = word_hits(build_up, options)
    alone, isolation = units_alone_tables(model, clips, found, options)
    tables = {
        "density": density,
        "slopes": pl.DataFrame(list(slope_rows(found, options)), infer_schema_length=None),
        "isolation": isolation,
        "rates": pl.DataFrame(list(rate_rows(model, clips, found, options)), schema=_RATES),
        "build_up": pl.DataFrame(list(curve_rows(found, options)), infer_schema_length=None),
        "units_alone": alone,
        "clips": by_clip,
    }
    left_out = {
        "words at the very start": found.n_left_out,
        "words without units": sum(build_up.words_without_positions.values()),
    }
    return _Read(tables, build_up.provenance, left_out)


_RATES = {
    "model": pl.String,
    "reading": pl.String,
    "rate_hz": pl.Float64,
    "units_per_word": pl.Float64,
    "layer": pl.Int64,
    "recall": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "shuffled": pl.Float64,
    "best_layer": pl.Int64,
    "best_recall": pl.Float64,
    "n_words": pl.Int64,
    "n_words_without_units": pl.Int64,
    "n_clips": pl.Int64,
}
