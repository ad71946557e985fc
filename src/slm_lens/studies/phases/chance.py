"""How often words sound alike, or are neighbours, by chance: at the set limit and at others."""

from typing import Any

import numpy as np
import polars as pl

from slm_lens.lens.word_errors import token_type
from slm_lens.studies.phases.errors import N_SEARCHED, ErrorReading, permuted_words
from slm_lens.studies.phases.options import PhasesAcrossOptions

_DISTANCES, _SIZES, _N_SHUFFLES = (0.2, 0.3, 0.4, 0.5), (1, 5, 10, N_SEARCHED), 20

_SCHEMA: dict[str, Any] = {
    "model": pl.String, "layer": pl.Int32, "alike": pl.String, "limit": pl.Float64,
    "used": pl.Boolean, "share": pl.Float64, "chance": pl.Float64, "n_words": pl.Int64,
    "n_pairs": pl.Int64,
}  # fmt: skip

CHANCE_CAPTION = (
    "A row is a limit: at the current-word peak, the share of words whose top text token sounds "
    "like the word (normalised edit distance at most the limit) or is among as many of its "
    "neighbours, whatever else it is, but never the word as written; and the share of such pairs "
    f"of the same tokens with permuted words ({_N_SHUFFLES} permutations)."
)


def chance_rows(
    found: ErrorReading, layer: int, options: PhasesAcrossOptions
) -> list[dict[str, Any]]:
    """Shares within several limits, with those of permuted words.

    Args:
        found: classes of a model.
        layer: where the top tokens are taken.
        options: of the study.

    Returns:
        Rows of the table.
    """
    own = found.counted
    tokens = found.tables.tokens[found.tokens[own, layer]].tolist()
    drawn = permuted_words(found, _N_SHUFFLES, options.seed)
    said = [(t, found.columns[w]) for t, w in zip(tokens, found.words[own], strict=True)]
    other = [
        (t, found.columns[w]) for words, _ in drawn for t, w in zip(tokens, words, strict=True)
    ]
    measures = (
        (options.sounds, _distances(found, said), _distances(found, other), _DISTANCES,
         options.most_distant),
        (options.neighbours_by, _places(found, said), _places(found, other), _SIZES,
         options.n_neighbours),
    )  # fmt: skip
    return [
        {
            "model": found.reading.name, "layer": layer, "alike": alike, "limit": float(limit),
            "used": limit == used, "share": float((here <= limit).mean()),
            "chance": float((there <= limit).mean()), "n_words": len(said), "n_pairs": len(other),
        }
        for alike, here, there, limits, used in measures
        for limit in sorted({*limits, used})
    ]  # fmt: skip


def chance_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """The table.

    Args:
        rows: of all models.

    Returns:
        A row for each model and limit.
    """
    return pl.DataFrame(rows, schema=_SCHEMA)


def _distances(found: ErrorReading, pairs: list[tuple[int, str]]) -> np.ndarray:
    """Phoneme distance of each pair; infinite where the token is the word as written."""
    errors = found.errors
    known = {
        (t, w): np.inf if token_type(errors.written[t]) == w else errors.distance(t, w)
        for t, w in set(pairs)
    }
    return np.array([known[p] for p in pairs])


def _places(found: ErrorReading, pairs: list[tuple[int, str]]) -> np.ndarray:
    """Place of each token among the neighbours of the word; infinite where it is none."""
    of = {w: {t: i + 1 for i, t in enumerate(near)} for w, near in found.neighbours.items()}
    return np.array([of[w].get(t, np.inf) for t, w in pairs])
