"""The unembedding, a part of its rows at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

TILE_COLUMNS = 1024
"""Rows of the unembedding (columns of the logits) that are multiplied at a time."""

# A product with a single row or with few tokens is rounded otherwise than larger ones (on the CPUs
# that were tried), so that a logit would depend on what it is computed beside.
_FEWEST_ROWS = 2
_FEWEST_TOKENS = 32


@dataclass(frozen=True, eq=False)
class Unembedding:
    """What turns states that are ready for it (after the final norm) into logits.

    Products are float32 whatever the weights are stored as: half-precision rows are converted a
    tile at a time, so no second copy of the matrix exists.

    Attributes:
        weight: one row for each token.
        bias: one number for each token; None for none.
        transform: what is done to every logit by itself, such as a soft cap or a scale; None for
            nothing.
    """

    weight: Float[Tensor, "d_vocab d_model"]
    bias: Float[Tensor, " d_vocab"] | None = None
    transform: Callable[[Tensor], Tensor] | None = None

    @property
    def d_vocab(self) -> int:
        """How many tokens there are."""
        return self.weight.shape[0]

    def rows(self, ids: Int[Tensor, " n"] | slice) -> "UnembeddingRows":
        """The part for some tokens, in float32.

        Args:
            ids: token ids, or a slice of them, which costs no copy of float32 weights.

        Returns:
            Their rows.
        """
        bias = None if self.bias is None else self.bias[ids].float()
        return UnembeddingRows(self.weight[ids].float(), bias, self.transform)

    def logits(
        self, states: Float[Tensor, "n d_model"], tile_columns: int = TILE_COLUMNS
    ) -> Float[Tensor, "n d_vocab"]:
        """All logits of some states, for a few states at a time.

        Args:
            states: vectors after the final norm, float32; gradients flow through.
            tile_columns: tokens that are multiplied at a time.

        Returns:
            Logits, float32.
        """
        tiles = (
            slice(first, first + tile_columns) for first in range(0, self.d_vocab, tile_columns)
        )
        return torch.cat([self.rows(tile).logits(states) for tile in tiles], dim=1)


@dataclass(frozen=True, eq=False)
class UnembeddingRows:
    """Rows of an unembedding in float32; attributes as there."""

    weight: Float[Tensor, "n_tokens d_model"]
    bias: Float[Tensor, " n_tokens"] | None
    transform: Callable[[Tensor], Tensor] | None

    def logits(
        self,
        states: Float[Tensor, "n d_model"],
        out: Float[Tensor, "n n_tokens"] | None = None,
    ) -> Float[Tensor, "n n_tokens"]:
        """Logits of these tokens.

        Args:
            states: vectors after the final norm, float32.
            out: where to put the product; None makes a new tensor.

        Returns:
            Logits; in ``out`` if there is nothing to add to the product.
        """
        n, c = len(states), len(self.weight)
        states = states.expand(_FEWEST_ROWS, -1) if n == 1 else states
        weight = self.weight
        if c < _FEWEST_TOKENS:
            weight = functional.pad(weight, (0, 0, 0, _FEWEST_TOKENS - c))
        is_whole = len(states) == n and len(weight) == c
        product = torch.mm(states, weight.T, out=out if is_whole else None)[:n, :c]
        if self.bias is not None:
            product = product.add_(self.bias)
        return product if self.transform is None else self.transform(product)


def tiles_of(ids: Int[Tensor, " n"], columns: int) -> Iterator[Int[Tensor, " n_tile"] | slice]:
    """Token ids in pieces, as slices where they follow one another.

    Args:
        ids: rising token ids.
        columns: largest size of a piece.

    Yields:
        Slices or ids.
    """
    for piece in ids.split(columns):
        first, last = int(piece[0]), int(piece[-1])
        yield slice(first, last + 1) if last - first + 1 == len(piece) else piece
