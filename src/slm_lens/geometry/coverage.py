"""Over how many positions attention is spread.

Source: Hsu et al. 2026, arXiv:2603.01502: tokens needed for 90 % of the attention of the position
that decides, its largest weight, its entropy. How they bring heads together is not known to us.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

_SUM_TOLERANCE = 1e-2
"""Softmax in bfloat16 sums to 1 within 0.4 %."""


@dataclass(frozen=True, eq=False)
class AttentionCoverage:
    """Spread of attention, one entry for each row of attention.

    Attributes:
        n_tokens: fewest positions that hold the share asked for.
        largest: the largest weight.
        entropy: entropy over that of uniform attention to as many positions, in [0, 1]; 0 where
            there is one position alone.
    """

    n_tokens: Int[Tensor, "*rows"]
    largest: Float[Tensor, "*rows"]
    entropy: Float[Tensor, "*rows"]


def attention_coverage(
    attention: Float[Tensor, "*rows key"], *, share: float = 0.9
) -> AttentionCoverage:
    """How many positions hold most of a row of attention.

    Args:
        attention: weights over all visible positions, which sum to 1, e.g. the last row of a
            pattern. Positions that are not visible are to be left out, since they would count
            in the entropy of uniform attention.
        share: of the attention to be covered, in (0, 1].

    Returns:
        The coverage of every row, computed in float64.

    Raises:
        ValueError: a share outside (0, 1], no position, or weights that are negative or do not sum
            to 1.

    Source:
        Hsu et al. 2026, arXiv:2603.01502 (Cov_0.90, largest weight, normalised entropy).
    """
    weights = attention.detach().double()
    n = weights.shape[-1]
    sums = weights.sum(-1)
    if not 0 < share <= 1:
        raise ValueError(f"attention_coverage: got share={share}, expected 0 < share <= 1.")
    if not n or not (weights >= 0).all() or not ((sums - 1).abs() <= _SUM_TOLERANCE).all():
        raise ValueError(
            f"attention_coverage: got attention over {n} positions that sums to "
            f"{sums.min() if sums.numel() else 0:.3g} at the least, expected weights of 0 or more "
            "that sum to 1. Give hook_pattern, not hook_attn_scores, whole rows."
        )
    weights = weights / sums[..., None]
    held = weights.sort(descending=True).values.cumsum(-1)
    # Weights that were rounded to float32 must not ask for one more position.
    n_tokens = (held < share - 1e-6).sum(-1) + 1
    entropy = torch.special.entr(weights).sum(-1)
    whole = torch.tensor(float(n), dtype=torch.float64).log()
    return AttentionCoverage(
        n_tokens.clamp(max=n),
        weights.amax(-1),
        entropy / whole if n > 1 else torch.zeros_like(entropy),
    )
