"""Affinities around the switch, in the first word that is heard, and lags, with intervals."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from slm_lens.lens.affinity import NEVER, heard_seconds, lag
from slm_lens.phases.bootstrap import Curve, resample_weights
from slm_lens.phases.crossed_bootstrap import crossed_interval
from slm_lens.studies.streams.options import StreamsOptions
from slm_lens.studies.streams.reading import (
    ALONE,
    ANOTHER,
    INTERRUPTED,
    OLD_PLAN,
    PERCEPTION,
    TEXT_MASS,
    UNINTERRUPTED,
    Streams,
)

LESS_SPEECH, LESS_ALONE = "interrupted less uninterrupted", "interrupted less alone"
DIFFERENCES = {LESS_SPEECH: UNINTERRUPTED, LESS_ALONE: ALONE}
CONTROL = "another word heard"
"""Conditions besides those of the runs."""

_DECIMALS = 9
"""Of values that intervals are of: what is 0 but for rounding is 0."""


def affinity_table(model: str, streams: Streams, options: StreamsOptions) -> pl.DataFrame:
    """Mean affinity by condition, stream, subset, layer and position, with intervals over clips.

    Args:
        model: its name.
        streams: what was read.
        options: of the study.

    Returns:
        One row for each.
    """
    _, clip = np.unique(streams.clip, return_inverse=True)
    weights = resample_weights(int(clip.max()) + 1, options.n_bootstrap, options.seed)
    parts = []
    for (condition, stream, within), values in streams.values.items():
        if stream == ANOTHER:
            continue
        controls = streams.controls[condition, stream, within]
        layers, positions = np.indices(values.shape[1:]).reshape(2, -1)
        estimate, low, high, n = _means(values, clip, weights)
        control = _means(controls, clip, weights[:0])[0]
        parts.append(
            pl.DataFrame(
                {
                    "model": [model] * len(layers),
                    "condition": [condition] * len(layers),
                    "stream": [stream] * len(layers),
                    "within": [within] * len(layers),
                    "layer": layers,
                    "position": np.array(streams.positions)[positions],
                    "estimate": estimate,
                    "low": low,
                    "high": high,
                    "control": control,
                    "n_switches": n,
                }
            ).with_columns(pl.col("estimate", "low", "high", "control").fill_nan(None))
        )
    return pl.concat(parts)


def band_table(model: str, streams: Streams, options: StreamsOptions) -> pl.DataFrame:
    """Mean affinity over the band by condition, stream, subset and position.

    Args:
        model: its name.
        streams: what was read.
        options: of the study.

    Returns:
        One row for each, with its interval over clips.
    """
    averaged = replace(
        streams,
        values={k: streams.in_band(v)[:, None] for k, v in streams.values.items()},
        controls={k: streams.in_band(v)[:, None] for k, v in streams.controls.items()},
    )
    return affinity_table(model, averaged, options).drop("layer")


def _means(
    values: Float[np.ndarray, "switch layer pos"], clip: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean, ends of its interval and number of switches at each layer and position.

    Positions are taken one by one, since not all switches have all of them.
    """
    n_layers, n_positions = values.shape[1:]
    found = np.full((3, n_layers, n_positions), np.nan)
    n = np.zeros((n_layers, n_positions), dtype=np.int64)
    for position in range(n_positions):
        at = values[:, :, position]
        curve = Curve.of(at, clip, weights)
        found[0, :, position] = curve.estimate
        found[1:, :, position] = curve.interval()
        n[:, position] = curve.n_words
    estimate, low, high = found.reshape(3, -1)
    return estimate, low, high, n.reshape(-1)


def first_word_table(model: str, streams: Streams, options: StreamsOptions) -> pl.DataFrame:
    """Affinities over the units of the first word that is heard, in the band.

    Args:
        model: its name.
        streams: what was read.
        options: of the study.

    Returns:
        One row for each condition, stream and subset: the mean, that of its control, and their
        difference with its interval over clips and word types.
    """
    rows = []
    for (condition, stream, within), values in streams.values.items():
        if stream in (ANOTHER, TEXT_MASS):
            continue
        true = streams.in_first_word(streams.in_band(values))
        control = streams.in_first_word(
            streams.in_band(streams.controls[condition, stream, within])
        )
        row = {"model": model, "condition": condition, "stream": stream, "within": within}
        rows.append(row | _contrast(true, control, streams, options))
    compared = ((PERCEPTION, options.within), (OLD_PLAN, options.within), (TEXT_MASS, "full"))
    for (condition, other), (stream, within) in product(DIFFERENCES.items(), compared):
        both = [
            streams.in_first_word(streams.in_band(streams.values[c, stream, within]))
            for c in (INTERRUPTED, other)
        ]
        row = {"model": model, "condition": condition, "stream": stream, "within": within}
        rows.append(row | _contrast(both[0], both[1], streams, options))
    return pl.DataFrame(rows, schema=_FIRST_WORD)


