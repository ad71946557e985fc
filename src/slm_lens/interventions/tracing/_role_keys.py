"""From where to where the roles of heads look, in one sequence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from slm_lens.sequence.function_words import word_type
from slm_lens.sequence.sequence import SpeechTextSequence

HeadRole = Literal["own_units", "previous_word", "marker", "same_word", "first_position"]
HEAD_ROLES: tuple[HeadRole, ...] = get_args(HeadRole)


@dataclass(frozen=True, eq=False)
class RoleKeys:
    """Queries of a sequence, and where each role looks from them.

    Attributes:
        words: index of the word of each query.
        queries: its last position.
        keys: True where a role looks.
    """

    words: tuple[int, ...]
    queries: Int[Tensor, " word"]
    keys: Bool[Tensor, "role word pos"]


def role_keys(sequence: SpeechTextSequence, modalities: Sequence[str]) -> RoleKeys:
    """Where each role looks from the last position of each word.

    Args:
        sequence: the run.
        modalities: which words count.

    Returns:
        Queries and keys; a role without any key does not occur at that word.
    """
    placed = [(i, w) for i, w in enumerate(sequence.words) if w.end > w.start]
    asked = [n for n, (_, w) in enumerate(placed) if w.modality in modalities]
    markers = [p for p, kind in enumerate(sequence.kinds) if kind == "marker"]
    keys = torch.zeros(len(HEAD_ROLES), len(asked), len(sequence), dtype=torch.bool)
    for row, n in enumerate(asked):
        word, before = placed[n][1], [w for _, w in placed[:n]]
        query = word.end - 1
        same = [w for w in before if word_type(w.word) == word_type(word.word)]
        looked_at: dict[HeadRole, list[int]] = {
            "own_units": list(range(word.start, query)),
            "previous_word": [w.end - 1 for w in before[-1:]],
            "marker": [p for p in markers if p < query][-1:],
            "same_word": [p for w in same for p in range(w.start, w.end)],
            "first_position": [0] if query else [],
        }
        for role, name in enumerate(HEAD_ROLES):
            keys[role, row, looked_at[name]] = True
    queries = torch.tensor([placed[n][1].end - 1 for n in asked], dtype=torch.int64)
    return RoleKeys(tuple(placed[n][0] for n in asked), queries, keys)
