"""The tables of a run, by kind; columns are described in docs/tables.md."""

from typing import Any

import polars as pl

SCHEMA_VERSION = 2
"""Raised when a table or column changes its name, type or meaning."""

ERRORS: dict[str, Any] = {
    "position": pl.Int64,
    "name": pl.String,
    "place": pl.String,
    "stage": pl.String,
    "error": pl.String,
    "reason": pl.String,
}
ITEMS: dict[str, Any] = {
    "position": pl.Int64,
    "name": pl.String,
    "n_tokens": pl.Int32,
    "n_words": pl.Int32,
    "words_without_positions": pl.List(pl.String),
}
ENGINES: dict[str, Any] = {"name": pl.String, "engine": pl.String, "why": pl.String}
COMMON = ("errors", "items")
"""Written after those of the kind; a shard is done when the last one is there."""

OF_KIND: dict[str, tuple[str, ...]] = {
    "phases": ("words",),
    "score": ("scores",),
    "patch": ("patching", "engines"),
    "trace": ("tracing", "prompts", "engines"),
    "cache": ("positions",),
}
"""Tables of each kind of run."""

ACTIVATIONS = "activations"
"""Folder of the tensors of a run of the kind ``cache``."""


def tables_of(kind: str) -> tuple[str, ...]:
    """Tables of a kind of run.

    Args:
        kind: which.

    Returns:
        Their names, in the order in which a shard is written.
    """
    return (*OF_KIND[kind], *COMMON)
