"""What is to be read, and what was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.readout._device import Kernel

Statistic = Literal["rank", "log_prob", "mass", "entropy", "kl", "log_normaliser", "top_k"]
STATISTICS: tuple[Statistic, ...] = get_args(Statistic)

NO_TARGET = -1
"""Fills the ends of target sets of different size."""

NO_RANK = 0
"""The rank of an empty target set, and of one that is not all in the subset."""

NO_TOKEN = -1
"""Token id where fewer than k tokens compete."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is to be read at every position, or for every word. What is not named costs nothing.

    Attributes:
        statistics: which of `STATISTICS`.
        targets: token ids that ``"rank"`` and ``"log_prob"`` are of: ``[n_targets]`` for all, or
            ``[*rows, n_targets]``, `NO_TARGET` where a row has none; for words
            ``[n_words, n_sets, n_tokens]``, sets of tokens of which the best counts, filled with
            `NO_TARGET`.
        within: subsets of the vocabulary that one ranks, normalises and looks for the top within;
            None for all that there are.
        k: how many tokens ``"top_k"`` gives.
    """

    statistics: frozenset[Statistic]
    targets: Int[Tensor, "..."] | None = None
    within: tuple[str, ...] | None = None
    k: int = 10

    def __post_init__(self) -> None:
        unknown = sorted(self.statistics - set(STATISTICS))
        if unknown or not self.statistics:
            raise ValueError(
                f"readout: got statistics {unknown or 'none'}, expected one or more of "
                f"{STATISTICS}."
            )
        of_targets = sorted(self.statistics & {"rank", "log_prob"})
        if bool(of_targets) != (self.targets is not None):
            raise ValueError(
                f"readout: got statistics {sorted(self.statistics)} "
                f"{'without' if of_targets else 'and'} targets; expected targets where the rank or "
                "log-probability of tokens is wanted, and only there."
            )
        if self.within == ():
            raise ValueError("readout: got within=(), expected names of subsets, or None for all.")
        if self.k < 1:
            raise ValueError(f"readout: got k={self.k}, expected at least 1.")


@dataclass(frozen=True, eq=False)
class TopK:
    """The highest tokens of a subset.

    Attributes:
        ids: token ids, highest logit first, the lower id first among equal logits; -1 where the
            subset has fewer tokens.
        logits: their logits, minus infinity where there is no token.
    """

    ids: Int[Tensor, "*rows k"]
    logits: Float[Tensor, "*rows k"]


@dataclass(frozen=True, eq=False)
class Readout:
    """What was read; what was not wanted is empty. Keys are names of subsets, unless said.

    Attributes:
        rank: ``1 + number of tokens of the subset with a strictly greater logit``, so ties favour
            the target; `NO_RANK` for an empty set and where the subset lacks a token of the set.
        log_prob: log-probability, in nats, of the best token of each set under the softmax over
            the subset; NaN where the rank would be `NO_RANK`.
        mass: probability of every *part* of the vocabulary (text, each speech stream, other) under
            the softmax over all rows.
        entropy: of the softmax over the subset, in nats.
        kl: ``KL(final || these)`` of the softmax over the subset, in nats.
        log_normaliser: ``log sum exp`` of the logits of the subset: a logit less this is a
            log-probability within it.
        top_k: the highest tokens of the subset.
        kernel: what made the statistics, "tiled" or "triton": speed, and rounding at most.
        product_dtype: dtype in which states and unembedding were multiplied; sums are float32 or
            wider either way.
    """

    rank: Mapping[str, Int[Tensor, "*rows n_targets"]]
    log_prob: Mapping[str, Float[Tensor, "*rows n_targets"]]
    mass: Mapping[str, Float[Tensor, "*rows"]]
    entropy: Mapping[str, Float[Tensor, "*rows"]]
    kl: Mapping[str, Float[Tensor, "*rows"]]
    log_normaliser: Mapping[str, Float[Tensor, "*rows"]]
    top_k: Mapping[str, TopK]
    kernel: Kernel = "tiled"
    product_dtype: str = "float32"


def target_sets(
    sets: Sequence[Sequence[Sequence[int]]],
) -> Int[Tensor, "n_words n_sets n_tokens"]:
    """Sets of target tokens of each word as one tensor.

    Args:
        sets: for each word its sets (as many for every word), each of token ids.

    Returns:
        Token ids, filled with `NO_TARGET`.

    Raises:
        ValueError: no words, or words with different numbers of sets.
        TypeError: token ids stand where sets of them are expected.
    """
    if not all(isinstance(row, Sequence) and all(isinstance(x, Sequence) for x in row)
               for row in sets):  # fmt: skip
        raise TypeError(
            f"target_sets: got {sets[:2]} ..., expected for each word a list of sets, each a list "
            "of token ids: one set for each of two words is [[[3, 5]], [[8]]]."
        )
    if not sets or len({len(row) for row in sets}) != 1:
        raise ValueError(
            f"target_sets: got words with {sorted({len(row) for row in sets})} target sets, "
            "expected at least one word, and the same number of sets for each."
        )
    widest = max(1, max((len(ids) for row in sets for ids in row), default=1))
    filled = [[[*ids, *[NO_TARGET] * (widest - len(ids))] for ids in row] for row in sets]
    return torch.tensor(filled, dtype=torch.int64).view(len(sets), len(sets[0]), widest)
