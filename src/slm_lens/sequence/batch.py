"""Sequences of different length in one tensor."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from slm_lens.sequence.sequence import SpeechTextSequence


@dataclass(frozen=True, eq=False)
class SequenceBatch:
    """Sequences padded on the right. Give the model both, or padding leaks into the numbers.

    Attributes:
        tokens: token ids; positions past a sequence's end hold the pad token.
        attention_mask: True where there is a token, False where there is padding.
    """

    tokens: Int[Tensor, "batch pos"]
    attention_mask: Bool[Tensor, "batch pos"]


def pad_batch(sequences: Sequence[SpeechTextSequence], *, pad_token: int) -> SequenceBatch:
    """Pad sequences on the right, so that position ``i`` is position ``i`` of every sequence.

    Args:
        sequences: at least one sequence.
        pad_token: token id to fill with; the mask hides it.

    Returns:
        Tokens and attention mask, as long as the longest sequence.

    Raises:
        ValueError: there is no sequence.
    """
    if not sequences:
        raise ValueError("pad_batch: got no sequence, expected at least one.")
    tokens = [s.tokens for s in sequences]
    real = [torch.ones_like(t, dtype=torch.bool) for t in tokens]
    return SequenceBatch(
        tokens=pad_sequence(tokens, batch_first=True, padding_value=pad_token),
        attention_mask=pad_sequence(real, batch_first=True),
    )
