"""The tidy table of a `WordLens`."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from slm_lens.lens._read_words import MODALITIES, VOCABS, WordReadout
from slm_lens.lens.targets import WordTargets
from slm_lens.readout.pooling import POOLS

MEASURES = ("mass", "argmax", "top10")
CONTROLS = (
    "shuffled_current",
    "frequency_matched_current",
    "shuffled_next",
    "frequency_matched_next",
)


def build_table(
    names: Sequence[str], words: list[WordTargets], readouts: list[WordReadout]
) -> pl.DataFrame:
    """One row for each word and layer, in the order of the words.

    Args:
        names: names of the utterances.
        words: all words that were read.
        readouts: their numbers, utterance by utterance.

    Returns:
        The table that `WordLens` describes.
    """
    n_layers = readouts[0].shares.shape[1]
    per_word = _word_columns(names, words)
    repeated = per_word.select(pl.all().repeat_by(n_layers).explode())
    layer = pl.Series("layer", np.tile(np.arange(n_layers), len(words)), dtype=pl.Int32)
    columns = [layer]
    for vocab in VOCABS:
        for pool in POOLS:
            ranks = np.concatenate([r.ranks[vocab, pool] for r in readouts])
            columns += _rank_columns(ranks.reshape(-1, ranks.shape[-1]), vocab, pool)
    shares = np.concatenate([r.shares for r in readouts]).reshape(len(layer), -1)
    share_names = [f"{m}_{measure}" for measure in MEASURES for m in MODALITIES]
    columns += [pl.Series(n, shares[:, i]) for i, n in enumerate(share_names)]
    unit_rank = np.concatenate([r.unit_rank for r in readouts]).reshape(-1)
    columns.append(_ranks("rank_next_unit", unit_rank))
    for name in ("unit_reciprocal_rank", "unit_hit"):
        values = np.concatenate([r.__dict__[name] for r in readouts]).reshape(-1)
        public = {"unit_hit": "next_unit_hit"}.get(name, "reciprocal_rank_next_unit")
        columns.append(pl.Series(public, values).fill_nan(None))
    return repeated.hstack(columns)


def _word_columns(names: Sequence[str], words: list[WordTargets]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "utterance": [names[w.utterance] for w in words],
            "word_index": [w.word_index for w in words],
            "word": [w.span.word for w in words],
            "next_word": [w.next_word for w in words],
            "next_modality": [w.next_modality for w in words],
            "is_content": [w.is_content for w in words],
            "next_is_content": [w.next_is_content for w in words],
            "n_positions": [w.span.end - w.span.start for w in words],
            "n_targets_current": [len(w.current) for w in words],
            "n_targets_next": [len(w.following) for w in words],
            "next_targets_meet": [w.next_targets_meet for w in words],
        },
        schema={
            "utterance": pl.String,
            "word_index": pl.Int32,
            "word": pl.String,
            "next_word": pl.String,
            "next_modality": pl.String,
            "is_content": pl.Boolean,
            "next_is_content": pl.Boolean,
            "n_positions": pl.Int32,
            "n_targets_current": pl.Int32,
            "n_targets_next": pl.Int32,
            "next_targets_meet": pl.Boolean,
        },
    )


def _rank_columns(ranks: np.ndarray, vocab: str, pool: str) -> list[pl.Series]:
    """Columns of the ranks ``[row, n_sets]``; controls only within text."""
    columns = [
        _ranks(f"rank_current_{vocab}_{pool}", ranks[:, 0]),
        _ranks(f"rank_next_{vocab}_{pool}", ranks[:, 1]),
    ]
    if vocab != "text":
        return columns
    for name, draws in zip(CONTROLS, np.split(ranks[:, 2:], len(CONTROLS), axis=1), strict=True):
        known = (draws > 0).any(1) & (ranks[:, 0 if name.endswith("current") else 1] > 0)
        columns.append(_lists(draws, known).alias(f"{name}_{vocab}_{pool}"))
    return columns


def _lists(rows: np.ndarray, known: np.ndarray) -> pl.Series:
    """A list for each row, null where it is not known; through Arrow, as there are many."""
    offsets = np.concatenate([[0], np.cumsum(known * rows.shape[1])]).astype(np.int64)
    values = pa.array(rows[known].reshape(-1).astype(np.int32))
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), values, mask=pa.array(~known))
    return pl.Series(lists, dtype=pl.List(pl.Int32))


def _ranks(name: str, ranks: np.ndarray) -> pl.Series:
    """A column of ranks; 0 becomes null."""
    series = pl.Series(name, ranks, dtype=pl.Int32)
    return series.set(series == 0, None)
