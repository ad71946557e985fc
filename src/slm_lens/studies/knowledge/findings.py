"""What the tables of the study say, in sentences."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from slm_lens.likelihood.trial_scores import CHANCE
from slm_lens.studies.knowledge.item_correlations import PARTIAL, POINT_BISERIAL, RANKS
from slm_lens.studies.knowledge.measured import RANDOM

_HEARD = ("S->S", "S->T")
_WHAT = {
    "subject": "the subject being transcribed (rank <= {k})",
    "subject_nearness": "how near the subject is to the top (-log rank)",
    "content": "the share of content words that are transcribed (rank <= {k})",
}


def findings(frames: Mapping[str, pl.DataFrame], norm: str, region: str, k: int) -> tuple[str, ...]:
    """Sentences with estimate, 95 % interval, control and n.

    Args:
        frames: tables of the study.
        norm: of the accuracies that are told.
        region: likewise.
        k: rank that counts as transcribed.

    Returns:
        The sentences: of each model its accuracies, transcription and correlations; then over
        models; then pairs.
    """
    headline = (pl.col("norm") == norm) & (pl.col("region") == region)
    accuracy = frames["accuracy"].filter(headline)
    gaps = frames["gaps"].filter(headline)
    told = list[str]()
    for model in _models(frames["transcription"]):
        told += _accuracies(accuracy, model, norm, region)
        told += _gaps(gaps, model)
        told.append(_transcription(frames["transcription"], model, k))
        told += _correlations(frames["correlations"], model, k)
    told += _across(frames["across_models"])
    told += _pairs(frames["pairs"])
    return tuple(told)


def interval(row: Mapping[str, Any], digits: int = 2) -> str:
    """An estimate with its interval.

    Args:
        row: has ``estimate`` (or ``recall``), ``low`` and ``high``.
        digits: behind the point.

    Returns:
        Such as "0.60 [0.55, 0.65]", or "0.60" without an interval.
    """
    estimate = row["estimate"] if "estimate" in row else row["recall"]
    if row["low"] is None:
        return f"{estimate:.{digits}f}"
    return f"{estimate:.{digits}f} [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"


def _models(table: pl.DataFrame) -> list[str]:
    return [m for m in table["model"] if not m.endswith(RANDOM)]


def _rows(table: pl.DataFrame, **of: str) -> list[dict[str, Any]]:
    return table.filter(*(pl.col(k) == v for k, v in of.items())).to_dicts()


def _accuracies(accuracy: pl.DataFrame, model: str, norm: str, region: str) -> Iterator[str]:
    parts = []
    rows = _rows(accuracy, model=model, grouping="all")
    for row in rows:
        (control,) = _rows(accuracy, model=model + RANDOM, grouping="all", setting=row["setting"])
        parts.append(f"{row['setting']} {interval(row)} (random weights {interval(control)})")
    yield (
        f"{model}: facts right, by prompt -> completion: {', '.join(parts)}; chance {CHANCE}, "
        f"n = {rows[0]['n_items']} items of {rows[0]['n_clusters']} subjects, {norm} over the "
        f"{'completion' if region == 'completion' else 'whole'}."
    )
    exposures = _rows(accuracy, model=model, grouping="exposure", setting="S->S")
    if exposures:
        listed = [f"{r['category']} {interval(r)} (n = {r['n_items']})" for r in exposures]
        yield (
            f"{model}, S->S, by whether the fact was spoken in training: {', '.join(listed)}; "
            f"chance {CHANCE}."
        )


def _gaps(gaps: pl.DataFrame, model: str) -> Iterator[str]:
    rows = [r for r in _rows(gaps, model=model) if r["settings"].startswith("T->T")]
    if rows:
        listed = [
            f"{r['settings']} {interval(r)}"
            + ("" if r["same_tokens_scored"] else " (other tokens)")
            for r in rows
        ]
        yield f"{model}: gap of accuracies on the same {rows[0]['n_items']} items: " + (
            f"{', '.join(listed)}."
        )


def _transcription(table: pl.DataFrame, model: str, k: int) -> str:
    (row,) = _rows(table, model=model)
    (control,) = _rows(table, model=model + RANDOM)
    of_items = ""
    if row["subjects_transcribed"] is not None:
        of_items = f" Of the items' subjects, {row['subjects_transcribed']:.2f} are."
    return (
        f"{model}: {interval(row)} of {row['n_words']} content words in {row['n_clips']} held-out "
        f"clips are transcribed (rank <= {k}) at layer {row['peak_layer']}; words of other clips "
        f"{row['shuffled_words']:.2f}; random weights {interval(control)}.{of_items}"
    )


def _correlations(table: pl.DataFrame, model: str, k: int) -> Iterator[str]:
    for setting in _HEARD:
        for words, what in _WHAT.items():
            rows = {r["statistic"]: r for r in _rows(table, model=model, setting=setting,
                                                     words=words)}  # fmt: skip
            if not rows:
                continue
            listed = [f"{name} {_told(rows[name])}" for name in (POINT_BISERIAL, RANKS, PARTIAL)]
            main = rows[POINT_BISERIAL]
            yield (
                f"{model}, {setting}: {_verdict(main)} between {what.format(k=k)} "
                f"and the fact being right: {', '.join(listed)}; n = {main['n_items']} items of "
                f"{main['n_clusters']} subjects."
            )


def _told(row: Mapping[str, Any]) -> str:
    if row["estimate"] is None:
        return f"not defined ({row['note']})"
    band = ""
    if row["shuffled_low"] is not None:
        band = f" (shuffled pairing {row['shuffled_low']:.2f} to {row['shuffled_high']:.2f})"
    return interval(row) + band


def _verdict(row: Mapping[str, Any]) -> str:
    """What the interval and the control allow to say."""
    if row["estimate"] is None:
        return "no correlation can be computed"
    if row["low"] is None:
        return f"no verdict ({row['note'] or 'no interval was asked for'}) on a correlation"
    if row["low"] <= 0 <= row["high"]:
        return "no correlation that differs from 0"
    if row["shuffled_low"] is not None and (
        row["shuffled_low"] <= row["estimate"] <= row["shuffled_high"]
    ):
        return "no correlation beyond that of shuffled pairings"
    return "positive correlation" if row["estimate"] > 0 else "negative correlation"


def _across(table: pl.DataFrame) -> Iterator[str]:
    for setting in dict.fromkeys(table["setting"]):
        rows = _rows(table, setting=setting)
        if any(r["estimate"] is None for r in rows):
            yield f"Over models, {setting}: no correlation ({rows[0]['note']})."
            continue
        listed = [f"{r['statistic']} {interval(r)}" for r in rows]
        yield (
            f"Over {rows[0]['n_models']} models, {setting}: peak recall and accuracy, "
            f"{', '.join(listed)}; resampled over models, clips and {rows[0]['n_items']} items."
        )


def _pairs(table: pl.DataFrame) -> Iterator[str]:
    rows = table.filter(pl.col("norm") == "mean", pl.col("region") == "all")
    for model in [m for m in dict.fromkeys(rows["model"]) if not m.endswith(RANDOM)]:
        listed = []
        for row in _rows(rows, model=model):
            (control,) = _rows(rows, model=model + RANDOM, set=row["set"], modality=row["modality"])
            listed.append(
                f"{row['set'] or 'pairs'} in {row['modality']} {interval(row)} (random weights "
                f"{interval(control)}, n = {row['n_trials']})"
            )
        yield f"{model}, pairs (mean over all tokens; chance {CHANCE}): {', '.join(listed)}."
