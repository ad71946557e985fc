"""Rows of tables as lines and cells of charts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from slm_lens.views.panel import Axis, Line
from slm_lens.views.style import Ink


def numbers(column: pl.Series) -> Float[np.ndarray, " row"]:
    """A column as numbers; NaN for null."""
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()


def curve(
    table: pl.DataFrame,
    name: str,
    ink: Ink,
    *,
    x: str = "layer",
    y: str = "estimate",
    interval: tuple[str, str] | None = ("low", "high"),
    band: float = 0.15,
    entry: str | None = None,
) -> Line:
    """Rows of a table as a line, in the order of `x`; without interval columns, without a band."""
    rows = table.sort(x)
    low, high = (None, None) if interval is None else (numbers(rows[c]) for c in interval)
    if low is not None and not np.isfinite(low).any():
        low = high = None
    return Line(name, numbers(rows[x]), numbers(rows[y]), ink, low, high, band, entry)


def grid(
    table: pl.DataFrame,
    value: str,
    rows: tuple[str, Sequence[Any]],
    columns: tuple[str, Sequence[Any]],
) -> Float[np.ndarray, "row column"]:
    """Values by two keys: a column's name and what it can be, along each side; NaN for none."""
    cells = np.full((len(rows[1]), len(columns[1])), np.nan)
    of_row = {key: i for i, key in enumerate(rows[1])}
    of_column = {key: i for i, key in enumerate(columns[1])}
    for row, column, x in table.select(rows[0], columns[0], value).iter_rows():
        if row in of_row and column in of_column and x is not None:
            cells[of_row[row], of_column[column]] = x
    return cells


def in_cells(
    cells: Float[np.ndarray, "row column"], decimals: int = 2
) -> tuple[tuple[str, ...], ...]:
    """Numbers as they stand in cells; nothing for NaN."""
    zero = f"{0:.{decimals}f}"

    def word(x: float) -> str:
        text = f"{x:.{decimals}f}"
        return "" if np.isnan(x) else zero if text == f"-{zero}" else text

    return tuple(tuple(word(x) for x in row) for row in cells)


def under_the_pointer(
    table: pl.DataFrame,
    value: str,
    label: str,
    rows: tuple[str, Sequence[Any]],
    columns: tuple[str, Sequence[Any]],
) -> tuple[tuple[str, ...], ...]:
    """Value, interval and number of examples of each cell, as far as a table has them."""
    counts = [c for c in ("n_pairs", "n_prompts", "n_words") if c in table.columns]
    words: dict[tuple[Any, Any], str] = {}
    for row in table.iter_rows(named=True):
        lines = [] if row[value] is None else [f"{label}: {row[value]:.4g}"]
        if row.get("low") is not None:
            lines.append(f"95 % interval: [{row['low']:.4g}, {row['high']:.4g}]")
        lines += [f"{c.removeprefix('n_')}: {row[c]}" for c in counts]
        words[row[rows[0]], row[columns[0]]] = "\n".join(lines)
    return tuple(tuple(words.get((r, c), "") for c in columns[1]) for r in rows[1])


def named_axis(label: str, names: Sequence[Any], most: int = 40) -> Axis:
    """An axis with one name for each row or column of cells; every few, if they are many."""
    words = tuple(str(name).replace("_", " ") for name in names)
    kept = thinned([float(i) for i in range(len(words))], most)
    return Axis(label, ticks=kept, names=tuple(words[int(i)] for i in kept))


def thinned(ticks: Sequence[float], most: int = 12) -> tuple[float, ...]:
    """Every second, fourth, fifth ... of many ticks, from the first on."""
    step = next(s for s in (1, 2, 4, 5, 10, 20, 50, 100, 1000) if len(ticks) / s <= most)
    return tuple(ticks[::step])


def check_columns(tables: Mapping[str, pl.DataFrame], columns: Sequence[str], caller: str) -> None:
    """Refuse tables without rows or without these columns.

    Raises:
        ValueError: there is no table, or one lacks rows or a column.
    """
    missing = {t: sorted(set(columns) - set(table.columns)) for t, table in tables.items()}
    if not tables or any(missing.values()) or any(t.is_empty() for t in tables.values()):
        raise ValueError(
            f"{caller}: got the tables {list(tables)}, without rows or the columns "
            f"{ {t: m for t, m in missing.items() if m} }, expected at least one table, with rows "
            f"and the columns {tuple(columns)}."
        )
