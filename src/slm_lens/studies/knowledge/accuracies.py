"""Tables of accuracies by setting, and of the gaps between settings on the same items."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from slm_lens.likelihood.trial import REGIONS
from slm_lens.likelihood.trial_scores import CHANCE, NORMS
from slm_lens.phases.bootstrap import Curve, resample_weights
from slm_lens.studies.knowledge.measured import ModelKnowledge

ALL = "all"

GAPS = (("T->T", "S->S"), ("T->T", "S->T"), ("T->T", "T->S"), ("S->T", "S->S"))
"""Settings whose accuracies are subtracted, the first minus the second."""


def accuracy_table(
    measured: Sequence[ModelKnowledge], *, n_bootstrap: int, seed: int
) -> pl.DataFrame:
    """Share of items whose right completion is likelier; ties count 0.5.

    Args:
        measured: what each model gave.
        n_bootstrap: resamples of clusters.
        seed: of the resamples.

    Returns:
        A row for each model, setting, group of items (all, each category, each exposure), norm
        and region.
    """
    rows = []
    for one in measured:
        for setting in one.settings:
            for norm in NORMS:
                for region in REGIONS:
                    frame = one.of(setting, norm, region)
                    for grouping, label, part in _groups(frame):
                        values = part["correct"].to_numpy()
                        n_ties = int((values == CHANCE).sum())
                        found = _mean(values, part["cluster"].to_numpy(), n_bootstrap, seed)
                        rows.append((one.model, setting, grouping, label, norm, region, *found,
                                     n_ties, CHANCE))  # fmt: skip
    names = ("model", "setting", "grouping", "category", "norm", "region")
    return _frame(rows, names, {"n_ties": pl.Int64, "chance": pl.Float64})


def gap_table(measured: Sequence[ModelKnowledge], *, n_bootstrap: int, seed: int) -> pl.DataFrame:
    """Differences of accuracies, with the interval of the paired differences.

    Args:
        measured: what each model gave.
        n_bootstrap: resamples of clusters.
        seed: of the resamples.

    Returns:
        A row for each model, pair of settings, norm and region, over all items.
    """
    rows = []
    for one in measured:
        for first, second in GAPS:
            if not {first, second} <= set(one.settings):
                continue
            for norm in NORMS:
                for region in REGIONS:
                    a, b = (one.of(s, norm, region) for s in (first, second))
                    values = a["correct"].to_numpy() - b["correct"].to_numpy()
                    found = _mean(values, a["cluster"].to_numpy(), n_bootstrap, seed)
                    same = region == "completion" and first[-1] == second[-1]
                    rows.append((one.model, f"{first} minus {second}", norm, region, *found, same))
    names = ("model", "settings", "norm", "region")
    return _frame(rows, names, {"same_tokens_scored": pl.Boolean})


def _groups(frame: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """All items, those of each category, and of each exposure if there are several."""
    yield ALL, ALL, frame
    for grouping in ("category", "exposure"):
        labels = frame[grouping].unique(maintain_order=True).to_list()
        if len(labels) > 1:
            for label in labels:
                yield grouping, label, frame.filter(pl.col(grouping) == label)


def mean_of_clusters(
    values: np.ndarray, cluster: np.ndarray, n_bootstrap: int, seed: int
) -> tuple[Curve, int]:
    """A mean over items, resampled by cluster.

    Args:
        values: of the items.
        cluster: name of each item's cluster.
        n_bootstrap: resamples.
        seed: of the resamples.

    Returns:
        The mean with its resamples, as one layer, and the number of clusters.
    """
    names, index = np.unique(cluster, return_inverse=True)
    weights = resample_weights(len(names), n_bootstrap, seed)
    return Curve.of(values[:, None], index, weights), len(names)


def _mean(
    values: np.ndarray, cluster: np.ndarray, n_bootstrap: int, seed: int
) -> tuple[float, float | None, float | None, int, int]:
    curve, n_clusters = mean_of_clusters(values, cluster, n_bootstrap, seed)
    ends = [float(e[0]) for e in curve.interval()]
    low, high = (None if np.isnan(e) else e for e in ends)
    return float(curve.estimate[0]), low, high, len(values), n_clusters


def _frame(rows: list[tuple[Any, ...]], names: Sequence[str], last: dict[str, Any]) -> pl.DataFrame:
    schema: dict[str, Any] = dict.fromkeys(names, pl.String)
    schema |= dict.fromkeys(("estimate", "low", "high"), pl.Float64)
    schema |= dict.fromkeys(("n_items", "n_clusters"), pl.Int64)
    return pl.DataFrame(rows, schema=schema | last, orient="row")
