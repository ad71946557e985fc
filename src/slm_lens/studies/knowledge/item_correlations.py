"""Does a model know what it has transcribed? Correlations over items, and accuracy by rank.

The control is the same number with the pairing of transcriptions and answers shuffled among
clusters; and the settings whose prompt is written, in which nothing is heard: a correlation there
would come from facts that are easier and words that are easier, not from hearing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from slm_lens.likelihood.trial_scores import CHANCE
from slm_lens.phases.bootstrap import CONFIDENCE
from slm_lens.studies.correlations import (
    Correlation,
    Statistic,
    partial_correlation,
    point_biserial,
    shuffled_interval,
    shuffled_pairing,
    spearman,
)
from slm_lens.studies.knowledge.accuracies import mean_of_clusters
from slm_lens.studies.knowledge.measured import ModelKnowledge

WORDS = ("subject", "subject_nearness", "content")
"""What is transcribed: the subject (0 or 1), how near it is to the top (minus the logarithm of its
rank), or the share of the prompt's content words."""

POINT_BISERIAL, RANKS, PARTIAL = "point-biserial", "Spearman with the margin", "partial"

FEWEST_CLUSTERS = 5
"""Clusters in which a side has to differ from its commonest value for an interval to say anything:
resamples of two subjects that are transcribed show those two again and again."""

_FEWEST = 3
_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("model", "setting", "words", "statistic"), pl.String),
    **dict.fromkeys(("estimate", "low", "high", "shuffled_low", "shuffled_high"), pl.Float64),
    **dict.fromkeys(("n_items", "n_clusters", "n_left_out"), pl.Int64),
    "note": pl.String,
}
_BIN_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("model", "setting", "ranks"), pl.String),
    **dict.fromkeys(("estimate", "low", "high", "shuffled_low", "shuffled_high"), pl.Float64),
    **dict.fromkeys(("n_items", "n_clusters"), pl.Int64),
}


def correlation_table(
    measured: Sequence[ModelKnowledge], *, norm: str, region: str, n_bootstrap: int, seed: int
) -> pl.DataFrame:
    """Transcription of an item's words against its answer.

    Args:
        measured: what each model gave.
        norm: of the margins.
        region: of the margins.
        n_bootstrap: resamples of clusters, and shuffled pairings.
        seed: of both.

    Returns:
        A row for each model, setting, kind of words and statistic. ``n_left_out`` items have a tie
        (of the statistics of right and wrong), or a word that cannot be read.
    """
    rows = []
    for one in measured:
        for setting in one.settings:
            frame = one.of(setting, norm, region)
            for words in WORDS:
                if frame[words].is_not_null().any():
                    for statistic in (POINT_BISERIAL, RANKS, PARTIAL):
                        found = _row(frame, words, statistic, n_bootstrap, seed)
                        rows.append((one.model, setting, words, statistic, *found))
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def _row(
    frame: pl.DataFrame, words: str, statistic: str, n_bootstrap: int, seed: int
) -> tuple[Any, ...]:
    """Correlation, control, counts and note of one row."""
    count = f"{words.removesuffix('_nearness')}_log_count"
    needed = [words, "margin"]
    if statistic == PARTIAL:
        if frame[count].is_null().all():
            return (None,) * 5 + (0, 0, len(frame), "no word counts")
        needed.append(count)
    kept = frame.drop_nulls(needed)
    if statistic != RANKS:
        kept = kept.filter(pl.col("correct") != CHANCE)
    n_left_out = len(frame) - len(kept)
    if len(kept) < _FEWEST:
        return (None,) * 5 + (len(kept), kept["cluster"].n_unique(), n_left_out, "too few items")
    x, correct = kept[words].to_numpy(), kept["correct"].to_numpy()
    cluster = np.unique(kept["cluster"].to_numpy(), return_inverse=True)[1]
    n_differing = min(_n_differing(side, cluster) for side in (x, correct))
    n_drawn = n_bootstrap if n_differing >= FEWEST_CLUSTERS else 0
    resampled: dict[str, Any] = {"cluster": cluster, "n_bootstrap": n_drawn, "seed": seed}
    controls, y, of = None, correct, "pearson"
    if statistic == POINT_BISERIAL:
        found = point_biserial(correct, x, **resampled)
    elif statistic == RANKS:
        y, of = kept["margin"].to_numpy(), "spearman"
        found = spearman(x, y, **resampled)
    else:
        controls, of = kept[count].to_numpy()[:, None], "partial"
        found = partial_correlation(x, y, controls, **resampled)
    band = _shuffled(of, x, y, controls, cluster, n_drawn, seed, found)
    counts = (found.n_items, found.n_clusters, n_left_out)
    note = _note(found, x, y, words)
    if found.estimate is not None and n_drawn < n_bootstrap:
        note = f"{n_differing} subjects differ from the others, too few for an interval"
    return (found.estimate, found.low, found.high, *band, *counts, note)


