"""What the softmax over a part of the vocabulary needs, gathered a tile at a time.

Sums are kept relative to the largest logit so far, in float64, so that pieces of the vocabulary can
be put together in any order.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


class Sums(NamedTuple):
    """Sums over the tokens of a part; one entry for each row.

    Attributes:
        max: largest logit, a constant as far as gradients go.
        total: sum of ``exp(z - max)``.
        weighted: sum of ``exp(z - max) (z - max)``; zeros if it is not wanted.
        final_max, final_total: the same of the model's final logits; zeros if not wanted.
        cross: sum of ``exp(z_final - final_max) (z_final - z)``; zeros if not wanted.
    """

    max: Tensor
    total: Tensor
    weighted: Tensor
    final_max: Tensor
    final_total: Tensor
    cross: Tensor


def sums_of(
    logits: Float[Tensor, "n_rows n_tokens"],
    final: Float[Tensor, "n_positions n_tokens"] | None = None,
    *,
    weighted: bool = False,
    scratch: tuple[Tensor, Tensor] | None = None,
) -> Sums:
    """Sums over the tokens of one tile.

    Args:
        logits: of a tile; rows run over layers, then positions.
        final: final logits of the same tokens, one row for each position; None if not wanted.
        weighted: whether the weighted sum is wanted.
        scratch: two tensors of the logits' shape to work in; None where gradients are wanted.

    Returns:
        The sums.
    """
    max = logits.detach().amax(1)
    one, other = scratch or (None, None)
    shifted = torch.sub(logits, max[:, None], out=one)
    exponentials = _exp(shifted, other)
    total = exponentials.sum(1).double()
    none = torch.zeros_like(total)
    weights = torch.linalg.vecdot(exponentials, shifted).double() if weighted else none
    if final is None:
        return Sums(max, total, weights, torch.zeros_like(max), none, none)
    layers = logits.view(-1, *final.shape)
    n_layers = len(layers)
    final_max = final.detach().amax(1)
    below = final - final_max[:, None]
    final_exponentials = _exp(below, None if one is None else torch.empty_like(below))
    gap = torch.sub(final, layers, out=None if one is None else one.view_as(layers))
    cross = torch.linalg.vecdot(final_exponentials, gap).double().flatten()
    final_total = final_exponentials.sum(1).double()
    return Sums(
        max, total, weights, final_max.repeat(n_layers), final_total.repeat(n_layers), cross
    )


def _exp(logits: Tensor, out: Tensor | None) -> Tensor:
    """Exponentials; numpy's are twice as fast as those of torch 2.13 on one core."""
    if out is None or logits.device.type != "cpu":
        return torch.exp(logits, out=out)
    np.exp(logits.numpy(), out=out.numpy())
    return out


def joined(parts: list[Sums]) -> Sums:
    """Sums over several pieces of the vocabulary.

    Args:
        parts: sums of each, at least one.

    Returns:
        Their sums.
    """
    if len(parts) == 1:
        return parts[0]
    return joined_pieces(Sums(*(torch.stack(field, dim=-1) for field in zip(*parts, strict=True))))


def joined_pieces(pieces: Sums) -> Sums:
    """The same of sums that stand beside each other.

    Args:
        pieces: sums of each piece of the vocabulary; the last axis counts pieces.

    Returns:
        Their sums.
    """
    top, final_top = pieces.max.amax(-1), pieces.final_max.amax(-1)
    below = (pieces.max - top[..., None]).double()
    scale, final_scale = below.exp(), (pieces.final_max - final_top[..., None]).double().exp()
    return Sums(
        top,
        (pieces.total * scale).sum(-1),
        ((pieces.weighted + pieces.total * below) * scale).sum(-1),
        final_top,
        (pieces.final_total * final_scale).sum(-1),
        (pieces.cross * final_scale).sum(-1),
    )


def log_normaliser(sums: Sums) -> Float[Tensor, " n_rows"]:
    """Log of the sum of exponentials, float64."""
    return sums.max.double() + sums.total.log()


def entropy(sums: Sums) -> Float[Tensor, " n_rows"]:
    """Entropy of the softmax in nats, float64."""
    return sums.total.log() - sums.weighted / sums.total


def divergence(sums: Sums) -> Float[Tensor, " n_rows"]:
    """``KL(final || these)`` in nats, float64."""
    final = sums.final_max.double() + sums.final_total.log()
    return sums.cross / sums.final_total - final + log_normaliser(sums)
