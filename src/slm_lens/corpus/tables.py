"""Columns of the tables of a run; those of ``words`` are in `slm_lens.WordLens`."""

import polars as pl

SCHEMA_VERSION = 1
"""Raised when a column changes its name, type or meaning."""

TABLES = ("words", "errors", "items")
"""In the order in which a shard is written: it is done when the last one is there."""

ERRORS = {
    "position": pl.Int64,
    "name": pl.String,
    "place": pl.String,
    "stage": pl.String,
    "error": pl.String,
    "reason": pl.String,
}
ITEMS = {
    "position": pl.Int64,
    "name": pl.String,
    "n_tokens": pl.Int32,
    "n_words": pl.Int32,
    "words_without_positions": pl.List(pl.String),
}
