"""What every run of a model for a lens needs: input that fits, and the model to itself."""

import threading

import torch
from jaxtyping import Bool
from torch import Tensor

ONE_AT_A_TIME = threading.RLock()
"""Held while a model runs: its hooks are set and its weights lent for one run."""


def real_positions(
    tokens: Tensor, attention_mask: Tensor | None, caller: str
) -> Bool[Tensor, "batch pos"]:
    """Which positions are no padding.

    Args:
        tokens: token ids, ``[batch, pos]``; sequences of different length are padded on the right.
        attention_mask: True where a token is real; None when all are.
        caller: the public function, to begin messages with.

    Returns:
        The mask.

    Raises:
        ValueError: tokens or mask have another shape or dtype, or padding is on the left.
    """
    if tokens.ndim != 2 or not tokens.numel() or tokens.is_floating_point():
        raise ValueError(
            f"{caller}: got tokens of shape {tuple(tokens.shape)} and {tokens.dtype}, expected "
            "token ids [batch, pos], at least one. Of a single sequence: sequence.tokens[None]."
        )
    if attention_mask is None:
        return torch.ones_like(tokens, dtype=torch.bool)
    if attention_mask.shape != tokens.shape or attention_mask.is_floating_point():
        raise ValueError(
            f"{caller}: got a mask of shape {tuple(attention_mask.shape)} and "
            f"{attention_mask.dtype} for tokens of shape {tuple(tokens.shape)}, expected True or "
            "False for each of them."
        )
    mask = attention_mask.bool()
    if not mask[:, 0].all() or (mask[:, 1:] & ~mask[:, :-1]).any():
        raise ValueError(
            f"{caller}: got a mask with padding before real tokens, expected padding on the "
            "right, so that every position keeps its number."
        )
    return mask
