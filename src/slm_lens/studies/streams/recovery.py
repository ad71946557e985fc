"""How much of what an interruption costs is made up for.

``recovery = sum(steered - interrupted) / sum(uninterrupted - interrupted)``, over switches, as the
source divides its means. It is null where an interruption costs too little to divide by.
"""

import numpy as np
from jaxtyping import Float, Int

from slm_lens.phases.bootstrap import CONFIDENCE, resample_weights
from slm_lens.studies.streams.options import StreamsOptions

_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def recovery(
    effect: Float[np.ndarray, "switch cell"],
    gap: Float[np.ndarray, " switch"],
    clip: Int[np.ndarray, " switch"],
    options: StreamsOptions,
) -> dict[str, list[float | None]]:
    """Mean effects, and what share they are of the mean gap.

    Args:
        effect: steered less interrupted.
        gap: uninterrupted less interrupted.
        clip: clip of each switch.
        options: least gap, resamples.

    Returns:
        ``effect`` and ``recovery`` of each cell with the ends of their intervals over clips;
        recoveries are null where the mean gap is below `min_gap` or its interval contains 0.
    """
    sums, gaps, n = _sums(effect, gap, clip)
    weights = resample_weights(len(n), options.n_bootstrap, options.seed)
    found: dict[str, list[float | None]] = {}
    total, counts = sums.sum(0), weights @ n
    _put(found, "effect", total / n.sum(), (weights @ sums) / counts[:, None])
    low = np.quantile(weights @ gaps / counts, _TAILS[0]) if len(weights) else np.inf
    if gaps.sum() / n.sum() >= options.min_gap and low > 0:
        shares = (weights @ sums) / (weights @ gaps)[:, None]
        _put(found, "recovery", total / gaps.sum(), shares)
    else:
        nothing = [None] * effect.shape[1]
        found |= {f"recovery{end}": list(nothing) for end in ("", "_low", "_high")}
    return found


def _sums(
    effect: np.ndarray, gap: np.ndarray, clip: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums over the switches of each clip, and how many there are."""
    _, group = np.unique(clip, return_inverse=True)
    sums = np.zeros((int(group.max()) + 1, effect.shape[1]))
    np.add.at(sums, group, effect)
    return sums, np.bincount(group, gap), np.bincount(group).astype(np.float64)


def _put(
    found: dict[str, list[float | None]], name: str, values: np.ndarray, resampled: np.ndarray
) -> None:
    found[name] = [float(v) for v in values]
    for end, tail in (("low", _TAILS[0]), ("high", _TAILS[1])):
        has = len(resampled) > 0
        ends = np.quantile(resampled, tail, axis=0) if has else np.full(len(values), np.nan)
        found[f"{name}_{end}"] = [None if np.isnan(e) else float(e) for e in ends]
