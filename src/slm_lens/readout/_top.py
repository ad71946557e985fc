"""The k highest logits, with ties in favour of the lower token id.

A logit and its token id are packed into one whole number that grows with the logit and, among
equal logits, falls with the id. So the order has no ties, whatever pieces the vocabulary comes in.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from slm_lens.readout.wanted import NO_TOKEN

_EMPTY = torch.iinfo(torch.int64).min
_SIGN = 0x7FFFFFFF
_LARGEST_ID = 0x7FFFFFFF


def pack(logits: Float[Tensor, "*shape"], ids: Int[Tensor, "*#shape"]) -> Int[Tensor, "*shape"]:
    """Keys of logits with their token ids.

    Args:
        logits: float32.
        ids: their tokens.

    Returns:
        Keys.
    """
    bits = (logits + 0.0).view(torch.int32)  # -0.0 becomes 0.0
    rising = torch.where(bits < 0, bits ^ _SIGN, bits)
    return (rising.long() << 32) | (_LARGEST_ID - ids)


def unpack(
    keys: Int[Tensor, "*shape"],
) -> tuple[Float[Tensor, "*shape"], Int[Tensor, "*shape"]]:
    """Logits and token ids of keys.

    Args:
        keys: what `pack` made, or empty places.

    Returns:
        Logits (minus infinity where empty) and ids (`NO_TOKEN` where empty).
    """
    rising = (keys >> 32).int()
    logits = torch.where(rising < 0, rising ^ _SIGN, rising).view(torch.float32)
    empty = keys == _EMPTY
    ids = _LARGEST_ID - (keys & 0xFFFFFFFF)
    return logits.masked_fill(empty, -torch.inf), ids.masked_fill(empty, NO_TOKEN)


def no_keys(n_rows: int, k: int, device: torch.device) -> Int[Tensor, "n_rows k"]:
    """Places for the k highest of each row.

    Args:
        n_rows: rows.
        k: how many.
        device: where.

    Returns:
        Empty places.
    """
    return torch.full((n_rows, k), _EMPTY, dtype=torch.int64, device=device)


def merge(
    keys: Int[Tensor, "n_rows k"], others: Int[Tensor, "n_rows n_others"]
) -> Int[Tensor, "n_rows k"]:
    """The k highest of both, highest first.

    Args:
        keys: of each row.
        others: further ones.

    Returns:
        Keys in falling order.
    """
    return torch.cat([keys, others], dim=1).topk(keys.shape[1], dim=1).values


def with_tile(
    keys: Int[Tensor, "n_rows k"],
    logits: Float[Tensor, "n_rows n_tokens"],
    ids: Int[Tensor, " n_tokens"],
) -> Int[Tensor, "n_rows k"]:
    """The k highest so far and of further logits.

    Only rows whose highest logit reaches the lowest of the k so far are looked at, and only such
    logits: few after the first tiles.

    Args:
        keys: the highest so far, highest first.
        logits: of further tokens.
        ids: these tokens.

    Returns:
        Keys in falling order.
    """
    lowest, k = unpack(keys[:, -1:])[0], keys.shape[1]
    if k < logits.shape[1] and lowest.isneginf().any():  # the k highest of this tile alone are k
        lowest = lowest.maximum(logits.topk(k, dim=1).values[:, -1:])
    changed = (logits.amax(1, keepdim=True) >= lowest).nonzero()[:, 0]
    if not len(changed):
        return keys
    logits = logits[changed]
    row, column = _nonzero(logits >= lowest[changed])
    n_of_row = torch.bincount(row, minlength=len(changed))
    place = torch.arange(len(row), device=row.device) - (n_of_row.cumsum(0) - n_of_row)[row]
    found = no_keys(len(changed), int(n_of_row.max()), keys.device)
    found[row, place] = pack(logits[row, column], ids[column])
    keys = keys.clone()
    keys[changed] = merge(keys[changed], found)
    return keys


def _nonzero(
    mask: Bool[Tensor, "n_rows n_tokens"],
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Rows and columns that are True, row by row; numpy skips what is False much faster."""
    if mask.device.type == "cpu":
        flat = torch.from_numpy(mask.numpy().ravel().nonzero()[0])
    else:
        flat = mask.flatten().nonzero()[:, 0]
    return flat // mask.shape[1], flat % mask.shape[1]
