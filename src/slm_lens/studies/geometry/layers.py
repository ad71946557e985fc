"""The tables `layers` and `excess`: measures by layer with their controls, and what is above them.

Two things are the same in every clip, so that resampled clips do not see them. *Words*: the clips
of a small language share theirs, and a word that happens to lie near its written form does so each
time. So words are resampled together with clips, where rows are words. *Weights*: a model with
random weights differs from its mismatched pairs as well, a little, in one direction or the other.
So a model is called *closer* only where its matched pairs differ from the mismatched ones (95 %
interval) and by more than one more model with random weights would: a prediction interval,
Student's t over `n_random` of them, of 95 % for all layers together (Bonferroni).

Of 40 models with random weights (16 clips of six out of twelve words, 7 layers, 10 copies), 20 have
a layer whose interval over clips alone is above 0 for the cosine of words, 9 one over clips and
words; 1 is called closer.

Only what has no scale of its own is judged so: random weights have other norms, and another share
of what all states have in common.

Source: crossed resampling, Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float
from scipy.stats import t as student_t

from slm_lens.phases.bootstrap import CONFIDENCE, Curve, resample_weights
from slm_lens.studies.geometry.measures import MEASURES, Measured

JUDGED = (
    "cosine_centred", "word_cosine_centred", "aps_centred", "spearman", "spearman_centred",
)  # fmt: skip
"""Measures that have no scale of their own."""

MATCHED, MISMATCHED, RANDOM = "none", "shuffled sentences", "random weights"

_LAYERS = {
    "model": pl.String, "measure": pl.String, "control": pl.String, "layer": pl.Int32,
    "estimate": pl.Float64, "low": pl.Float64, "high": pl.Float64, "n_utterances": pl.Int32,
    "n_items": pl.Int32, "n_random": pl.Int32,
}  # fmt: skip
_EXCESS = {
    "model": pl.String, "measure": pl.String, "layer": pl.Int32, "estimate": pl.Float64,
    "low": pl.Float64, "high": pl.Float64, "random": pl.Float64, "random_low": pl.Float64,
    "random_high": pl.Float64, "closer": pl.Boolean, "n_utterances": pl.Int32, "n_items": pl.Int32,
    "n_random": pl.Int32,
}  # fmt: skip


def layer_tables(
    model: str,
    measured: Mapping[str, Measured],
    random: Sequence[Mapping[str, Measured]],
    *,
    n_utterances: int,
    n_bootstrap: int,
    seed: int,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Means over utterances with their intervals and controls.

    Args:
        model: its name.
        measured: of the model, from `measure`.
        random: of copies with random weights.
        n_utterances: how many there are.
        n_bootstrap: resamples.
        seed: of the resamples.

    Returns:
        `layers`, and `excess`: matched less mismatched pairs.
    """
    weights = resample_weights(n_utterances, n_bootstrap, seed)
    layers: list[dict[str, Any]] = []
    excess: list[dict[str, Any]] = []
    for name in MEASURES:
        of = measured[name]
        counts = {"n_utterances": len(np.unique(of.utterance)), "n_items": len(of.utterance)}
        keys = {"model": model, "measure": name, "n_random": 0, **counts}
        for control, values in ((MATCHED, of.matched), (MISMATCHED, of.mismatched)):
            if values is not None:
                interval = _interval(values, of, weights, seed)
                layers += _rows({**keys, "control": control}, values.mean(0), *interval)
        means = np.array([r[name].matched.mean(0) for r in random])
        if len(random):
            keys_of = {**keys, "control": RANDOM, "n_random": len(random)}
            layers += _rows(keys_of, means.mean(0), *prediction_interval(means))
        if of.mismatched is not None:
            interval = _interval(difference(of), of, weights, seed)
            others = np.array([difference(r[name]).mean(0) for r in random])
            keys_of = {**keys, "n_random": len(random)}
            excess += _excess_rows(keys_of, difference(of).mean(0), interval, others)
    return pl.DataFrame(layers, schema=_LAYERS), pl.DataFrame(excess, schema=_EXCESS)


def _excess_rows(
    keys: dict[str, Any],
    estimate: Float[np.ndarray, " layer"],
    interval: tuple[Float[np.ndarray, " layer"], Float[np.ndarray, " layer"]],
    others: np.ndarray,
) -> list[dict[str, Any]]:
    low, high = interval
    others = others.reshape(-1, len(estimate))
    random_low, random_high = prediction_interval(others)
    closer = (low > 0) & (estimate > random_high)
    is_judged = np.isfinite(low) & np.isfinite(random_low) & (keys["measure"] in JUDGED)
    rows = _rows(keys, estimate, low, high)
    for i, row in enumerate(rows):
        row |= {
            "random": float(others[:, i].mean()) if len(others) else None,
            "random_low": _or_none(random_low[i]),
            "random_high": _or_none(random_high[i]),
            "closer": bool(closer[i]) if is_judged[i] else None,
        }
    return rows


def _interval(
    values: Float[np.ndarray, "item layer"],
    of: Measured,
    weights: Float[np.ndarray, "n_bootstrap n_utterances"],
    seed: int,
) -> tuple[Float[np.ndarray, " layer"], Float[np.ndarray, " layer"]]:
    """Interval of the mean over resampled utterances; of words, over those and word types."""
    if of.word_type is None:
        return Curve.of(values, of.utterance, weights).interval()
    n_types = int(of.word_type.max()) + 1
    of_types = resample_weights(n_types, len(weights), seed + 1)
    of_items = weights[:, of.utterance] * of_types[:, of.word_type]
    sums = of_items.sum(1)
    resamples = of_items[sums > 0] @ values / sums[sums > 0, None]
    return Curve(values.mean(0), resamples, len(values)).interval()


def difference(of: Measured) -> Float[np.ndarray, "item layer"]:
    """Matched pairs less mismatched ones.

    Args:
        of: a measure that has both.

    Returns:
        The difference of every item.
    """
    assert of.mismatched is not None
    return of.matched - of.mismatched


def prediction_interval(
    values: Float[np.ndarray, "model layer"],
) -> tuple[Float[np.ndarray, " layer"], Float[np.ndarray, " layer"]]:
    """Where one more model of the same kind is expected to lie at every layer, with 95 %.

    Args:
        values: of each model.

    Returns:
        Lower and upper end, from Student's t, with the 5 % divided among the layers (Bonferroni);
        NaN for fewer than two models.

    Source:
        Prediction interval of a normal sample, Whitmore 1986, "Prediction limits for a univariate
        normal observation".
    """
    n, n_layers = values.shape
    if n < 2:
        nothing = np.full(n_layers, np.nan)
        return nothing, nothing
    quantile = student_t.ppf(1 - (1 - CONFIDENCE) / 2 / n_layers, n - 1)
    reach = quantile * values.std(0, ddof=1) * (1 + 1 / n) ** 0.5
    mean = values.mean(0)
    return mean - reach, mean + reach


def _rows(
    keys: dict[str, Any],
    estimate: Float[np.ndarray, " layer"],
    low: Float[np.ndarray, " layer"],
    high: Float[np.ndarray, " layer"],
) -> list[dict[str, Any]]:
    return [
        {**keys, "layer": i, "estimate": float(e), "low": _or_none(a), "high": _or_none(b)}
        for i, (e, a, b) in enumerate(zip(estimate, low, high, strict=True))
    ]


def _or_none(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None
