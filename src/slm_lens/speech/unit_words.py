"""Which word it is, told from its units alone: nearest neighbours of unit histograms.

A baseline without a model: what the sequence of units still says of a word. Each word is the
histogram of its units, and is held against the words of *other* groups (clips), so that a speaker's
own repetition does not count. Order within the word is not looked at, and the examples are few: a
better decoder finds more, so this is a lower bound of what units hold.

Source: ours; histograms of units as "bag of units".
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata
from torch import Tensor


def unit_histograms(
    words: Sequence[Int[Tensor, " _"]], codebook: int
) -> Float[np.ndarray, "word codebook"]:
    """Counts of the units of each word.

    Args:
        words: unit ids of each word.
        codebook: how many units there are to choose from.

    Returns:
        One row for each word.
    """
    counts = [np.bincount(ids.numpy(), minlength=codebook) for ids in words]
    return np.array(counts, dtype=np.float64).reshape(len(words), codebook)


def word_type_hits(
    histograms: Float[np.ndarray, "word codebook"],
    types: Int[np.ndarray, " word"],
    groups: Int[np.ndarray, " word"],
    *,
    k: int,
) -> Float[np.ndarray, "word type"]:
    """Whether each word type is among the k nearest ones of each word, by its nearest example.

    Args:
        histograms: units of each word.
        types: which word it is, counted from 0 without gaps.
        groups: its clip; examples of the same one are not looked at.
        k: how many types count as hit.

    Returns:
        1 or 0; where types tie (their nearest examples have the same cosine, as beginnings of one
        unit often do), the probability that a tie broken at random puts the type among the k. NaN
        for types without an example in another group.

    Raises:
        ValueError: the three are not in step, or types have gaps.
    """
    n_types = int(types.max(initial=-1)) + 1
    if not len(histograms) == len(types) == len(groups) or len(set(types.tolist())) != n_types:
        raise ValueError(
            f"word_type_hits: got {len(histograms)} histograms, {len(groups)} groups and types "
            f"{sorted(set(types.tolist()))[:8]}, expected as many of each, and types from 0 "
            "without gaps: numpy.unique(words, return_inverse=True)[1]."
        )
    size = np.linalg.norm(histograms, axis=1, keepdims=True)
    unit = np.divide(histograms, size, out=np.zeros_like(histograms), where=size > 0)
    similarity = (unit @ unit.T).round(12)  # so that equal histograms tie
    similarity[groups[:, None] == groups[None, :]] = -np.inf
    best = np.stack(
        [similarity[:, types == t].max(1, initial=-np.inf) for t in range(n_types)], axis=1
    )
    first, last = (rankdata(-best, method=m, axis=1) for m in ("min", "max"))
    hits = np.clip((k + 1 - first) / (last - first + 1), 0, 1)
    return np.where(np.isinf(best), np.nan, hits)
