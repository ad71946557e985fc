"""What the tables of the study `units` say, in sentences."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from slm_lens.studies.units.alone import ALONE, SINGLE
from slm_lens.studies.units.options import UnitsOptions
from slm_lens.studies.units.rates import AGAIN, OWN, POOLED, UNITS_OWN, UNITS_REFIT

Row = Mapping[str, Any]


def findings(tables: Mapping[str, pl.DataFrame], options: UnitsOptions) -> tuple[str, ...]:
    """Sentences with estimates, intervals, controls and counts.

    Args:
        tables: of the study.
        options: of the study.

    Returns:
        Density, build-up, isolation and rates of each model, one after another.
    """
    found = []
    for name in tables["density"]["model"].unique(maintain_order=True):
        of = {n: t.filter(pl.col("model") == name) for n, t in tables.items()}
        found.append(_density(name, of["density"]))
        found += [_slope(row, options) for row in of["slopes"].iter_rows(named=True)
                  if (row["measure"], row["pool"]) == ("slope", "last")]  # fmt: skip
        found += [_before(row, options) for row in of["slopes"].iter_rows(named=True)
                  if (row["measure"], row["pool"], row["target"])
                  == ("whole word less before it", "max", "current")]  # fmt: skip
        found += _isolation(name, of["isolation"], options)
        found += _rates(name, of["rates"], options)
    alone = tables["rates"].filter(pl.col("reading") == UNITS_REFIT)
    if len(alone):
        found.append(
            f"Units alone, with centroids fitted at each rate and no model: recall@{options.k} "
            f"{_by_rate(alone)} ({alone['n_words'][0]} words)."
        )
    return tuple(found)


def _density(name: str, density: pl.DataFrame) -> str:
    rows = {row["quantity"]: row for row in density.iter_rows(named=True)}
    kept = rows["units after / frames before deduplication"]
    return (
        f"`{name}`: {_with(rows['units per word'])} units a word and "
        f"{_with(rows['units per second'])} units a second, where text has "
        f"{_with(rows['text tokens per second'])} tokens a second; deduplication leaves "
        f"{_with(kept)} of the frames, and a unit has {_with(rows['entropy of a unit'])} bits "
        f"({kept['n_clips']} clips)."
    )


def _slope(row: Row, options: UnitsOptions) -> str:
    verdict = {1: "more of the word heard, more recall", -1: "more heard, less recall"}.get(
        _sign(row), "no difference with what is heard"
    )
    return (
        f"`{row['model']}`, {row['target']} word at single positions of layer {row['layers']}: "
        f"{verdict}: recall@{options.k} {row['first_share']:.2f} at "
        f"{options.shares[1]:.0%} of the word and {row['whole_word']:.2f} at all of it (shuffled "
        f"words {row['shuffled_whole_word']:.2f}); slope above shuffled words {_with(row)} "
        f"({row['n_words']} words of {row['n_word_types']} types)."
    )


def _before(row: Row, options: UnitsOptions) -> str:
    verdict = {
        1: "hearing it adds to what was predicted",
        -1: "it was more readable before it was heard: what is read of it is largely prediction",
    }.get(_sign(row), "no difference from what was predicted before it was heard")
    return (
        f"`{row['model']}`, current word at layer {row['layers']}: {verdict}: recall@{options.k} "
        f"{row['before_word']:.2f} at the position before the word and {row['whole_word']:.2f} "
        f"over all of its units; difference above shuffled words {_with(row)} "
        f"({row['n_words']} words of {row['n_word_types']} types)."
    )


def _isolation(name: str, isolation: pl.DataFrame, options: UnitsOptions) -> list[str]:
    rows = {row["reader"]: row for row in isolation.iter_rows(named=True)}
    if not rows:
        return [f"`{name}`: no word that it reads has an example in another clip."]
    parts = []
    for reader, words in ((ALONE, "units alone"), (SINGLE, f"layer {rows[SINGLE]['layer']}")):
        row = rows[reader]
        by = "less than half ever are" if row["median_share"] is None else (
            f"half of the words by {row['median_share']:.0%} of them"
        )  # fmt: skip
        parts.append(f"{words}: {by}, {row['never']:.0%} never")
    return [
        f"`{name}`, isolated among the {options.k} best to the end of the word: "
        f"{'; '.join(parts)} ({rows[ALONE]['n_words']} words with an example in another clip)."
    ]


def _rates(name: str, rates: pl.DataFrame, options: UnitsOptions) -> list[str]:
    by = {reading: rates.filter(pl.col("reading") == reading) for reading in rates["reading"]}
    own = by[OWN].row(0, named=True)
    sentences = [
        f"`{name}`, current word over all of its units at layer {own['layer']} at its own "
        f"{own['rate_hz']:g} Hz: recall@{options.k} {_with(own, 'recall')}, shuffled words "
        f"{own['shuffled']:.2f} ({own['n_words']} words)"
    ]
    if AGAIN in by:
        sentences.append(
            "; units of other rates, which it never read (a shift of its input): "
            + _by_rate(by[AGAIN])
        )
    if POOLED in by:
        sentences.append(f"; states pooled over time: {_by_rate(by[POOLED])}")
    sentences.append(f"; units alone: {_by_rate(by[UNITS_OWN])}.")
    return ["".join(sentences)]


def _by_rate(rows: pl.DataFrame) -> str:
    return ", ".join(
        f"{row['recall']:.2f} at {row['rate_hz']:g} Hz (shuffled {row['shuffled']:.2f})"
        for row in rows.sort("rate_hz").iter_rows(named=True)
    )


def _sign(row: Row) -> int:
    """Whether the interval lies above 0, below it, or around it."""
    if row["low"] is None:
        return 0
    return int(row["low"] > 0) - int(row["high"] < 0)


def _with(row: Row, value: str = "estimate") -> str:
    estimate = f"{row[value]:.2f}"
    return estimate if row["low"] is None else f"{estimate} [{row['low']:.2f}, {row['high']:.2f}]"