def _n_differing(side: np.ndarray, cluster: np.ndarray) -> int:
    """Clusters that hold another value than the commonest one."""
    values, counts = np.unique(side, return_counts=True)
    return len(np.unique(cluster[side != values[counts.argmax()]]))


def _shuffled(
    of: Statistic,
    x: np.ndarray,
    y: np.ndarray,
    controls: np.ndarray | None,
    cluster: np.ndarray,
    n_bootstrap: int,
    seed: int,
    found: Correlation,
) -> tuple[float | None, float | None]:
    if found.estimate is None or not can_shuffle(cluster):
        return None, None
    return shuffled_interval(
        of, x, y, controls=controls, cluster=cluster, n_shuffles=n_bootstrap, seed=seed
    )


def can_shuffle(cluster: np.ndarray) -> bool:
    """Whether two clusters have the same size, so that they can change places.

    Args:
        cluster: cluster of each item, as whole numbers.

    Returns:
        True if so.
    """
    sizes = np.bincount(cluster)
    return len(np.unique(sizes)) < len(sizes)


def _note(found: Correlation, x: np.ndarray, y: np.ndarray, words: str) -> str:
    """Why there is no number; empty if there is one."""
    if found.estimate is not None:
        return ""
    if len(np.unique(y)) == 1:
        return "every answer is right" if y[0] == 1 else "every answer is wrong"
    if len(np.unique(x)) == 1:
        if words == "subject_nearness":
            return "every subject has the same rank"
        whose = "subject" if words == "subject" else "content word"
        return f"every {whose} is transcribed" if x[0] == 1 else f"no {whose} is transcribed"
    return "the word counts determine a side, or are all equal"


def rank_bins(k: int) -> tuple[tuple[str, int, float], ...]:
    """Groups of ranks: transcribed (two groups, unless k is 1) and not.

    Args:
        k: rank that counts as transcribed.

    Returns:
        Label, first and last rank of each group.
    """
    edges = [1, *([k] if k > 1 else []), 4 * k]
    starts = [1, *(e + 1 for e in edges)]
    labels = [str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, edges, strict=False)]
    ends: list[float] = [*map(float, edges), np.inf]
    return tuple(zip([*labels, f">{edges[-1]}"], starts, ends, strict=True))


def bin_table(
    measured: Sequence[ModelKnowledge],
    *,
    k: int,
    norm: str,
    region: str,
    n_bootstrap: int,
    seed: int,
) -> pl.DataFrame:
    """Accuracy by the rank of the subject, in the settings whose prompt is spoken.

    Args:
        measured: what each model gave.
        k: rank that counts as transcribed.
        norm: of the margins.
        region: of the margins.
        n_bootstrap: resamples of clusters, and shuffled pairings.
        seed: of both.

    Returns:
        A row for each model, setting and group of ranks that some item has.
    """
    rows = []
    for one in measured:
        for setting in [s for s in one.settings if s[0] == "S"]:
            frame = one.of(setting, norm, region).drop_nulls("subject_rank")
            if not len(frame):
                continue
            ranks, correct = frame["subject_rank"].to_numpy(), frame["correct"].to_numpy()
            names = frame["cluster"].to_numpy()
            cluster = np.unique(names, return_inverse=True)[1]
            paired = None
            if n_bootstrap and can_shuffle(cluster):
                paired = ranks[shuffled_pairing(cluster, n_shuffles=n_bootstrap, seed=seed)]
            for label, first, last in rank_bins(k):
                inside = (ranks >= first) & (ranks <= last)
                if inside.any():
                    curve, n_clusters = mean_of_clusters(
                        correct[inside], names[inside], n_bootstrap, seed
                    )
                    band = _band(paired, correct, first, last)
                    ends = [_known(e[0]) for e in curve.interval()]
                    if n_clusters < FEWEST_CLUSTERS:
                        ends = [None, None]
                    rows.append((one.model, setting, label, float(curve.estimate[0]), *ends, *band,
                                 int(inside.sum()), n_clusters))  # fmt: skip
    return pl.DataFrame(rows, schema=_BIN_SCHEMA, orient="row")


def _band(
    paired: np.ndarray | None, correct: np.ndarray, first: int, last: float
) -> tuple[float | None, float | None]:
    """Where the accuracy of a group is if ranks are shuffled among clusters."""
    if paired is None:
        return None, None
    inside = (paired >= first) & (paired <= last)
    n_inside = inside.sum(1)
    held = n_inside > 0
    means = (inside[held] * correct).sum(1) / n_inside[held]
    low, high = np.quantile(means, _TAILS)
    return float(low), float(high)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
