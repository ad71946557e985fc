"""Which speech position each text token is most like, how much, and whether in order.

Three ways through one matrix of similarities, speech positions by text tokens:

| | pairs |
|---|---|
| `alignment_path` | each token with its best position |
| `alignment_path(..., monotone=True)` | likewise, with positions that never go back |
| `slm_lens.dtw_path` | every position with some token, and every token with some position |

Source: Xiang et al. 2025, arXiv:2510.12116, match tokens along a similarity matrix, call the
similarity along that path the Alignment Path Score (APS), and judge its order by Spearman's
correlation. Their exact formula is not known to us. Here APS is the mean over text tokens of the
largest similarity to any speech position.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class AlignmentPath:
    """A speech position for each text token.

    Attributes:
        positions: row of the matrix for each column; the first of equal ones.
        score: mean similarity along the path, the Alignment Path Score.
        monotonicity: Spearman's correlation of `positions` with the order of the tokens; NaN for
            fewer than two tokens, or if all have the same position.
    """

    positions: Int[Tensor, " n_text"]
    score: float
    monotonicity: float


def alignment_path(
    similarity: Float[Tensor, "n_speech n_text"], *, monotone: bool = False
) -> AlignmentPath:
    """Match every text token to a speech position.

    Args:
        similarity: of every speech position (rows) to every text token (columns), such as
            `slm_lens.cosine_matrix`.
        monotone: False: each token by itself. True: positions never go back from one token to the
            next, and their similarities have the largest sum.

    Returns:
        The path with its score. A maximum over many positions is high by chance alone: compare it
        with the score of another sentence's text.

    Raises:
        ValueError: the matrix is empty, or a similarity is not finite.

    Source:
        After Xiang et al. 2025, arXiv:2510.12116; the formula is ours, see above.
    """
    if not similarity.numel() or not similarity.isfinite().all():
        raise ValueError(
            f"alignment_path: got similarities of shape {tuple(similarity.shape)}, "
            f"{int((~similarity.isfinite()).sum())} of them not finite, expected at least one "
            "speech position and one text token, all finite."
        )
    table = similarity.detach().cpu().double()
    positions = _in_order(table.numpy()) if monotone else table.argmax(0)
    score = float(table[positions, torch.arange(table.shape[1])].mean())
    return AlignmentPath(positions, score, _order(positions))


def _in_order(table: Float[np.ndarray, "n_speech n_text"]) -> Int[Tensor, " n_text"]:
    """Positions that never go back, of the largest sum."""
    best = table[:, 0]  # largest sum of a path that ends here
    came_from = []
    for column in table.T[1:]:
        before = np.maximum.accumulate(best)
        is_new = np.r_[True, best[1:] > before[:-1]]
        came_from.append(np.maximum.accumulate(np.where(is_new, np.arange(len(best)), 0)))
        best = before + column
    path = [int(best.argmax())]
    for sources in reversed(came_from):
        path.append(int(sources[path[-1]]))
    return torch.tensor(path[::-1])


def _order(positions: Int[Tensor, " n_text"]) -> float:
    """Spearman's correlation of positions with their order; ties have the mean of their ranks."""
    _, which, counts = np.unique(positions.numpy(), return_inverse=True, return_counts=True)
    if len(counts) < 2:
        return float("nan")
    ranks = (counts.cumsum() - (counts - 1) / 2)[which]
    order = np.arange(len(ranks)) - (len(ranks) - 1) / 2
    ranks = ranks - ranks.mean()
    return float(order @ ranks / np.sqrt((order @ order) * (ranks @ ranks)))
