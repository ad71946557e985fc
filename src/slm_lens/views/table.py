"""A table that sorts, is searched, and can be saved as CSV."""

from typing import Any

import numpy as np
import polars as pl

from slm_lens.views.page import View


def table_view(
    table: pl.DataFrame,
    *,
    title: str,
    description: str,
    file_name: str = "table.csv",
    page_rows: int = 20,
) -> View:
    """Rows of a table, some at a time; a click on a heading sorts by it.

    Args:
        table: columns of strings, truth values, whole numbers and floats, null where unknown.
        title: heading.
        description: what a row is.
        file_name: of the CSV that the reader can save, with all rows and digits.
        page_rows: rows that are shown at a time.

    Returns:
        The view.

    Raises:
        ValueError: a column is of another type, or there are no columns.
    """
    if not table.columns:
        raise ValueError("table_view: got a table without columns, expected at least one.")
    return View(
        kind="table",
        data={
            "columns": [_column(table[name]) for name in table.columns],
            "n_rows": len(table),
            "page_rows": page_rows,
            "file_name": file_name,
        },
        title=title,
        description=description,
    )


def _column(values: pl.Series) -> dict[str, Any]:
    """One column: strings by number of a spelling, whole numbers and floats as arrays."""
    name = values.name
    if values.dtype.is_float():
        array = values.fill_null(np.nan).to_numpy().astype(np.float64)
        return {"name": name, "kind": "float", "values": array}
    if values.dtype.is_integer():
        array = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
        return {"name": name, "kind": "whole", "values": array}
    if values.dtype == pl.Boolean:
        values = values.cast(pl.String)
    if values.dtype != pl.String:
        raise ValueError(
            f"table_view: got column {name!r} of {values.dtype}, expected strings, truth values, "
            "whole numbers or floats. Leave lists out, or join them."
        )
    spellings = values.drop_nulls().unique(maintain_order=True).to_list()
    number = {spelling: i + 1 for i, spelling in enumerate(spellings)}
    numbers = np.array([0 if v is None else number[v] for v in values.to_list()], dtype=np.uint32)
    return {"name": name, "kind": "string", "values": numbers, "spellings": spellings}
