"""What the tables of the study say, in sentences."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from slm_lens.studies.streams.options import StreamsOptions
from slm_lens.studies.streams.reading import (
    INTERRUPTED,
    NEXT_UNIT,
    NEXT_WORD,
    OLD_PLAN,
    PERCEPTION,
    TEXT_MASS,
)
from slm_lens.studies.streams.steering import ALL, COSTLY, MINUS_MU, MU
from slm_lens.studies.streams.tables import CONTROL, DIFFERENCES

Row = dict[str, Any]

_NO_HELP = "no difference: steering does not help"


def findings(frames: Mapping[str, pl.DataFrame], options: StreamsOptions) -> tuple[str, ...]:
    """Sentences with estimate, interval, control and n.

    Args:
        frames: tables of the study.
        options: of the study.

    Returns:
        The sentences, model by model.
    """
    found: list[str] = []
    for model in frames["first_word"]["model"].unique(maintain_order=True).to_list():
        of = {name: frame.filter(model=model) for name, frame in frames.items()}
        found += [f"{model}: {s}" for s in _of_model(of, options)]
    return tuple(found)


def _of_model(of: Mapping[str, pl.DataFrame], options: StreamsOptions) -> Iterator[str]:
    first = of["first_word"]
    band = of["inertia"].filter(pl.col("layer").is_null())["layers"][0]
    yield _perceives(_row(first, INTERRUPTED, PERCEPTION, options.within), band, options)
    yield _generates(first, band, options)
    yield from _carried(first, options)
    yield from _inertia(of["inertia"].filter(layers=band), options)
    for metric in of["chosen"]["metric"].unique(maintain_order=True).to_list():
        yield from _steering(of["chosen"].filter(metric=metric), options)


def _row(table: pl.DataFrame, condition: str, stream: str, within: str) -> Row:
    return table.filter(condition=condition, stream=stream, within=within).row(0, named=True)


def _verdict(row: Row, more: str, less: str, none: str) -> str:
    """Words for an interval above 0, below 0, and around it (or for none)."""
    if row["low"] is None or row["low"] <= 0 <= row["high"]:
        return none
    return more if row["low"] > 0 else less


def _of(row: Row) -> str:
    return f"n = {row['n_switches']} switches, {row['n_clips']} clips"


def _interval(low: float | None, high: float | None, digits: int = 3) -> str:
    if low is None or high is None:
        return "no interval"
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def _perceives(row: Row, band: str, options: StreamsOptions) -> str:
    if row["difference"] is None:
        return "perception after the switch could not be read (no word with a token and a control)."
    says = _verdict(
        row,
        "the word that is heard after the switch is more probable than another one",
        "the word that is heard after the switch is less probable than another one",
        "no difference: the word that is heard after the switch is as probable as another one",
    )
    return (
        f"{says}: affinity {row['estimate']:.3f} within {options.within} over its units, layers "
        f"{band}; a word of another clip at the same place {row['control']:.3f}; difference "
        f"{row['difference']:.3f} {_interval(row['low'], row['high'])} ({_of(row)}, "
        f"{row['n_word_types']} word types)."
    )


def _generates(first: pl.DataFrame, band: str, options: StreamsOptions) -> str:
    parts = []
    for stream, within in ((NEXT_WORD, options.within), (NEXT_UNIT, "full")):
        row = _row(first, INTERRUPTED, stream, within)
        if row["difference"] is not None:
            parts.append(
                f"{stream} {row['estimate']:.3f} (control {row['control']:.3f}, difference "
                f"{row['difference']:.3f} {_interval(row['low'], row['high'])})"
            )
    n = _of(_row(first, INTERRUPTED, NEXT_UNIT, "full"))
    return f"generation at the same positions, layers {band}: {'; '.join(parts)} ({n})."


def _carried(first: pl.DataFrame, options: StreamsOptions) -> Iterator[str]:
    for stream, within in (
        (PERCEPTION, options.within), (OLD_PLAN, options.within), (TEXT_MASS, "full"),
    ):  # fmt: skip
        rows = [_row(first, condition, stream, within) for condition in DIFFERENCES]
        if any(row["difference"] is None for row in rows):
            continue
        parts = [
            f"{_verdict(row, 'more than', 'less than', 'no difference from')} after {after} "
            f"({row['control']:.3f}), {row['difference']:+.3f} "
            f"{_interval(row['low'], row['high'])}"
            for row, after in zip(rows, ("speech", "nothing"), strict=True)
        ]
        yield (
            f"{stream} in the first word that is heard, {rows[0]['estimate']:.3f} after a text: "
            f"{'; '.join(parts)} ({_of(rows[0])})."
        )


def _inertia(rows: pl.DataFrame, options: StreamsOptions) -> Iterator[str]:
    by = {row["condition"]: row for row in rows.iter_rows(named=True)}
    cut, other = by[INTERRUPTED], by[CONTROL]
    if cut["length_positions"] is None:
        return
    shuffled = (
        "none could be drawn"
        if other["length_positions"] is None
        else f"{other['length_positions']:.1f} positions, {other['n_never']} of "
        f"{other['n_switches']} never"
    )
    yield (
        f"after the switch the plan from before it is ahead of what is heard for "
        f"{cut['length_positions']:.1f} positions {_ends(cut, 'positions', 1)}, "
        f"{cut['length_ms']:.0f} ms {_ends(cut, 'ms', 0)}, median "
        f"{_median(cut)}; never behind at {cut['n_never']} of {cut['n_switches']} switches "
        f"(counted as the {options.horizon} positions that are read at most). With another word in "
        f"place of the one that is heard: {shuffled}."
    )
    for condition, after in zip(DIFFERENCES, ("speech", "nothing"), strict=True):
        row, free = by[condition], by[DIFFERENCES[condition]]
        signs = {"low": row["positions_low"], "high": row["positions_high"]}
        says = _verdict(
            signs,
            "the text before the switch delays perception",
            "perception comes sooner after the text",
            "no difference: the text before the switch does not delay perception",
        )
        yield (
            f"{says} against the same units after {after}: {row['length_positions']:+.2f} "
            f"positions {_ends(row, 'positions', 2)}, {row['length_ms']:+.0f} ms "
            f"{_ends(row, 'ms', 0)} ({free['length_positions']:.1f} positions after {after}, "
            f"{free['n_never']} never; {_of(row)})."
        )


def _ends(row: Row, name: str, digits: int) -> str:
    return _interval(row[f"{name}_low"], row[f"{name}_high"], digits)


def _median(row: Row) -> str:
    return "never" if row["median_positions"] is None else f"{row['median_positions']:.1f}"


def _steering(rows: pl.DataFrame, options: StreamsOptions) -> Iterator[str]:
    every = {d: rows.filter(switches=ALL, direction=d) for d in (MU, MINUS_MU)}
    if any(r.is_empty() for r in every.values()):
        return
    mu = every[MU].row(0, named=True)
    low = mu["cost_low"]
    costs = "costs" if low is not None and low > 0 else "costs nothing that can be shown in"
    yield (
        f"the interruption {costs} {mu['metric']}: {mu['cost']:.3f} nats "
        f"{_ends(mu, 'cost', 3)} ({mu['uninterrupted']:.3f} after speech, {mu['interrupted']:.3f} "
        f"after text; {_of(mu)})."
    )
    which = ALL if mu["recovery"] is not None else COSTLY
    chosen = {d: rows.filter(switches=which, direction=d) for d in (MU, MINUS_MU)}
    if any(r.is_empty() for r in chosen.values()):
        yield f"no recovery of {mu['metric']} is given, since there is too little to divide by."
        return
    at = {d: r.row(0, named=True) for d, r in chosen.items()}
    yield _recovers(at, which, options)


def _recovers(at: Mapping[str, Row], which: str, options: StreamsOptions) -> str:
    mu, opposite = at[MU], at[MINUS_MU]
    over_zero = {"low": mu["effect_low"], "high": mu["effect_high"]}
    over_random = {"low": mu["over_random_low"], "high": mu["over_random_high"]}
    says = _verdict(over_zero, "steering helps", "steering harms", _NO_HELP)
    if says == "steering helps" and _verdict(over_random, "more", "", "") != "more":
        says = "steering helps no more than random vectors do:"
    part = "" if which == ALL else f" where the interruption costs {options.min_gap:g} nats or more"
    share = (
        "no recovery is given, since there is too little to divide by"
        if mu["recovery"] is None
        else f"recovery {mu['recovery']:.1%} "
        f"[{_percent(mu['recovery_low'])}, {_percent(mu['recovery_high'])}]"
    )
    return (
        f"{says} {mu['metric']}{part}: {mu['effect']:+.3f} nats {_ends(mu, 'effect', 3)}, {share}; "
        f"random vectors there {mu['random_there']:+.3f}, difference {mu['over_random']:+.3f} "
        f"{_ends(mu, 'over_random', 3)}; the opposite vector {opposite['effect']:+.3f} "
        f"{_ends(opposite, 'effect', 3)} ({_of(mu)}; layer and alpha from the other half of the "
        f"clips: {mu['cells']})."
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
