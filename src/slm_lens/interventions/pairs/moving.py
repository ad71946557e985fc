"""States of one run at the positions of another, whatever the lengths of the two.

A spoken word has as many positions as units, and two speakers, or a speaker and a writer, never
agree on how many. What is put at each target position is a weighted mean of the states at the
source's positions:

| fit | target position ``i`` of ``n`` gets, of ``m`` source positions |
|---|---|
| ``"equal"`` | the state at position ``i``; ``n`` must be ``m`` |
| ``"mean"`` | the mean over all ``m`` |
| ``"warp"`` | the state at ``(i + 1/2) m/n - 1/2``, between two positions their mix |
| ``"ends"`` | only the last target position gets a state: the last of the source |

Source: ours. Linear time-warping is the simplest; `slm_lens.dtw_path` is a dynamic one.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

Fit = Literal["equal", "mean", "warp", "ends"]
FITS: tuple[Fit, ...] = get_args(Fit)

Span = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Move:
    """What is put where.

    Attributes:
        targets: positions of the run that is changed, rising.
        sources: positions of the run that states are taken from, rising.
        weights: share of each source position in what is put at each target; rows sum to 1.
    """

    targets: Int[Tensor, " n_targets"]
    sources: Int[Tensor, " n_sources"]
    weights: Float[Tensor, "n_targets n_sources"]

    def __call__(self, states: Float[Tensor, "n_positions ..."]) -> Tensor:
        """States for the target positions.

        Args:
            states: states of the source run, positions first.

        Returns:
            ``[n_targets, *rest]``, in the dtype of the states.
        """
        taken = states[self.sources.to(states.device)]
        weights = self.weights.to(states.device, states.dtype)
        return torch.einsum("ts,s...->t...", weights, taken)


def move(source: Span, target: Span, fit: Fit) -> Move:
    """How the states of one span are put into another one.

    Args:
        source: half-open positions that states are taken from.
        target: half-open positions that get them.
        fit: how lengths that differ are brought together, see above.

    Returns:
        The move.

    Raises:
        ValueError: an unknown fit, an empty span, or spans of unequal length for ``"equal"``.
    """
    if fit not in FITS:
        raise ValueError(f"move: got fit={fit!r}, expected one of {FITS}.")
    m, n = source[1] - source[0], target[1] - target[0]
    if min(m, n) < 1:
        raise ValueError(
            f"move: got the spans {source} and {target}, expected at least one position in each. "
            "A word without a unit has none."
        )
    if fit == "equal" and m != n:
        raise ValueError(
            f"move: got spans of {m} and {n} positions, expected equal lengths for fit='equal'. "
            "Take 'warp', 'mean' or 'ends'."
        )
    sources, targets = torch.arange(*source), torch.arange(*target)
    if fit == "ends":
        return Move(targets[-1:], sources[-1:], torch.ones(1, 1))
    if fit == "mean":
        return Move(targets, sources, torch.full((n, m), 1 / m))
    if fit == "equal":
        return Move(targets, sources, torch.eye(n))
    place = ((torch.arange(n) + 0.5) * (m / n) - 0.5).clamp(0, m - 1)
    below = place.floor().long()
    above = (below + 1).clamp(max=m - 1)
    share = place - below
    weights = torch.zeros(n, m)
    weights[torch.arange(n), below] += 1 - share
    weights[torch.arange(n), above] += share
    return Move(targets, sources, weights)


def moves_together(moves: list[Move]) -> Move:
    """Several moves as one.

    Args:
        moves: at least one; no target position in two of them.

    Returns:
        The move that does them all.

    Raises:
        ValueError: there is none, or two go to one position.
    """
    if not moves:
        raise ValueError("moves_together: got no move, expected at least one.")
    targets = torch.cat([m.targets for m in moves])
    if len(targets.unique()) != len(targets):
        raise ValueError(
            "moves_together: got two moves to one position, expected spans without overlap."
        )
    order = targets.argsort()
    return Move(
        targets[order],
        torch.cat([m.sources for m in moves]),
        torch.block_diag(*(m.weights for m in moves))[order],
    )
