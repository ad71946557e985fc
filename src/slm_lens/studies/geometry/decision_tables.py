"""The tables `attention` and `gap`: where the deciding position looks, and whether it is right."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from slm_lens.phases.bootstrap import Curve, resample_weights
from slm_lens.sequence.word_span import MODALITIES
from slm_lens.studies.geometry.decisions import COVERED, HEADS, Decision

_ATTENTION = {
    "model": pl.String, "modality": pl.String, "heads": pl.String, "layer": pl.Int32,
    "coverage": pl.Float64, "low": pl.Float64, "high": pl.Float64, "uniform": pl.Float64,
    "largest": pl.Float64, "entropy": pl.Float64, "n_positions": pl.Float64,
    "n_prompts": pl.Int32, "n_utterances": pl.Int32,
}  # fmt: skip
_GAP = {
    "model": pl.String, "after_text": pl.Float64, "after_speech": pl.Float64,
    "gap": pl.Float64, "low": pl.Float64, "high": pl.Float64, "control_text": pl.Float64,
    "control_speech": pl.Float64, "word_cosine_excess": pl.Float64,
    "word_cosine_layer": pl.Int32, "aps_excess": pl.Float64, "aps_layer": pl.Int32,
    "coverage_ratio": pl.Float64, "n_prompts": pl.Int32, "n_utterances": pl.Int32,
}  # fmt: skip


def attention_table(
    model: str, found: Sequence[Decision], *, n_utterances: int, n_bootstrap: int, seed: int
) -> pl.DataFrame:
    """Spread of the deciding position's attention by layer.

    Args:
        model: its name.
        found: its decisions.
        n_utterances: how many there are.
        n_bootstrap: resamples of utterances.
        seed: of the resamples.

    Returns:
        Means over prompts. ``uniform`` is the coverage of attention to all positions alike.
    """
    weights = resample_weights(n_utterances, n_bootstrap, seed)
    rows: list[dict[str, Any]] = []
    for modality in MODALITIES:
        of = [d for d in found if d.modality == modality]
        if not of:
            continue
        utterance = np.array([d.utterance for d in of])
        spread = np.stack([d.spread for d in of])  # [prompt, layer, heads, measure]
        lengths = np.array([d.n_positions for d in of])
        uniform = np.mean([math.ceil(COVERED * n - 1e-9) for n in lengths])
        for h, heads in enumerate(HEADS):
            curve = Curve.of(spread[:, :, h, 0], utterance, weights)
            low, high = curve.interval()
            for layer, (_, largest, entropy) in enumerate(spread[:, :, h].mean(0)):
                rows.append(
                    {
                        "model": model, "modality": modality, "heads": heads, "layer": layer,
                        "coverage": float(curve.estimate[layer]), "low": float(low[layer]),
                        "high": float(high[layer]), "uniform": float(uniform),
                        "largest": float(largest), "entropy": float(entropy),
                        "n_positions": float(lengths.mean()), "n_prompts": len(of),
                        "n_utterances": len(set(utterance.tolist())),
                    }
                )  # fmt: skip
    table = pl.DataFrame(rows, schema=_ATTENTION)
    return table.with_columns(pl.col("low", "high").fill_nan(None))


def gap_table(
    model: str,
    found: Sequence[Decision],
    excess: pl.DataFrame,
    attention: pl.DataFrame,
    *,
    n_utterances: int,
    n_bootstrap: int,
    seed: int,
) -> pl.DataFrame:
    """Accuracy of the next word after text and after speech, beside the geometry.

    Args:
        model: its name.
        found: its decisions.
        excess: rows of the table `excess` of this model.
        attention: rows of the table `attention` of this model.
        n_utterances: how many there are.
        n_bootstrap: resamples of utterances.
        seed: of the resamples.

    Returns:
        One row; none without decisions.
    """
    right = {m: np.array([float(d.is_right) for d in found if d.modality == m]) for m in MODALITIES}
    if not len(right["text"]):
        return pl.DataFrame(schema=_GAP)
    utterance = np.array([d.utterance for d in found if d.modality == "text"])
    weights = resample_weights(n_utterances, n_bootstrap, seed)
    curve = Curve.of((right["text"] - right["speech"])[:, None], utterance, weights)
    (low,), (high,) = curve.interval()
    control = {
        m: [d.is_control for d in found if d.modality == m and d.is_control is not None]
        for m in MODALITIES
    }
    row = {
        "model": model,
        **{f"after_{m}": float(right[m].mean()) for m in MODALITIES},
        "gap": float(curve.estimate[0]),
        "low": float(low) if np.isfinite(low) else None,
        "high": float(high) if np.isfinite(high) else None,
        **{f"control_{m}": float(np.mean(c)) if c else None for m, c in control.items()},
        **_peak(excess, "word_cosine_centred", "word_cosine"),
        **_peak(excess, "aps_centred", "aps"),
        "coverage_ratio": _coverage_ratio(attention),
        "n_prompts": len(utterance),
        "n_utterances": len(set(utterance.tolist())),
    }
    return pl.DataFrame([row], schema=_GAP)


def _peak(excess: pl.DataFrame, measure: str, name: str) -> Mapping[str, Any]:
    rows = excess.filter(measure=measure).sort("estimate", descending=True)
    return {f"{name}_excess": rows["estimate"][0], f"{name}_layer": rows["layer"][0]}


def _coverage_ratio(attention: pl.DataFrame) -> float:
    """Coverage after speech over that after text, both averaged over layers."""
    of = attention.filter(heads=HEADS[0])
    speech, text = (of.filter(modality=m)["coverage"].to_numpy().mean() for m in MODALITIES)
    return float(speech / text)
