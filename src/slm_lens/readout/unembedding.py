"""The unembedding, a part of its rows at a time."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

TILE_COLUMNS = 1024
"""Rows of the unembedding (columns of the logits) that are multiplied at a time."""

# Whether half precision can be multiplied with float32 sums and results: torch 2.8, on CUDA only.
_HAS_WIDE_RESULTS = "dtype" in torch.ops.aten.mm.overloads() and torch.version.hip is None

# A product with a single row or with few tokens is rounded otherwise than larger ones (on the CPUs
# that were tried), so that a logit would depend on what it is computed beside.
_FEWEST_ROWS = 2
_FEWEST_TOKENS = 32


@dataclass(frozen=True, eq=False)
class Unembedding:
    """What turns states that are ready for it (after the final norm) into logits.

    Logits are float32 whatever the weights are stored as. Half precision is multiplied as it is
    stored on CUDA, with float32 sums, where that loses nothing of the states (`as_multiplied`);
    elsewhere its rows are converted a tile at a time, so no second copy of the matrix exists.
    Either way products of two numbers are exact, and no more than their sum is rounded.

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

    def rows(
        self, ids: Int[Tensor, " n"] | slice, dtype: torch.dtype = torch.float32
    ) -> "UnembeddingRows":
        """The part for some tokens.

        Args:
            ids: token ids, or a slice of them, which costs no copy of weights of this dtype.
            dtype: dtype of the states that they will be multiplied with.

        Returns:
            Their rows.
        """
        bias = None if self.bias is None else self.bias[ids].float()
        return UnembeddingRows(self.weight[ids].to(dtype), bias, self.transform)

    def as_multiplied(
        self, states: Float[Tensor, "n d_model"], *others: Float[Tensor, "..."]
    ) -> tuple[Tensor, ...]:
        """States in the dtype that they are multiplied in.

        Args:
            states: vectors after the final norm, float32.
            *others: further ones, of which the same is asked.

        Returns:
            All in the dtype of the weights if that is half precision, on CUDA, and holds every
            number of them exactly; else as they are.
        """
        given, weight = (states, *others), self.weight
        is_half = weight.dtype in (torch.float16, torch.bfloat16)
        if not (is_half and weight.device.type == "cuda" and _HAS_WIDE_RESULTS):
            return given
        stored = tuple(x.to(weight.dtype) for x in given)
        exact = all(torch.equal(s.float(), x) for s, x in zip(stored, given, strict=True))
        return stored if exact else given

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
    """Rows of an unembedding in the dtype of the states; attributes as there."""

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
            states: vectors after the final norm, in the dtype of the weights.
            out: where to put the product; None makes a new tensor.

        Returns:
            Logits, float32; in ``out`` if there is nothing to add to the product.
        """
        n, c = len(states), len(self.weight)
        states = states.expand(_FEWEST_ROWS, -1) if n == 1 else states
        weight = self.weight
        if c < _FEWEST_TOKENS:
            weight = functional.pad(weight, (0, 0, 0, _FEWEST_TOKENS - c))
        is_whole = len(states) == n and len(weight) == c
        product = _product(states, weight.T, out if is_whole else None)[:n, :c]
        if self.bias is not None:
            product = product.add_(self.bias)
        return product if self.transform is None else self.transform(product)


def _product(states: Tensor, weight: Tensor, out: Tensor | None) -> Tensor:
    """Float32 logits; on CUDA never by way of TF32, whatever torch's settings are."""
    if states.device.type != "cuda":
        return torch.mm(states, weight, out=out)
    with _full_precision():
        if states.dtype == torch.float32:
            return torch.mm(states, weight, out=out)
        return torch.mm(states, weight, torch.float32, out=out)


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """No TF32 and no sums in half precision; settings come back as they were."""
    settings = torch.backends.cuda.matmul
    # torch before 2.9 and 2.7 lacks these.
    tf32 = "fp32_precision" if hasattr(settings, "fp32_precision") else "allow_tf32"
    wanted = {tf32: "ieee" if tf32 == "fp32_precision" else False}
    if hasattr(settings, "allow_fp16_accumulation"):
        wanted["allow_fp16_accumulation"] = False
    before = {name: getattr(settings, name) for name in wanted}
    try:
        for name, value in wanted.items():
            setattr(settings, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(settings, name, value)


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
