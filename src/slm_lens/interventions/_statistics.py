"""Means over examples (pairs, prompts) of what was done to each, with what can be said of them."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import polars as pl
import torch
from transformer_lens.utilities.statistics import (
    bootstrap_ci,
    derive_generator,
    sign_flip_permutation_pvalue,
)

Small = Literal["refuse", "leave_out"]


def rows_with_a_gap(
    rows: pl.DataFrame, example: str, metric: str, *, min_difference: float, small: Small
) -> pl.DataFrame:
    """Rows of examples whose clean and corrupted run differ enough to divide by it.

    Args:
        rows: one metric's rows, with the columns ``clean`` and ``corrupted``.
        example: column that names the examples.
        metric: name of the metric, for the message.
        min_difference: smallest size of ``clean - corrupted``.
        small: ``"refuse"`` raises for any other example, ``"leave_out"`` drops it.

    Returns:
        The rows that are left.

    Raises:
        ValueError: there are others, or nothing else.
    """
    is_small = ~((pl.col("clean") - pl.col("corrupted")).abs() >= min_difference)
    hardly = rows.filter(is_small)[example].unique(maintain_order=True).to_list()
    n_examples = rows[example].n_unique()
    if hardly and (small == "refuse" or len(hardly) == n_examples):
        raise ValueError(
            f"recovery: got {len(hardly)} of {n_examples} {example}s whose clean and corrupted "
            f"{metric!r} differ by less than {min_difference:g}, such as {hardly[:3]}, expected a "
            "difference to divide by. Leave them out with small='leave_out', or take another "
            "metric."
        )
    return rows.filter(~is_small)


def mean_over_examples(
    rows: pl.DataFrame,
    value: str,
    example: str,
    cell: Sequence[str],
    *,
    n_bootstrap: int,
    seed: int,
    n_before: int,
) -> pl.DataFrame:
    """Mean of a number over examples, for each cell.

    Args:
        rows: the numbers.
        value: their column.
        example: column that names the examples; rows of one example in one cell are averaged
            first.
        cell: columns to tell apart.
        n_bootstrap: resamples of the examples; 0 for no interval.
        seed: seed of the resamples and of the sign flips.
        n_before: examples before any was left out.

    Returns:
        The columns of `cell`, ``estimate``, ``low``, ``high``, ``p_value``, ``n_{example}s`` and
        ``n_left_out``.
    """
    n_left_out = n_before - rows[example].n_unique()
    of_example = rows.group_by([*cell, example], maintain_order=True).agg(pl.col(value).mean())
    found = []
    for key, group in of_example.group_by(cell, maintain_order=True):
        numbers = torch.tensor(group[value].to_list(), dtype=torch.float64)
        found.append((*key, *_statistics(numbers, n_bootstrap, seed), len(numbers), n_left_out))
    schema: dict[str, Any] = {name: rows.schema[name] for name in cell}
    schema |= dict.fromkeys(("estimate", "low", "high", "p_value"), pl.Float64)
    schema |= dict.fromkeys((f"n_{example}s", "n_left_out"), pl.Int64)
    return pl.DataFrame(found, schema=schema, orient="row")


def _statistics(
    numbers: torch.Tensor, n_bootstrap: int, seed: int
) -> tuple[float, float | None, float | None, float]:
    """Mean, interval and p-value of one number for each example."""
    mean = float(numbers.mean())
    p_value = sign_flip_permutation_pvalue(numbers, generator=derive_generator(seed, "signs"))
    if n_bootstrap == 0 or math.isnan(mean):
        return mean, None, None, float(p_value)
    generator = derive_generator(seed, "pairs")
    low, high = bootstrap_ci(numbers, n_resamples=n_bootstrap, generator=generator)
    return mean, float(low), float(high), float(p_value)
