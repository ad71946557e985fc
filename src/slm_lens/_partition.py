"""Rows of an embedding and their owners: each row has exactly one."""

from collections.abc import Iterable

import torch
from jaxtyping import Int
from torch import Tensor

from slm_lens.errors import VocabError


def partition(
    d_vocab: int, owners: list[tuple[str, Iterable[int]]], kinds: list[int]
) -> Int[Tensor, " d_vocab"]:
    """Kind of every row, or a refusal that names the ids which break the partition."""
    owner_of = torch.full((d_vocab,), -1, dtype=torch.int64)
    for i, (owner, ids) in enumerate(owners):
        rows = torch.tensor(list(ids), dtype=torch.int64)
        outside = rows[(rows < 0) | (rows >= d_vocab)].sort().values.tolist()
        if outside:
            raise VocabError(
                f"SpeechTextVocab: {owner} has ids {outside[:8]} outside the embedding, expected "
                f"0 <= id < d_vocab={d_vocab}. Was the embedding resized to the tokenizer?"
            )
        taken = rows[owner_of[rows] >= 0]
        times = rows.bincount(minlength=d_vocab)
        if len(taken) or (times > 1).any():
            raise _claimed_twice(owner, taken, times, [o for o, _ in owners], owner_of)
        owner_of[rows] = i
    gaps = (owner_of < 0).nonzero().flatten().tolist()
    if gaps:
        shown = ", ".join(map(str, gaps[:8])) + (", ..." if len(gaps) > 8 else "")
        raise VocabError(
            f"SpeechTextVocab: {len(gaps)} of {d_vocab} rows have no kind ({shown}); expected an "
            "exact partition. List rows that no token uses as `padding`."
        )
    return torch.tensor(kinds)[owner_of]


def _claimed_twice(
    owner: str, taken: Tensor, times: Tensor, names: list[str], owner_of: Tensor
) -> VocabError:
    """The refusal of a row with two owners, or with the same one twice."""
    row = int(taken[0]) if len(taken) else int(times.argmax())
    other = names[int(owner_of[row])] if len(taken) else owner
    return VocabError(
        f"SpeechTextVocab: id {row} is claimed twice, by {other} and by {owner}; expected a "
        "disjoint partition. Check the offset of the speech units."
    )
