"""The tidy table of a `LensGrid`, and the way back."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.lens.grid_result import GRID_SITES, MASSES, GridCells, GridSite, LensGrid
from slm_lens.readout.wanted import NO_RANK, NO_TOKEN

WHICH = {"current": 0, "next": 1}
"""Words that stand beside a row by their distance to the row's word."""


def grid_frame(grid: LensGrid) -> pl.DataFrame:
    """All cells of a grid.

    Args:
        grid: the grid.

    Returns:
        The table that `LensGrid.to_frame` describes.
    """
    return pl.concat([_site_frame(grid, site, cells) for site, cells in grid.cells.items()])


def _site_frame(grid: LensGrid, site: GridSite, cells: GridCells) -> pl.DataFrame:
    n_layers, n_rows = cells.n_layers, cells.n_rows
    words = [None if i is None else grid.words[i].word for i in cells.words]
    following = [_word_after(grid, i) for i in cells.words]
    columns = {
        "utterance": pl.Series([grid.utterance] * (n_layers * n_rows), dtype=pl.String),
        "site": pl.Series([site] * (n_layers * n_rows), dtype=pl.String),
        "layer": pl.Series(np.repeat(np.arange(n_layers), n_rows), dtype=pl.Int32),
        "row": pl.Series(np.tile(np.arange(n_rows), n_layers), dtype=pl.Int32),
        "start": pl.Series(cells.spans[:, 0].tolist() * n_layers, dtype=pl.Int32),
        "end": pl.Series(cells.spans[:, 1].tolist() * n_layers, dtype=pl.Int32),
        "word_index": pl.Series(list(cells.words) * n_layers, dtype=pl.Int32),
        "word": pl.Series(words * n_layers, dtype=pl.String),
        "next_word": pl.Series(following * n_layers, dtype=pl.String),
    }
    columns |= {f"{m}_mass": _flat(cells.mass[..., i]) for i, m in enumerate(MASSES)}
    for subset in cells.top_ids:
        columns |= _subset_columns(grid, cells, subset)
    return pl.DataFrame(columns)


def _word_after(grid: LensGrid, word: int | None) -> str | None:
    return None if word is None or word + 1 >= len(grid.words) else grid.words[word + 1].word


def _subset_columns(grid: LensGrid, cells: GridCells, subset: str) -> dict[str, pl.Series]:
    ids = cells.top_ids[subset].flatten(0, 1).tolist()
    names = {**grid.labels, NO_TOKEN: None}
    columns = {
        f"top_{subset}_ids": _lists(cells.top_ids[subset], pl.Int64),
        f"top_{subset}_labels": pl.Series(
            [[names[t] for t in row] for row in ids],
            dtype=pl.List(pl.String),
        ),
        f"top_{subset}_log_prob": _lists(cells.top_log_prob[subset], pl.Float32),
    }
    for name, offset in WHICH.items():
        at = grid.targets(cells.words, offset)
        columns[f"rank_{name}_{subset}"] = _picked(cells.rank[subset], at, pl.Int32, NO_RANK)
        columns[f"log_prob_{name}_{subset}"] = _picked(
            cells.log_prob[subset], at, pl.Float32, np.nan
        )
    columns[f"followed_rank_{subset}"] = _lists(cells.rank[subset], pl.Int32)
    columns[f"followed_log_prob_{subset}"] = _lists(cells.log_prob[subset], pl.Float32)
    return columns


def _flat(values: Tensor) -> pl.Series:
    return pl.Series(values.flatten().numpy())


def _lists(values: Tensor, dtype: Any) -> pl.Series:
    rows = values.flatten(0, 1)
    if not rows.shape[1]:
        return pl.Series([[]] * len(rows), dtype=pl.List(dtype))
    return pl.Series(rows.numpy()).cast(pl.List(dtype))


def _picked(
    values: Tensor, at: Sequence[int | None], dtype: Any, nothing: int | float
) -> pl.Series:
    """The column of each row's own target; null where there is none."""
    picked = [
        [None if i is None else row[i] for i, row in zip(at, layer, strict=True)]
        for layer in values.tolist()
    ]
    flat = [None if v is None or v != v or v == nothing else v for row in picked for v in row]
    return pl.Series(flat, dtype=dtype)


def cells_of(table: pl.DataFrame) -> dict[GridSite, GridCells]:
    """The cells of one utterance again, from its rows of the table.

    Args:
        table: what `grid_frame` made of one grid.

    Returns:
        The cells by site.
    """
    found = table["site"].unique().to_list()
    sites: list[GridSite] = [site for site in GRID_SITES if site in found]
    return {site: _site_cells(table.filter(pl.col("site") == site)) for site in sites}


def _site_cells(rows: pl.DataFrame) -> GridCells:
    n_layers = rows["layer"].n_unique()
    rows = rows.sort("layer", "row")
    first = rows.filter(pl.col("layer") == 0)
    subsets = [s for s in ("text", "full") if f"top_{s}_ids" in rows.columns]

    def shaped(name: str, dtype: torch.dtype) -> Tensor:
        values = torch.tensor(rows[name].to_list(), dtype=dtype)
        return values.view(n_layers, len(first), *values.shape[1:])

    def each(pattern: str, dtype: torch.dtype) -> dict[str, Tensor]:
        return {s: shaped(pattern.format(s), dtype) for s in subsets}

    spans: Int[Tensor, "row 2"] = torch.tensor(first.select("start", "end").rows())
    mass: Float[Tensor, "layer row 3"] = torch.stack(
        [shaped(f"{m}_mass", torch.float32) for m in MASSES], -1
    )
    return GridCells(
        spans=spans,
        words=tuple(first["word_index"].to_list()),
        top_ids=each("top_{}_ids", torch.int64),
        top_log_prob=each("top_{}_log_prob", torch.float32),
        mass=mass,
        rank=cast(Any, each("followed_rank_{}", torch.int64)),
        log_prob=cast(Any, each("followed_log_prob_{}", torch.float32)),
    )
