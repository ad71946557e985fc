"""The tables `layers` and `excess`: measures by layer with their controls, and what is above them.

Clips of one little language share their words, so that a model with random weights differs from its
mismatched pairs as well, a little, in one direction or the other, and the same way in every clip:
resampled clips would call that certain. A model is called *closer* only where its matched pairs
differ from the mismatched ones (95 % interval over utterances) and by more than one more model
with random weights would (95 % prediction interval, Student's t over `n_random` of them).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float
from scipy.stats import t as student_t

from slm_lens.phases.bootstrap import CONFIDENCE, Curve, resample_weights
from slm_lens.studies.geometry.measures import DISTANCES, MEASURES, Measured

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
        parts = {MATCHED: of.matched, MISMATCHED: of.mismatched}
        for control, values in parts.items():
            if values is not None:
                curve = Curve.of(values, of.utterance, weights)
                layers += _rows({**keys, "control": control}, curve.estimate, *curve.interval())
        means = np.array([r[name].matched.mean(0) for r in random])
        if len(random):
            keys_of = {**keys, "control": RANDOM, "n_random": len(random)}
            layers += _rows(keys_of, means.mean(0), *prediction_interval(means))
        if of.mismatched is not None:
            excess += _excess_rows({**keys, "n_random": len(random)}, name, of, random, weights)
    return pl.DataFrame(layers, schema=_LAYERS), pl.DataFrame(excess, schema=_EXCESS)


def _excess_rows(
    keys: dict[str, Any],
    name: str,
    of: Measured,
    random: Sequence[Mapping[str, Measured]],
    weights: Float[np.ndarray, "n_bootstrap n_utterances"],
) -> list[dict[str, Any]]:
    curve = Curve.of(difference(of), of.utterance, weights)
    low, high = curve.interval()
    n_layers = len(curve.estimate)
    others = np.array([difference(r[name]).mean(0) for r in random]).reshape(-1, n_layers)
    random_low, random_high = prediction_interval(others)
    sign = -1 if name in DISTANCES else 1
    nearest = (low, random_high) if sign == 1 else (-high, -random_low)
    closer = (nearest[0] > 0) & (sign * curve.estimate > nearest[1])
    is_judged = np.isfinite(low) & np.isfinite(random_low)
    rows = _rows(keys, curve.estimate, low, high)
    for i, row in enumerate(rows):
        row |= {
            "random": float(others[:, i].mean()) if len(others) else None,
            "random_low": _or_none(random_low[i]),
            "random_high": _or_none(random_high[i]),
            "closer": bool(closer[i]) if is_judged[i] else None,
        }
    return rows


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
    """Where one more model of the same kind is expected, with 95 %.

    Args:
        values: of each model.

    Returns:
        Lower and upper end, from Student's t; NaN for fewer than two models.

    Source:
        Prediction interval of a normal sample, Whitmore 1986, "Prediction limits for a univariate
        normal observation".
    """
    n = len(values)
    if n < 2:
        nothing = np.full(values.shape[1:], np.nan)
        return nothing, nothing
    reach = student_t.ppf((1 + CONFIDENCE) / 2, n - 1) * values.std(0, ddof=1) * (1 + 1 / n) ** 0.5
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
