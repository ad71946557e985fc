"""From logits at positions to logits of words.

A word covers several speech units, and every position has logits of its own. Pooling makes one
row for each word: the largest logit that any of its positions gives to a token (``"max"``), or the
logits at its last position (``"last"``), where the next word is what comes next.
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


def pool_words(
    logits: Float[Tensor, "n_positions d_vocab"], spans: Int[Tensor, "n_words 2"], pool: Pool
) -> Float[Tensor, "n_words d_vocab"]:
    """One row of logits for each word.

    Args:
        logits: scores at each position.
        spans: half-open ``[start, end)`` over positions of each word, none empty.
        pool: ``"max"`` takes the maximum over the span for every token; ``"last"`` the last
            position of the span. The maximum is over *logits*: a shift of one position's logits
            changes it, although it would not change that position's probabilities.

    Returns:
        Pooled logits, one row for each word.

    Raises:
        ValueError: unknown pool, or a span is empty or outside the positions.

    Source:
        Max over logits: as reported second hand of Sternberg et al. 2026, arXiv:2606.22473.
    """
    if pool not in POOLS:
        raise ValueError(f"pool_words: got pool {pool!r}, expected one of {POOLS}.")
    check_spans(spans, logits.shape[0], "pool_words")
    if pool == "last":
        return logits[spans[:, 1].to(logits.device) - 1]
    return torch.stack([logits[start:end].amax(0) for start, end in spans.tolist()])


def mean_over_words(
    values: Float[Tensor, "n_positions n_values"], spans: Int[Tensor, "n_words 2"]
) -> Float[Tensor, "n_words n_values"]:
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
