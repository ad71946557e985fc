"""Correlations over items, with intervals from resampled clusters and a control.

Items that share something (a subject, a prompt, a story) are not independent. They form a
*cluster*, and whole clusters are drawn, with replacement. A resample is a vector of weights, so
that all of them are one sum: every statistic here is defined for weighted items, and with equal
weights it is the ordinary one.

* `pearson`; `point_biserial`, which is the same number where one side is 0 or 1;
* `spearman`: Pearson of ranks, ties having the mean of their ranks, in every resample anew;
* `partial_correlation`: Pearson of what is left of both after linear regression on other
  quantities.

The control is the same statistic after `shuffled_pairing`: each cluster gets the values of another
cluster of its size, so that everything but the pairing is as it was.

Source: cluster bootstrap, Davison and Hinkley 1997, section 3.8; percentile interval, Efron 1979;
partial correlation from the conditional covariance, Whittaker 1990, section 5.7; blocks
exchanged as wholes, Winkler et al. 2014, "Permutation inference for the general linear model".
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from slm_lens.phases.bootstrap import CONFIDENCE, resample_weights

Statistic = Literal["pearson", "spearman", "partial"]
STATISTICS: tuple[Statistic, ...] = get_args(Statistic)

_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
_NO_VARIANCE = 1e-12
"""Of the squared range of the values; rounding of sums leaves about 1e-16."""
_DETERMINED = 1e-10
"""Share of variance, or determinant, below which a quantity follows from the others."""


@dataclass(frozen=True)
class Correlation:
    """A correlation.

    Attributes:
        estimate: in [-1, 1]; None where it is not defined, since a side is the same for all items.
        low: lower end of the 95 % interval; None without resamples.
        high: upper end.
        n_items: items that count.
        n_clusters: clusters that they form, which are resampled.
        n_resamples: resamples in which it is defined, over which the interval is taken.
    """

    estimate: float | None
    low: float | None
    high: float | None
    n_items: int
    n_clusters: int
    n_resamples: int


def pearson(
    x: Float[np.ndarray, " n_items"],
    y: Float[np.ndarray, " n_items"],
    *,
    cluster: Int[np.ndarray, " n_items"] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Correlation:
    """Pearson's correlation.

    Args:
        x: one quantity of each item.
        y: the other one.
        cluster: cluster of each item, any whole numbers; None for every item by itself.
        n_bootstrap: resamples of clusters; 0 for no interval.
        seed: seed of the resamples.

    Returns:
        The correlation.

    Raises:
        ValueError: fewer than 3 items, a value that is no number, or fewer than no resamples.
    """  # noqa: DOC502 (raised by _correlation)
    return _correlation("pearson", x, y, None, cluster, n_bootstrap, seed)


def point_biserial(
    binary: Float[np.ndarray, " n_items"],
    values: Float[np.ndarray, " n_items"],
    *,
    cluster: Int[np.ndarray, " n_items"] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Correlation:
    """Correlation of a yes or no with a quantity: Pearson's; phi, if the quantity is 0 or 1 too.

    Args:
        binary: 0 or 1 for each item.
        values: the quantity.
        cluster: as in `pearson`.
        n_bootstrap: as in `pearson`.
        seed: as in `pearson`.

    Returns:
        The correlation.

    Raises:
        ValueError: as `pearson`; or `binary` has another value than 0 and 1.
    """
    others = sorted(set(binary.tolist()) - {0.0, 1.0})
    if others:
        raise ValueError(
            f"point_biserial: got the values {others[:4]} in binary, expected 0 and 1 alone. Leave "
            "ties out, or take pearson, which is the same for 0 and 1."
        )
    return _correlation("pearson", binary, values, None, cluster, n_bootstrap, seed)


def spearman(
    x: Float[np.ndarray, " n_items"],
    y: Float[np.ndarray, " n_items"],
    *,
    cluster: Int[np.ndarray, " n_items"] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Correlation:
    """Spearman's rank correlation; equal values have the mean of their ranks.

    Args:
        x: one quantity of each item.
        y: the other one.
        cluster: as in `pearson`.
        n_bootstrap: as in `pearson`.
        seed: as in `pearson`.

    Returns:
        The correlation.

    Raises:
        ValueError: as `pearson`.
    """  # noqa: DOC502 (raised by _correlation)
    return _correlation("spearman", x, y, None, cluster, n_bootstrap, seed)


def partial_correlation(
    x: Float[np.ndarray, " n_items"],
    y: Float[np.ndarray, " n_items"],
    controls: Float[np.ndarray, "n_items n_controls"],
    *,
    cluster: Int[np.ndarray, " n_items"] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Correlation:
    """Correlation of what linear regression on the controls leaves of both quantities.

    Args:
        x: one quantity of each item.
        y: the other one.
        controls: what is held fixed, such as the logarithm of a word's frequency.
        cluster: as in `pearson`.
        n_bootstrap: as in `pearson`.
        seed: as in `pearson`.

    Returns:
        The correlation; not defined where a control has one value, or determines a side.

    Raises:
        ValueError: as `pearson`.
    """  # noqa: DOC502 (raised by _correlation)
    return _correlation("partial", x, y, controls, cluster, n_bootstrap, seed)


def shuffled_pairing(
    cluster: Int[np.ndarray, " n_items"], *, n_shuffles: int, seed: int = 0
) -> Int[np.ndarray, "n_shuffles n_items"]:
    """Which item's value each item gets, if clusters change places with others of their size.

    Items of a cluster stay together and in order; what has no other cluster of its size stays.

    Args:
        cluster: cluster of each item, any whole numbers.
        n_shuffles: how many pairings.
        seed: seed of the draws.

    Returns:
        Indices of items: ``x[found[i]]`` are the values of ``x`` in pairing ``i``.

    Raises:
        ValueError: no two clusters have the same size, so that nothing can change places.
    """
    members: dict[int, list[int]] = {}
    for item, c in enumerate(cluster.tolist()):
        members.setdefault(c, []).append(item)
    by_size: dict[int, list[list[int]]] = {}
    for items in members.values():
        by_size.setdefault(len(items), []).append(items)
    groups = [np.array(blocks) for blocks in by_size.values() if len(blocks) > 1]
    if not groups:
        raise ValueError(
            f"shuffled_pairing: got {len(members)} clusters of the sizes {sorted(by_size)}, each "
            "once, expected two of one size at least. Give smaller clusters."
        )
    generator = np.random.default_rng(seed)
    found = np.tile(np.arange(len(cluster)), (n_shuffles, 1))
    for row in found:
        for blocks in groups:
            row[blocks] = blocks[generator.permutation(len(blocks))]
    return found


def shuffled_interval(
    statistic: Statistic,
    x: Float[np.ndarray, " n_items"],
    y: Float[np.ndarray, " n_items"],
    *,
    controls: Float[np.ndarray, "n_items n_controls"] | None = None,
    cluster: Int[np.ndarray, " n_items"] | None = None,
    n_shuffles: int = 1000,
    seed: int = 0,
) -> tuple[float | None, float | None]:
    """Where 95 % of the correlations are if the pairing of clusters is random.

    Args:
        statistic: ``"pearson"`` (the point-biserial one too), ``"spearman"`` or ``"partial"``.
        x: what changes places.
        y: what stays.
        controls: of ``"partial"``: stay with `y`.
        cluster: as in `pearson`.
        n_shuffles: pairings; 0 gives no interval.
        seed: seed of the pairings.

    Returns:
        Lower and upper end; None where the statistic is not defined.

    Raises:
        ValueError: as `pearson` and `shuffled_pairing`, or an unknown statistic.
    """
    if statistic not in STATISTICS or (controls is None) == (statistic == "partial"):
        raise ValueError(
            f"shuffled_interval: got statistic={statistic!r} and controls "
            f"{'of no item' if controls is None else 'of items'}, expected one of {STATISTICS}, "
            "and controls for 'partial' alone."
        )
    _check(x, y, n_shuffles)
    if not n_shuffles:
        return None, None
    groups = np.arange(len(x)) if cluster is None else cluster
    paired = x[shuffled_pairing(groups, n_shuffles=n_shuffles, seed=seed)]
    values = _values(statistic, paired, y, controls, np.ones(paired.shape))
    low, high, _ = _interval(values)
    return low, high


def _correlation(
    statistic: Statistic,
    x: np.ndarray,
    y: np.ndarray,
    controls: np.ndarray | None,
    cluster: np.ndarray | None,
    n_bootstrap: int,
    seed: int,
) -> Correlation:
    """The statistic in the data and in every resample.

    Raises:
        ValueError: see `pearson`.
    """  # noqa: DOC502 (raised by _check)
    _check(x, y, n_bootstrap, controls)
    groups = np.arange(len(x)) if cluster is None else cluster
    names, index = np.unique(groups, return_inverse=True)
    drawn = resample_weights(len(names), n_bootstrap, seed)[:, index]
    weights = np.vstack([np.ones(len(x)), drawn])
    values = _values(statistic, x, y, controls, weights)
    if np.isnan(values[0]):
        return Correlation(None, None, None, len(x), len(names), 0)
    low, high, n_defined = _interval(values[1:])
    return Correlation(float(values[0]), low, high, len(x), len(names), n_defined)


def _check(
    x: np.ndarray, y: np.ndarray, n_resamples: int, controls: np.ndarray | None = None
) -> None:
    parts = [x, y] if controls is None else [x, y, controls]
    n_odd = sum(int((~np.isfinite(part)).sum()) for part in parts)
    if len(x) < 3 or n_odd or n_resamples < 0:
        raise ValueError(
            f"correlation: got {len(x)} items with {n_odd} values that are no numbers, and "
            f"{n_resamples} resamples; expected at least 3 items, numbers, and 0 or more resamples."
        )


def _interval(values: np.ndarray) -> tuple[float | None, float | None, int]:
    """Ends of the interval over what is defined, and over how much it is taken."""
    held = values[~np.isnan(values)]
    if not len(held):
        return None, None, 0
    low, high = np.quantile(held, _TAILS)
    return float(low), float(high), len(held)


def _values(
    statistic: Statistic,
    x: np.ndarray,
    y: np.ndarray,
    controls: np.ndarray | None,
    weights: np.ndarray,
) -> np.ndarray:
    """The statistic for each row of weights; NaN where it is not defined."""
    sides: list[np.ndarray] = [x, y]
    sides += [] if controls is None else list(controls.T)
    if statistic == "spearman":
        sides = [_ranks(side, weights) for side in sides]
    matrices, is_defined = _correlation_matrices(sides, weights)
    of: Callable[[np.ndarray], np.ndarray] = _partial if statistic == "partial" else _plain
    found = np.full(len(weights), np.nan)
    found[is_defined] = np.clip(of(matrices[is_defined]), -1, 1)
    return found


def _plain(matrices: np.ndarray) -> np.ndarray:
    return matrices[:, 0, 1]


def _partial(matrices: np.ndarray) -> np.ndarray:
    """Of the first two, from what the others leave of them: their Schur complement."""
    found = np.full(len(matrices), np.nan)
    of_controls, across = matrices[:, 2:, 2:], matrices[:, 2:, :2]
    regular = np.linalg.det(of_controls) > _DETERMINED
    explained = across[regular].transpose(0, 2, 1) @ np.linalg.solve(
        of_controls[regular], across[regular]
    )
    left = matrices[regular, :2, :2] - explained
    scale = left[:, 0, 0] * left[:, 1, 1]
    varies = np.minimum(left[:, 0, 0], left[:, 1, 1]) > _DETERMINED
    scale = np.where(varies, scale, np.nan)
    found[regular] = left[:, 0, 1] / np.sqrt(scale)
    return found


def _correlation_matrices(
    sides: list[np.ndarray], weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """``[row, side, side]`` Pearson correlations, and in which rows every side varies."""
    share = weights / weights.sum(1, keepdims=True)
    centred, scales = [], []
    for side in sides:
        values = np.broadcast_to(side, weights.shape)
        spread = float(side.max() - side.min())
        values = values - (share * values).sum(1, keepdims=True)
        variance = (share * values**2).sum(1)
        varies = (variance > _NO_VARIANCE * spread**2) & (spread > 0)
        scales.append(np.where(varies, np.sqrt(variance), np.nan))
        centred.append(values)
    n = len(sides)
    found = np.ones((len(weights), n, n))
    for i in range(n):
        for j in range(i):
            covariance = (share * centred[i] * centred[j]).sum(1)
            found[:, i, j] = found[:, j, i] = covariance / (scales[i] * scales[j])
    return found, np.asarray(np.isfinite(np.array(scales)).all(0))


def _ranks(side: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rank of each item among items that count ``weights`` times, ties sharing their mean rank."""
    values = np.broadcast_to(side, weights.shape)
    order = np.argsort(values, 1, kind="stable")
    in_order = np.take_along_axis(values, order, 1)
    up_to = np.take_along_axis(weights, order, 1).cumsum(1)
    starts = np.ones(in_order.shape, dtype=bool)
    starts[:, 1:] = in_order[:, 1:] != in_order[:, :-1]
    ends = np.ones(in_order.shape, dtype=bool)
    ends[:, :-1] = starts[:, 1:]
    before = np.where(starts, np.pad(up_to, ((0, 0), (1, 0)))[:, :-1], -np.inf)
    before = np.maximum.accumulate(before, 1)
    after = np.where(ends, up_to, np.inf)
    after = np.flip(np.minimum.accumulate(np.flip(after, 1), 1), 1)
    found = np.empty(weights.shape)
    np.put_along_axis(found, order, (before + after + 1) / 2, 1)
    return found