def _contrast(
    true: Float[np.ndarray, " switch"],
    control: Float[np.ndarray, " switch"],
    streams: Streams,
    options: StreamsOptions,
) -> dict[str, Any]:
    known = ~(np.isnan(true) | np.isnan(control))
    difference = (true - control)[known].round(_DECIMALS)
    low = high = float("nan")
    if known.any():
        low, high = crossed_interval(
            difference,
            streams.clip[known],
            streams.word_type[known],
            n_bootstrap=options.n_bootstrap,
            seed=options.seed,
        )
    return {
        "estimate": _mean(true[known]),
        "control": _mean(control[known]),
        "difference": _mean(difference),
        "low": _known(low),
        "high": _known(high),
        "n_switches": int(known.sum()),
        "n_clips": len(np.unique(streams.clip[known])),
        "n_word_types": len(np.unique(streams.word_type[known])),
    }


def inertia_table(model: str, streams: Streams, options: StreamsOptions) -> pl.DataFrame:
    """Lags of every layer and of the band, in all conditions, differences, and a control.

    Args:
        model: its name.
        streams: what was read.
        options: of the study.

    Returns:
        One row for each.
    """
    n_layers = next(iter(streams.values.values())).shape[1]
    first, last = streams.band
    rows = []
    for layers in [(first, last), *((i, i) for i in range(n_layers))]:
        named = f"{first} to {last}" if layers == (first, last) else str(layers[0])
        one = None if layers == (first, last) else layers[0]
        found = {
            INTERRUPTED: _lags(streams, INTERRUPTED, PERCEPTION, layers, options),
            UNINTERRUPTED: _lags(streams, UNINTERRUPTED, PERCEPTION, layers, options),
            ALONE: _lags(streams, ALONE, PERCEPTION, layers, options),
            CONTROL: _lags(streams, INTERRUPTED, ANOTHER, layers, options),
        }
        for condition, row in _lag_rows(found, streams, options):
            at = {"model": model, "layers": named, "layer": one, "condition": condition}
            rows.append(at | row)
    return pl.DataFrame(rows, schema=_INERTIA)


def _lags(
    streams: Streams, condition: str, stream: str, layers: tuple[int, int], options: StreamsOptions
) -> Float[np.ndarray, " switch"]:
    perception, generation = (
        streams.after(streams.values[condition, s, options.within])[
            :, layers[0] : layers[1] + 1
        ].mean(1)
        for s in (stream, OLD_PLAN)
    )
    return lag(perception, generation, hold=options.hold)


def _lag_rows(
    found: dict[str, np.ndarray], streams: Streams, options: StreamsOptions
) -> Iterator[tuple[str, dict[str, Any]]]:
    """A row for each condition, and for differences of the runs, switch by switch."""
    n_read = (~np.isnan(streams.ends_s)).sum(1)
    capped = {c: np.minimum(lags, n_read) for c, lags in found.items()}
    seconds = {c: heard_seconds(lags, streams.ends_s) for c, lags in capped.items()}
    for condition, lags in found.items():
        yield condition, _lag_row(lags, capped[condition], seconds[condition], streams, options)
    for condition, other in DIFFERENCES.items():
        positions, time = (of[INTERRUPTED] - of[other] for of in (capped, seconds))
        yield condition, _lag_row(None, positions, time, streams, options)


def _lag_row(
    lags: np.ndarray | None,
    capped: np.ndarray,
    seconds: np.ndarray,
    streams: Streams,
    options: StreamsOptions,
) -> dict[str, Any]:
    row: dict[str, Any] = {"n_crossed": None, "n_never": None, "median_positions": None}
    known = ~np.isnan(capped)
    if lags is not None:
        never = np.isinf(lags)
        row |= {"n_crossed": int((known & ~never).sum()), "n_never": int(never.sum())}
        median = float(np.median(lags[known])) if known.any() else NEVER
        row["median_positions"] = median if np.isfinite(median) else None
    groups = streams.clip[known], streams.word_type[known]
    of = {"n_bootstrap": options.n_bootstrap, "seed": options.seed}
    for name, values in (("positions", capped[known]), ("ms", 1000 * seconds[known])):
        timed = ~np.isnan(values)
        low = high = float("nan")
        if timed.any():
            low, high = crossed_interval(
                values[timed].round(_DECIMALS), *(g[timed] for g in groups), **of
            )
        row |= {f"length_{name}": _mean(values[timed])}
        row |= {f"{name}_low": _known(low), f"{name}_high": _known(high)}
    return row | {"n_switches": int(known.sum()), "n_clips": len(np.unique(groups[0]))}


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


_FIRST_WORD = {
    **dict.fromkeys(("model", "condition", "stream", "within"), pl.String),
    **dict.fromkeys(("estimate", "control", "difference", "low", "high"), pl.Float64),
    **dict.fromkeys(("n_switches", "n_clips", "n_word_types"), pl.Int64),
}
_INERTIA = {
    "model": pl.String,
    "layers": pl.String,
    "layer": pl.Int64,
    "condition": pl.String,
    "length_positions": pl.Float64,
    "positions_low": pl.Float64,
    "positions_high": pl.Float64,
    "length_ms": pl.Float64,
    "ms_low": pl.Float64,
    "ms_high": pl.Float64,
    "median_positions": pl.Float64,
    "n_crossed": pl.Int64,
    "n_never": pl.Int64,
    "n_switches": pl.Int64,
    "n_clips": pl.Int64,
}
