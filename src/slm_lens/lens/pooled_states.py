"""States averaged over stretches of time: a stream of another rate, made of the same states.

Source: speech states pooled to lower frame rates, Ye et al. 2026, arXiv:2606.12199, where they are
trained so; here the states of a model that reads every unit are pooled afterwards.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

_ROUNDING = 1e-6
"""In windows: times in float32 that are whole windows must not touch one more."""


def pool_over_time(
    stack: Float[Tensor, "layer pos d_model"],
    times_s: Float[Tensor, "pos 2"],
    rate_hz: float,
) -> Float[Tensor, "layer window d_model"]:
    """Mean state of each window, every position weighted by the time that it sounds in it.

    Args:
        stack: residual-stream vectors of one sequence.
        times_s: start and end in seconds of every position; NaN for those without time (markers),
            which are left out.
        rate_hz: windows per second.

    Returns:
        Window ``i`` covers ``[i / rate_hz, (i + 1) / rate_hz)``; the last one ends at or after the
        last position's end. A window in which no position sounds is 0.

    Raises:
        ValueError: no position has a time, or the rate is not positive.
    """
    timed = ~times_s.isnan().any(1)
    if not timed.any() or not 0 < rate_hz < math.inf:
        raise ValueError(
            f"pool_over_time: got {int(timed.sum())} positions with times and rate_hz={rate_hz}, "
            "expected at least one, and a positive rate."
        )
    starts_s, ends_s = times_s[timed].double().T
    # Ends of whole frames at a rate that divides theirs must not open one more window by rounding.
    n_windows = max(1, math.ceil(float(ends_s.max()) * rate_hz - _ROUNDING))
    window_s = torch.arange(n_windows, dtype=torch.float64)[:, None] / rate_hz
    within_s = torch.minimum(ends_s, window_s + 1 / rate_hz) - torch.maximum(starts_s, window_s)
    weights = within_s.where(within_s * rate_hz > _ROUNDING, 0.0)
    weights = weights / weights.sum(1, keepdim=True).clamp_min(1e-12)
    return weights.to(stack.dtype).to(stack.device) @ stack[:, timed.to(stack.device)]


def windows_of(start_s: float, end_s: float, rate_hz: float, n_windows: int) -> tuple[int, int]:
    """Windows of `pool_over_time` that a stretch of time overlaps.

    Args:
        start_s: start in seconds.
        end_s: end in seconds.
        rate_hz: windows per second.
        n_windows: how many there are.

    Returns:
        Half-open, at least one window.
    """
    first = min(math.floor(start_s * rate_hz + _ROUNDING), n_windows - 1)
    last = min(math.ceil(end_s * rate_hz - _ROUNDING), n_windows)
    return first, max(last, first + 1)
