"""Dynamic time warping: the cheapest monotone way through a table of costs."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


def dtw_path(cost: Float[Tensor, "row column"]) -> Int[Tensor, "step 2"]:
    """Cheapest way from the first to the last cell, in steps of (1, 1), (1, 0) and (0, 1).

    All steps weigh the same, and every cell on the way counts once, so that the diagonal, which
    visits fewest cells, is at an advantage. Of ways that cost the same, the one with a diagonal
    step nearest to the end is taken, then the one with a step along the rows. Computed in float64,
    a diagonal of the table at a time.

    Args:
        cost: what it costs to put a row and a column together, finite, of any sign.

    Returns:
        Row and column of every cell on the way, from ``(0, 0)`` to the last one.

    Raises:
        ValueError: the table is empty, or a cost is not finite.

    Source:
        Sakoe and Chiba 1978, symmetric form without slope limit.
    """
    if not cost.numel() or not cost.isfinite().all():
        raise ValueError(
            f"dtw_path: got costs of shape {tuple(cost.shape)}, "
            f"{int((~cost.isfinite()).sum())} of them not finite, expected at least one row and "
            "column of finite costs. Leave out the positions that have no state."
        )
    table = cost.detach().cpu().double().numpy()
    n, m = table.shape
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0.0
    for diagonal in range(2, n + m + 1):  # cells of one diagonal do not depend on each other
        i = np.arange(max(1, diagonal - m), min(n, diagonal - 1) + 1)
        j = diagonal - i
        before = np.minimum(total[i - 1, j - 1], np.minimum(total[i - 1, j], total[i, j - 1]))
        total[i, j] = table[i - 1, j - 1] + before
    i, j = n, m
    steps = [(i - 1, j - 1)]
    while (i, j) != (1, 1):
        step = int(np.argmin((total[i - 1, j - 1], total[i - 1, j], total[i, j - 1])))
        i, j = i - (step != 2), j - (step != 1)
        steps.append((i - 1, j - 1))
    return torch.tensor(steps[::-1])
