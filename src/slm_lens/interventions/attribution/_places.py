"""What scores by position are summed over: nothing, the words of a pair, their roles, everything.

Positions that no match covers belong to no word; nothing is put there, so they score zero.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.interventions.pairs import ROLES, Direction, RunPair

By = Literal["position", "match", "role", "total"]
BYS: tuple[By, ...] = get_args(By)


@dataclass(frozen=True)
class Place:
    """Some positions of the run that is changed.

    Attributes:
        positions: they, rising.
        number: position, or number of the match; None for roles and totals.
        label: the match's word; None elsewhere.
        role: role of the match or of the position's match; None where there is none.
    """

    positions: tuple[int, ...]
    number: int | None
    label: str | None
    role: str | None


def places(pair: RunPair, direction: Direction, by: By, caller: str) -> tuple[Place, ...]:
    """The places of a pair.

    Args:
        pair: the pair.
        direction: which of its runs is changed.
        by: what is summed over.
        caller: the public function, to begin messages with.

    Returns:
        Places, in order.

    Raises:
        ValueError: an unknown `by`.
    """
    if by not in BYS:
        raise ValueError(f"{caller}: got by={by!r}, expected one of {BYS}.")
    _, target = pair.runs(direction)
    spans = [m.corrupted if direction == "denoising" else m.clean for m in pair.matches]
    matched = [
        Place(tuple(range(*span)), i, m.label, m.role)
        for i, (m, span) in enumerate(zip(pair.matches, spans, strict=True))
    ]
    if by == "match":
        return tuple(matched)
    if by == "total":
        return (Place(tuple(range(len(target))), None, None, None),)
    if by == "role":
        found = []
        for role in ROLES:
            inside = tuple(p for m in matched if m.role == role for p in m.positions)
            found += [Place(inside, None, None, role)] if inside else []
        return tuple(found)
    of = {p: m for m in matched for p in m.positions}
    return tuple(
        Place((p,), p, of[p].label if p in of else None, of[p].role if p in of else None)
        for p in range(len(target))
    )


def membership(where: tuple[Place, ...], n_positions: int) -> Float[Tensor, "n_places pos"]:
    """1 where a position belongs to a place."""
    inside = torch.zeros(len(where), n_positions)
    for row, place in zip(inside, where, strict=True):
        row[list(place.positions)] = 1
    return inside
