"""Means over seeds of each cell, and differences between cells, with intervals.

A resample draws clusters (utterances, facts) and, for recalls, words, independently of each other;
the same ones for all runs, since all runs are measured on the same items; and, for each cell, as
many of its seeds as it has, with replacement. Of two or three seeds an interval is a rough one;
with one seed it is about items alone, and the tables say so (``n_seeds``).

Source: words beside utterances, the pigeonhole bootstrap of Owen 2007, arXiv:0712.1111 (it errs on
the wide side); seeds, two-stage bootstrap, Davison and Hinkley 1997, section 3.8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slm_lens.phases.bootstrap import CONFIDENCE, resample_weights
from slm_lens.studies.grid.hits import Hits

_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


@dataclass(frozen=True, eq=False)
class Estimate:
    """A number with its resamples.

    Attributes:
        value: the estimate.
        resamples: ``[n_bootstrap]``.
    """

    value: float
    resamples: np.ndarray

    def interval(self) -> tuple[float | None, float | None]:
        """95 % percentile interval.

        Returns:
            Its ends; None without resamples.
        """
        held = self.resamples[~np.isnan(self.resamples)]
        if not len(held):
            return None, None
        low, high = np.quantile(held, _TAILS)
        return float(low), float(high)

    def __sub__(self, other: "Estimate") -> "Estimate":
        """Difference, resample by resample."""
        return Estimate(self.value - other.value, self.resamples - other.resamples)


def run_estimate(values: np.ndarray, hits: Hits, *, n_bootstrap: int, seed: int) -> Estimate:
    """Mean over items of one run, with clusters resampled.

    Args:
        values: ``[item]``, such as ``hits.values`` or ``hits.excess``.
        hits: says which items belong together.
        n_bootstrap: resamples; 0 for none.
        seed: seed of the draws; the same one draws the same clusters for every run.

    Returns:
        The mean and its resamples.
    """
    weights = resample_weights(hits.n_clusters, n_bootstrap, seed)[:, hits.cluster]
    if hits.word is not None:
        n_words = int(hits.word.max()) + 1
        weights = weights * resample_weights(n_words, n_bootstrap, seed + 1)[:, hits.word]
    with np.errstate(invalid="ignore"):  # a resample without a counted item has no mean
        resamples = (weights @ values) / weights.sum(1)
    return Estimate(float(values.mean()), resamples)


def cell_estimate(runs: Sequence[Estimate], *, seed: int) -> Estimate:
    """Mean over the seeds of a cell.

    Args:
        runs: one estimate for each seed, with resamples of the same clusters.
        seed: seed of the draws of seeds.

    Returns:
        The mean; in each resample, of seeds drawn with replacement.
    """
    resamples = np.stack([r.resamples for r in runs])
    n_seeds, n_bootstrap = resamples.shape
    drawn = np.random.default_rng(seed).integers(n_seeds, size=(n_seeds, n_bootstrap))
    means = np.take_along_axis(resamples, drawn, axis=0).mean(0)
    return Estimate(float(np.mean([r.value for r in runs])), means)


CONTRASTS: Mapping[str, tuple[str, str]] = {
    "text init (interleaved data)": ("text-interleaved", "random-interleaved"),
    "interleaving (text init)": ("text-interleaved", "text-balanced"),
    "written documents (text init)": ("text-balanced", "text-speech"),
    "interleaving (random init)": ("random-interleaved", "random-balanced"),
    "text init (balanced data)": ("text-balanced", "random-balanced"),
    "text init (speech alone)": ("text-speech", "random-speech"),
}
"""What is compared, by name: the cell with it, and the one without."""

QUESTIONS = tuple(CONTRASTS)[:2]
"""The two questions of the study: all else is the same, and as the source has it."""

SILENT = ("no difference shown", "no interval")
"""Verdicts that tell nothing apart."""


def verdict(with_it: Estimate, without: Estimate, difference: Estimate) -> str:
    """What a contrast says, by a rule.

    Args:
        with_it: excess over the control of the cell that has the factor.
        without: of the one that lacks it.
        difference: of the two.

    Returns:
        ``"needed"``: above the control with it, not without, and the two differ; ``"helps"``: above
        with it, and more so than without, which is above as well; ``"hurts"``: less with it;
        ``"no difference shown"`` otherwise.
    """
    low, high = difference.interval()
    if low is None or high is None:
        return "no interval"
    if high < 0:
        return "hurts"
    if low <= 0 or not _is_above(with_it):
        return "no difference shown"
    return "helps" if _is_above(without) else "needed"


def _is_above(excess: Estimate) -> bool:
    low, _ = excess.interval()
    return low is not None and low > 0
