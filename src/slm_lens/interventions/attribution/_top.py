"""The largest scores of a table, with the effect of really doing it beside each."""

from collections.abc import Callable, Iterable
from typing import Any

import polars as pl

from slm_lens.interventions.attribution._places import Place
from slm_lens.interventions.patching.patch_pairs import At

_PLACE = {
    "label": pl.String,
    "role": pl.String,
    "position": pl.Int32,
    "score": pl.Float64,
}


def schema_with(columns: dict[str, Any]) -> dict[str, Any]:
    """Columns of a table of scores: pair, what is scored, where, and the score."""
    return {"pair": pl.String} | columns | _PLACE


def place_columns(place: Place) -> dict[str, Any]:
    """What a row says of its place."""
    return {"label": place.label, "role": place.role, "position": place.position}


def top_rows(
    rows: Iterable[tuple[dict[str, Any], Any]],
    n: int,
    at: At,
    effects: Callable[[list[Any]], list[float]],
    schema: dict[str, Any],
) -> pl.DataFrame:
    """Rank rows by the size of their score, and verify the first ones.

    Args:
        rows: each with what `effects` takes.
        n: how many to keep.
        at: roles and sums over all positions of several pairs are joined to their mean.
        effects: what really happens, for a list of them.
        schema: columns of the rows.

    Returns:
        Rows with ``n_pairs`` and ``verified``; ``pair`` is None where pairs are joined.

    Raises:
        ValueError: `n` is less than 1.
    """
    if n < 1:
        raise ValueError(f"top: got n={n}, expected at least 1.")
    joined = at in ("roles", "all")
    groups: dict[Any, list[tuple[dict[str, Any], Any]]] = {}
    for row, what in rows:
        name = None if joined else row["pair"]
        key = tuple((row | {"pair": name, "score": None}).items())
        groups.setdefault(key, []).append((row, what))
    found = []
    for group in groups.values():
        mean = sum(row["score"] for row, _ in group) / len(group)
        first = group[0][0] | ({"pair": None} if joined else {})
        found.append((first | {"score": mean, "n_pairs": len(group)}, [what for _, what in group]))
    found.sort(key=lambda pair: -abs(pair[0]["score"]))
    real = iter(effects([what for _, whats in found[:n] for what in whats]))
    table = [
        row | {"verified": sum(next(real) for _ in whats) / len(whats)} for row, whats in found[:n]
    ]
    return pl.DataFrame(table, schema=schema | {"n_pairs": pl.Int64, "verified": pl.Float64})
