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
    kind_of = torch.full((d_vocab,), -1, dtype=torch.int64)
    owner_of: dict[int, str] = {}
    for (owner, ids), kind in zip(owners, kinds, strict=True):
        rows = list(ids)
        outside = sorted(t for t in rows if not 0 <= t < d_vocab)
        if outside:
            raise VocabError(
                f"SpeechTextVocab: {owner} has ids {outside[:8]} outside the embedding, expected "
                f"0 <= id < d_vocab={d_vocab}. Was the embedding resized to the tokenizer?"
            )
        for t in rows:
            if t in owner_of:
                raise VocabError(
                    f"SpeechTextVocab: id {t} is claimed twice, by {owner_of[t]} and by {owner}; "
                    "expected a disjoint partition. Check the offset of the speech units."
                )
            owner_of[t] = owner
        kind_of[torch.tensor(rows, dtype=torch.int64)] = kind
    gaps = (kind_of < 0).nonzero().flatten().tolist()
    if gaps:
        shown = ", ".join(map(str, gaps[:8])) + (", ..." if len(gaps) > 8 else "")
        raise VocabError(
            f"SpeechTextVocab: {len(gaps)} of {d_vocab} rows have no kind ({shown}); expected an "
            "exact partition. List rows that no token uses as `padding`."
        )
    return kind_of
