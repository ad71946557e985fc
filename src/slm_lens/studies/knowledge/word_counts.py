"""How often words occur in a model's training, which a correlation can hold fixed."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from slm_lens.organism.word_counts import training_word_counts
from slm_lens.sequence.function_words import word_type
from slm_lens.studies.knowledge.fact_items import ORGANISM

_READERS = {".csv": pl.read_csv, ".parquet": pl.read_parquet}


def read_word_counts(given: str | None, data: str) -> Mapping[str, int] | None:
    """Counts by word.

    Args:
        given: a table (``.csv`` or ``.parquet``) with the columns ``word`` and ``count``; None for
            the organism's training text where the organism's facts are asked, and else for none.
        data: what is asked.

    Returns:
        Counts of words in lower case, those of equal words added; None if they are not known.

    Raises:
        LookupError: there is no such table.
        ValueError: it has other columns, or counts that are no whole numbers above 0.
    """
    if given is None:
        return training_word_counts() if data == ORGANISM else None
    path = Path(given)
    if path.suffix not in _READERS or not path.is_file():
        raise LookupError(
            f"knowledge: got word_counts={given!r}, expected a file of {sorted(_READERS)} with the "
            "columns word and count."
        )
    table = _READERS[path.suffix](path)
    fits = {"word", "count"} <= set(table.columns)
    if not fits or not table["count"].dtype.is_integer() or (table["count"] < 1).any():
        raise ValueError(
            f"knowledge: {given} has the columns {table.schema}, expected word and count, the "
            "latter whole numbers above 0."
        )
    counts: dict[str, int] = {}
    for word, count in table.select("word", "count").iter_rows():
        counts[word_type(word)] = counts.get(word_type(word), 0) + count
    return counts
