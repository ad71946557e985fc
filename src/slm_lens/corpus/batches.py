"""Items of like length in one forward pass, under a budget of tokens."""

from collections.abc import Sequence


def batches(n_tokens: Sequence[int], budget: int) -> list[list[int]]:
    """Which items run together.

    Args:
        n_tokens: length of each item.
        budget: tokens of one batch, padding included.

    Returns:
        Indices, shortest items first; each batch padded to its longest item fits the budget, or is
        one item that is longer by itself. Depends on the lengths alone.
    """
    order = sorted(range(len(n_tokens)), key=lambda i: (n_tokens[i], i))
    found: list[list[int]] = []
    for i in order:
        if found and (len(found[-1]) + 1) * n_tokens[i] <= budget:
            found[-1].append(i)
        else:
            found.append([i])
    return found


def padding_share(n_tokens: Sequence[int], found: Sequence[Sequence[int]]) -> float:
    """Share of all positions that are padding.

    Args:
        n_tokens: length of each item.
        found: the batches.

    Returns:
        Between 0 and 1; 0 without items.
    """
    run = sum(len(batch) * max(n_tokens[i] for i in batch) for batch in found)
    return 1 - sum(n_tokens[i] for batch in found for i in batch) / run if run else 0.0
