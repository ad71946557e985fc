"""What units alone say of a word by share heard, beside what the model reads."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from slm_lens.model.hooked import HookedSLM
from slm_lens.phases.bootstrap import Curve, resample_weights
from slm_lens.studies.units.building import (
    SHUFFLED,
    TRUE,
    WordHits,
    isolation_points,
    isolation_row,
)
from slm_lens.studies.units.clips import ReadClip
from slm_lens.studies.units.identity import counted_word, identity_hits, spoken_words, with_spans
from slm_lens.studies.units.options import UnitsOptions

ALONE, SINGLE, SO_FAR = "units alone", "single positions", "maximum so far"
"""Who tells which word it is."""


def units_alone_tables(
    model: HookedSLM, clips: Sequence[ReadClip], found: WordHits, options: UnitsOptions
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Recall from units alone by share heard, and isolation points of units and model.

    Args:
        model: whose units they are.
        clips: as it reads them.
        found: its own hits.
        options: of the study.

    Returns:
        The tables ``units_alone`` and ``isolation``; the second one of the same words for all.
    """
    parts = [with_spans(c.name, c.units, c.alignment) for c in clips]
    spoken = spoken_words(parts, model.vocab.n_units(), counted_word(options))
    shares = options.shares[1:]
    hits, shuffled = identity_hits(spoken, shares, options)
    weights = resample_weights(len(clips), options.n_bootstrap, options.seed)
    n_clips = len(np.unique(spoken.clip))
    rows = []
    for control, values in ((TRUE, hits), (SHUFFLED, shuffled)):
        curve = Curve.of(values, spoken.clip, weights)
        low, high = curve.interval()
        rows += [
            {
                "model": found.model,
                "control": control,
                "share": share,
                "recall": float(curve.estimate[i]),
                "low": None if np.isnan(low[i]) else float(low[i]),
                "high": None if np.isnan(high[i]) else float(high[i]),
                "n_words": curve.n_words,
                "n_clips": n_clips,
            }
            for i, share in enumerate(shares)
        ]
    alone = dict(zip(spoken.keys, hits, strict=True))
    return pl.DataFrame(rows, schema=_ALONE), _isolation(found, alone, options)


def _isolation(
    found: WordHits, alone: dict[tuple[str, int], np.ndarray], options: UnitsOptions
) -> pl.DataFrame:
    """Rows of the words that the model reads and that have an example in another clip."""
    counted, layer = found.counted("current"), found.peak_layer("current")
    both = np.array(
        [
            counts and key in alone and not np.isnan(alone[key]).any()
            for key, counts in zip(found.keys, counted, strict=True)
        ]
    )
    if not both.any():
        return pl.DataFrame(schema=_ISOLATION)
    shares = found.shares[1:]
    read = {
        ALONE: np.stack([alone[k] for k, b in zip(found.keys, both, strict=True) if b]),
        SINGLE: found.hits["current", "last", TRUE][both, layer, 1:],
        SO_FAR: found.hits["current", "max", TRUE][both, layer, 1:],
    }
    rows = []
    for reader, hits in read.items():
        points = isolation_points(hits, shares)
        of = {"model": found.model, "reader": reader, "layer": None if reader == ALONE else layer}
        rows.append(of | isolation_row(points, found.clip[both], shares, options))
    return pl.DataFrame(rows, schema=_ISOLATION)


_ALONE = {
    "model": pl.String,
    "control": pl.String,
    "share": pl.Float64,
    "recall": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n_words": pl.Int64,
    "n_clips": pl.Int64,
}
_ISOLATION = {
    "model": pl.String,
    "reader": pl.String,
    "layer": pl.Int64,
    "median_share": pl.Float64,
    "median_low": pl.Float64,
    "median_high": pl.Float64,
    "isolated_by_half": pl.Float64,
    "by_half_low": pl.Float64,
    "by_half_high": pl.Float64,
    "never": pl.Float64,
    "n_words": pl.Int64,
    "n_clips": pl.Int64,
}
