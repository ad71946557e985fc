"""Intervals for values that share two things at once: here, the clip and the word that is said.

Words of a clip share speaker and context, and the same word said in many clips keeps its sounds and
its tokens. A resample draws both, clips and word types, with replacement, and a value counts as
often as both of its own were drawn, multiplied. Resampling clips alone would call it certain that
the twelve words of a small language are easy.

Source: Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 386-411: where
either matters alone, the interval is about right; where neither does, it is too wide.
"""

import numpy as np
from jaxtyping import Float, Int

from slm_lens.phases.bootstrap import CONFIDENCE, resample_weights

_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def crossed_interval(
    values: Float[np.ndarray, " word"],
    first: Int[np.ndarray, " word"],
    second: Int[np.ndarray, " word"],
    *,
    n_bootstrap: int,
    seed: int,
) -> tuple[float, float]:
    """Interval of the mean of values in two groupings.

    Args:
        values: one for each word, not NaN.
        first: number of its clip.
        second: number of its word type.
        n_bootstrap: resamples; 0 for no interval.
        seed: of the draws; both groupings have their own stream.

    Returns:
        Lower and upper end of the 95 % interval, over the resamples that hold a word; NaN without.

    Raises:
        ValueError: the three are not in step, or there is no value.
    """
    if not len(values) == len(first) == len(second) or not len(values):
        raise ValueError(
            f"crossed_interval: got {len(values)} values, {len(first)} and {len(second)} groups, "
            "expected as many, and at least one."
        )
    _, clip = np.unique(first, return_inverse=True)
    _, word = np.unique(second, return_inverse=True)
    seeds = np.random.SeedSequence(seed).generate_state(2)
    weights = np.ones((n_bootstrap, len(values)))
    for groups, stream in ((clip, seeds[0]), (word, seeds[1])):
        weights *= resample_weights(int(groups.max()) + 1, n_bootstrap, int(stream))[:, groups]
    held = weights[weights.sum(1) > 0]
    if not len(held):
        return float("nan"), float("nan")
    low, high = np.quantile(held @ values / held.sum(1), _TAILS)
    return float(low), float(high)
