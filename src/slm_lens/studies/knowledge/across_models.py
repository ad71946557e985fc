"""Over models: how much of speech a model transcribes, and how many spoken facts it gets right."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float
from scipy.stats import rankdata

from slm_lens.phases.bootstrap import CONFIDENCE
from slm_lens.studies.knowledge.accuracies import mean_of_clusters
from slm_lens.studies.knowledge.measured import ModelKnowledge

FEWEST_MODELS = 4
"""With fewer models a correlation over them says nothing."""

_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
_NO_VARIANCE = 1e-12
_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("setting", "statistic"), pl.String),
    **dict.fromkeys(("estimate", "low", "high"), pl.Float64),
    **dict.fromkeys(("n_models", "n_resamples", "n_items"), pl.Int64),
    "note": pl.String,
}


def model_table(measured: Sequence[ModelKnowledge]) -> pl.DataFrame:
    """Where each model transcribes, on the held-out clips.

    Args:
        measured: what each model gave.

    Returns:
        A row for each model.
    """
    rows = [
        {
            "model": one.model,
            "peak_layer": one.peak.layer,
            "recall": one.peak.recall,
            "low": one.peak.low,
            "high": one.peak.high,
            "shuffled_words": one.peak.control,
            "subjects_transcribed": one.items["subject"].mean(),
            "n_words": one.peak.n_words,
            "n_clips": one.peak.n_clips,
            "n_items": len(one.items),
        }
        for one in measured
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def across_models(
    measured: Sequence[ModelKnowledge], *, norm: str, region: str, n_bootstrap: int, seed: int
) -> pl.DataFrame:
    """Correlation of peak recall with accuracy over models, in settings whose prompt is spoken.

    Args:
        measured: what each model gave, on the same items.
        norm: of the margins.
        region: of the margins.
        n_bootstrap: resamples, in each of which models, clips and clusters of items are drawn.
        seed: of the resamples.

    Returns:
        A row for each setting and statistic; without numbers if there are fewer models than
        `FEWEST_MODELS`.
    """
    rows = list[tuple[Any, ...]]()
    shared = [s for s in measured[0].settings if s[0] == "S"]
    for setting in [s for s in shared if all(s in one.settings for one in measured)]:
        n_items = len(measured[0].items)
        if len(measured) < FEWEST_MODELS:
            note = f"too few models: {len(measured)}, at least {FEWEST_MODELS} are needed"
            rows += [
                (setting, name, None, None, None, len(measured), 0, n_items, note)
                for name in ("Pearson", "Spearman")
            ]
            continue
        x, y = _resampled(measured, setting, norm, region, n_bootstrap, seed)
        for name in ("Pearson", "Spearman"):
            found = over_models(x, y, is_ranked=name == "Spearman", seed=seed)
            note = "" if found[0] is not None else "all models have the same recall or accuracy"
            rows.append((setting, name, *found[:3], len(measured), found[3], n_items, note))
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def over_models(
    x: Float[np.ndarray, "rows n_models"],
    y: Float[np.ndarray, "rows n_models"],
    *,
    is_ranked: bool,
    seed: int,
) -> tuple[float | None, float | None, float | None, int]:
    """Correlation over models, in the data and in resamples of models and of what they read.

    Args:
        x: a number of each model; the first row from the data, each other one from a resample of
            what the models read.
        y: likewise.
        is_ranked: Spearman's, of the ranks in each row; otherwise Pearson's.
        seed: of the draws of models.

    Returns:
        Estimate, ends of the 95 % interval, and the resamples in which it is defined: those that
        hold models of different `x` and of different `y`.
    """
    n_rows, n_models = x.shape
    drawn = np.random.default_rng(seed).integers(n_models, size=(n_rows, n_models))
    drawn[0] = np.arange(n_models)
    sides = [np.take_along_axis(side, drawn, 1) for side in (x, y)]
    if is_ranked:
        sides = [rankdata(side, axis=1) for side in sides]
    a, b = (side - side.mean(1, keepdims=True) for side in sides)
    scale = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    values = np.full(n_rows, np.nan)
    np.divide((a * b).sum(1), scale, out=values, where=scale > _NO_VARIANCE)
    if np.isnan(values[0]):
        return None, None, None, 0
    held = values[1:][~np.isnan(values[1:])]
    if not len(held):
        return float(values[0]), None, None, 0
    low, high = np.quantile(held, _TAILS)
    return float(values[0]), float(low), float(high), len(held)


def _resampled(
    measured: Sequence[ModelKnowledge],
    setting: str,
    norm: str,
    region: str,
    n_bootstrap: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Peak recall and accuracy ``[1 + n_bootstrap, model]``; all models read the same resamples."""
    recalls, accuracies = [], []
    for one in measured:
        frame = one.of(setting, norm, region)
        curve, _ = mean_of_clusters(
            frame["correct"].to_numpy(), frame["cluster"].to_numpy(), n_bootstrap, seed
        )
        recalls.append(np.concatenate([[one.peak.recall], one.peak.resamples]))
        accuracies.append(np.concatenate([curve.estimate, curve.resamples[:, 0]]))
    return np.stack(recalls, 1), np.stack(accuracies, 1)
