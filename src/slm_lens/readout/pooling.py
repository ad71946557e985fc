"""From logits at positions to logits of words.

A word covers several speech units, and every position has logits of its own. Pooling makes one
row for each word: the largest logit that any of its positions gives to a token (``"max"``), or the
logits at its last position (``"last"``), where the next word is what comes next. The maximum is
over *logits*: a shift of one position's logits changes it, although it would not change that
position's probabilities.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

Pool = Literal["max", "last"]
POOLS: tuple[Pool, ...] = get_args(Pool)


def check_spans(spans: Int[Tensor, "n_words 2"], n_positions: int, name: str) -> None:
    """Refuse spans that are empty or leave the positions.

    Args:
        spans: half-open ``[start, end)`` of each word.
        n_positions: number of positions that spans may cover.
        name: the function to name in the message.

    Raises:
        ValueError: a span is empty, runs backwards, or lies outside.
    """
    bad = (spans[:, 0] < 0) | (spans[:, 1] <= spans[:, 0]) | (spans[:, 1] > n_positions)
    if bad.any():
        raise ValueError(
            f"{name}: got spans {spans[bad].tolist()[:4]}, expected 0 <= start < end <= "
            f"{n_positions} positions. Leave out words that no position carries."
        )


def mean_over_words(
    values: Float[Tensor, "n_positions ..."], spans: Int[Tensor, "n_words 2"]
) -> Float[Tensor, "n_words ..."]:
    """Mean of each value over the positions of each word.

    Args:
        values: numbers at each position.
        spans: half-open ``[start, end)`` over positions of each word, none empty.

    Returns:
        One row for each word.

    Raises:
        ValueError: a span is empty or outside the positions.

    Source:
        Ours.
    """  # noqa: DOC502 (raised by check_spans)
    check_spans(spans, values.shape[0], "mean_over_words")
    return torch.stack([values[start:end].mean(0) for start, end in spans.tolist()])
