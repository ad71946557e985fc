"""What scores by position are summed over: nothing, the words of a pair, their roles, everything.

Positions that no match covers belong to no word; nothing is put there, so they score zero.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.interventions.pairs.matching import ROLES
from slm_lens.interventions.pairs.run_pair import Direction, RunPair
from slm_lens.interventions.patching._patched_pair import AT, At


@dataclass(frozen=True)
class Place:
    """Some positions of the run that is changed.

    Attributes:
        positions: they, rising.
        position: the last of a word's, or the one; None for roles and for all.
        label: the match's word, ``<role>`` or ``<all>``; None for a position without a match.
        role: role of the match; None for all, and without a match.
    """

    positions: tuple[int, ...]
    position: int | None
    label: str | None
    role: str | None


def places(pair: RunPair, direction: Direction, at: At, caller: str) -> tuple[Place, ...]:
    """The places of a pair.

    Args:
        pair: the pair.
        direction: which of its runs is changed.
        at: what is summed over, as in `patch_pairs`.
        caller: the public function, to begin messages with.

    Returns:
        Places, in order.

    Raises:
        ValueError: an unknown `at`.
    """
    if at not in AT:
        raise ValueError(f"{caller}: got at={at!r}, expected one of {AT}.")
    _, target = pair.runs(direction)
    spans = [m.corrupted if direction == "denoising" else m.clean for m in pair.matches]
    matched = [
        Place(tuple(range(*span)), span[1] - 1, m.label, m.role)
        for m, span in zip(pair.matches, spans, strict=True)
    ]
    if at == "words":
        return tuple(matched)
    if at == "all":
        return (Place(tuple(range(len(target))), None, "<all>", None),)
    if at == "roles":
        found = []
        for role in ROLES:
            inside = tuple(p for m in matched if m.role == role for p in m.positions)
            found += [Place(inside, None, f"<{role}>", role)] if inside else []
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
