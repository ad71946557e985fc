"""Density of units, clip by clip and over all clips."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
from jaxtyping import Float

from slm_lens.model.hooked import HookedSLM
from slm_lens.phases.bootstrap import CONFIDENCE, resample_weights
from slm_lens.speech.unit_density import UnitDensity, entropy_bits, unit_density
from slm_lens.studies.units.clips import ReadClip
from slm_lens.studies.units.options import UnitsOptions

_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)

Sums = Mapping[str, Float[np.ndarray, " _"]]
_QUANTITIES: dict[str, tuple[str, Callable[[Sums], Float[np.ndarray, " _"]]]] = {
    "units per word": ("units", lambda s: s["n_units_in_words"] / s["n_words"]),
    "units per second": ("1/s", lambda s: s["n_units"] / s["duration_s"]),
    "frames per second": ("1/s", lambda s: s["n_frames"] / s["duration_s"]),
    "positions per second": ("1/s", lambda s: s["n_positions"] / s["duration_s"]),
    "text tokens per second": ("1/s", lambda s: s["n_text_tokens"] / s["duration_s"]),
    "words per second": ("1/s", lambda s: s["n_words"] / s["duration_s"]),
    "units after / frames before deduplication": ("", lambda s: s["n_units"] / s["n_frames"]),
    "entropy of a unit": ("bits", lambda s: s["entropy"]),
    "entropy a second": ("bits/s", lambda s: s["entropy"] * s["n_units"] / s["duration_s"]),
}
_COUNTS = ("n_words", "n_frames", "n_units", "n_units_in_words", "duration_s")


def density_tables(
    model: HookedSLM, clips: Sequence[ReadClip], options: UnitsOptions
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A row for each clip, and a row for each quantity over all clips.

    Args:
        model: whose units they are.
        clips: as it reads them.
        options: of the study.

    Returns:
        Quantities by clip, and their ratios of sums over clips with intervals.
    """
    counted = [unit_density(c.units, c.alignment, model.vocab.n_units()) for c in clips]
    sums = _sums(model, clips, counted)
    counts = np.stack([d.counts for d in counted]).astype(np.float64)
    each = {n: f(sums | {"entropy": entropy_bits(counts)}) for n, (_, f) in _QUANTITIES.items()}
    name = model.provenance.name
    by_clip = pl.DataFrame(
        {"model": [name] * len(clips), "clip": [c.name for c in clips]}
        | {n: sums[n] for n in (*_COUNTS, "n_positions", "n_text_tokens")}
        | {"n_distinct_units": [d.n_distinct for d in counted]}
        | each
    ).with_columns(pl.col("^n_.*$").cast(pl.Int64))
    weights = resample_weights(len(clips), options.n_bootstrap, options.seed)
    whole, drawn = (_over_clips(sums, counts, w) for w in (np.ones((1, len(clips))), weights))
    rows = []
    for quantity, (unit, _) in _QUANTITIES.items():
        low, high = np.quantile(drawn[quantity], _TAILS).tolist() if len(weights) else (None, None)
        estimate = float(whole[quantity][0])
        rows.append((name, quantity, unit, estimate, low, high, len(clips)))
    n_used = int((counts.sum(0) > 0).sum())
    rows.append((name, "units in use", f"of {counts.shape[1]}", n_used, None, None, len(clips)))
    columns = ["model", "quantity", "unit", "estimate", "low", "high", "n_clips"]
    types = dict(zip(columns, [pl.String] * 3 + [pl.Float64] * 3 + [pl.Int64], strict=True))
    return by_clip, pl.DataFrame(rows, schema=types, orient="row")


def _sums(
    model: HookedSLM, clips: Sequence[ReadClip], counted: Sequence[UnitDensity]
) -> dict[str, Float[np.ndarray, " clip"]]:
    encode = model.vocab.encode_text
    assert encode is not None, "a vocabulary with text encodes it"
    written = {w.word for c in clips for w in c.alignment}
    n_tokens = {word: len(encode(f" {word}")) for word in written}
    sums = {n: np.array([getattr(d, n) for d in counted], dtype=np.float64) for n in _COUNTS}
    n_positions = [sum(k == "speech" for k in c.utterance.sequence.kinds) for c in clips]
    sums["n_positions"] = np.array(n_positions, dtype=np.float64)
    n_text = [sum(n_tokens[w.word] for w in c.alignment) for c in clips]
    sums["n_text_tokens"] = np.array(n_text, dtype=np.float64)
    return sums


def _over_clips(
    sums: Sums, counts: Float[np.ndarray, "clip unit"], weights: Float[np.ndarray, "row clip"]
) -> dict[str, Float[np.ndarray, " row"]]:
    """Every quantity of weighted sums over clips."""
    weighted = {n: weights @ column for n, column in sums.items()}
    weighted["entropy"] = entropy_bits(weights @ counts)
    return {n: f(weighted) for n, (_, f) in _QUANTITIES.items()}
