"""The tables `cka` and `cka_rows`: every layer of speech with every layer of text.

Beside CKA stands the cosine of the same pairs across layers (less each modality's mean at each
layer), since CKA does not see where states lie. Intervals: delete-a-group jackknife over
utterances, because a resampled utterance would stand in the sample twice, and a state is like its
own copy.

Source: jackknife over groups, Kott 2001, "The delete-a-group jackknife", Journal of Official
Statistics 17(4).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.geometry.cka import layer_cka
from slm_lens.geometry.similarity import centred, directions
from slm_lens.studies.geometry.aligned import AlignedStates
from slm_lens.studies.geometry.mismatched import Mismatches, mismatches
from slm_lens.studies.geometry.options import GeometryOptions

_NORMAL = 1.959963984540054
"""Half the width of a 95 % interval in standard errors."""
_FEWEST = 4
"""Pairs that a debiased CKA needs."""

_CKA = {
    "model": pl.String, "align": pl.String, "estimator": pl.String, "speech_layer": pl.Int32,
    "text_layer": pl.Int32, "cka": pl.Float64, "low": pl.Float64, "high": pl.Float64,
    "shuffled": pl.Float64, "random": pl.Float64, "cosine": pl.Float64,
    "cosine_shuffled": pl.Float64, "cosine_random": pl.Float64, "n_states": pl.Int32,
    "n_shuffled": pl.Int32,
    "n_utterances": pl.Int32, "n_random": pl.Int32,
}  # fmt: skip
_ROWS = {
    "model": pl.String, "align": pl.String, "speech_layer": pl.Int32,
    "best_text_layer": pl.Int32, "lowest": pl.Int32, "highest": pl.Int32, "cka": pl.Float64,
    "shuffled": pl.Float64, "random": pl.Float64, "band_width": pl.Int32,
    "random_best_text_layer": pl.Int32, "random_band_width": pl.Int32,
    "best_by_cosine": pl.Int32, "cosine": pl.Float64, "cosine_shuffled": pl.Float64,
    "cosine_random": pl.Float64, "n_states": pl.Int32, "n_utterances": pl.Int32,
}  # fmt: skip

Map = Float[np.ndarray, "speech_layer text_layer"]


def cka_tables(
    model: str,
    aligned: AlignedStates,
    random: Sequence[tuple[Map, Map]],
    others: Sequence[Sequence[int]],
    options: GeometryOptions,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """CKA of all layers with all layers, and the best text layer of each speech layer.

    Args:
        model: its name.
        aligned: its states; utterances beyond `max_states` items are left out.
        random: what `layer_maps` gives for copies with random weights.
        others: the utterances whose texts are the control of each.
        options: of the study.

    Returns:
        `cka`, one row for each two layers, and `cka_rows`, one for each speech layer.
    """
    kept = _within(aligned, options.max_states)
    counts = {
        "n_states": len(kept.items.label),
        "n_utterances": len(np.unique(kept.items.utterance)),
    }
    pairs = _one_partner(mismatches(kept.items, others))
    maps = _maps(kept, random, pairs, options)
    parts = _without_groups(kept, options) if options.n_bootstrap else []
    low, high = _interval(maps["cka"], parts)
    keys = {"model": model, "align": options.align}
    cells = {**maps, "low": low, "high": high}
    rows = [
        {
            **keys, **counts, "estimator": options.estimator, "n_random": len(random),
            "speech_layer": i, "text_layer": j, "n_shuffled": len(pairs.item),
            **{name: _or_none(float(values[i, j])) for name, values in cells.items()},
        }
        for i, j in np.ndindex(maps["cka"].shape)
    ]  # fmt: skip
    best = [
        {**keys, **counts, **_best(i, maps, parts, options.band_share)}
        for i in range(len(maps["cka"]))
    ]
    return pl.DataFrame(rows, schema=_CKA), pl.DataFrame(best, schema=_ROWS)


def layer_cosine(
    speech: Float[Tensor, "speech_layer item d_model"],
    text: Float[Tensor, "text_layer item d_model"],
    pairs: Mismatches | None = None,
) -> Float[Tensor, "speech_layer text_layer"]:
    """Mean cosine of the same items across layers, less the mean of each layer.

    Args:
        speech: states.
        text: states of the same items.
        pairs: which items are put together instead, of those that were centred.

    Returns:
        For each two layers.
    """
    x = directions(centred(speech), "study 'geometry'")
    y = directions(centred(text), "study 'geometry'")
    if pairs is not None:
        x, y = x[:, pairs.item], y[:, pairs.partner]
    return torch.einsum("lid,mid->lm", x, y) / x.shape[1]


def band_width(row: Float[np.ndarray, " text_layer"], share: float) -> int:
    """Text layers that match a speech layer almost as well as the best one.

    Args:
        row: CKA with each text layer.
        share: of the highest one that still counts.

    Returns:
        How many there are, neighbours or not; 0 if the highest one is not above 0.
    """
    highest = np.nanmax(row)
    return int((row >= share * highest).sum()) if highest > 0 else 0


def _within(aligned: AlignedStates, max_states: int) -> AlignedStates:
    """Whole utterances from the first one on, until there are enough states."""
    utterance = aligned.items.utterance
    ends = np.searchsorted(utterance, np.unique(utterance), side="right")
    fitting = ends[ends <= max_states]
    if len(fitting) < 2:
        raise ValueError(
            f"study 'geometry': got max_states={max_states}, which holds {len(fitting)} whole "
            f"utterances of {ends[0]} words or tokens and more, expected at least two. Set it "
            "higher."
        )
    return aligned.first(int(fitting[-1]))


def layer_maps(aligned: AlignedStates, options: GeometryOptions) -> tuple[Map, Map]:
    """Two similarities of every speech layer and every text layer.

    Args:
        aligned: states; utterances beyond `max_states` items are left out.
        options: of the study.

    Returns:
        CKA, and the mean centred cosine.
    """
    kept = _within(aligned, options.max_states)
    cka = layer_cka(kept.speech, kept.text, estimator=options.estimator)
    return cka.numpy(), layer_cosine(kept.speech, kept.text).numpy()


def _maps(
    own: AlignedStates,
    random: Sequence[tuple[Map, Map]],
    wrong: Mismatches,
    options: GeometryOptions,
) -> dict[str, Map]:
    """CKA and cosine of all layers, of mismatched pairs, and of random weights; NaN for none."""
    speech, text = own.speech, own.text
    cka, cosine = layer_maps(own, options)
    maps: dict[str, Map] = {"cka": cka, "cosine": cosine}
    nothing = np.full(maps["cka"].shape, np.nan)
    for i, name in enumerate(("random", "cosine_random")):
        maps[name] = np.mean([both[i] for both in random], axis=0) if random else nothing
    maps["shuffled"] = maps["cosine_shuffled"] = nothing
    if len(wrong.item) >= _FEWEST:
        x, y = speech[:, wrong.item], text[:, wrong.partner]
        maps["shuffled"] = layer_cka(x, y, estimator=options.estimator).numpy()
        maps["cosine_shuffled"] = layer_cosine(speech, text, wrong).numpy()
    return maps


def _one_partner(pairs: Mismatches) -> Mismatches:
    """Each item once, with the nearest of its partners."""
    item, first = np.unique(pairs.item, return_index=True)
    return Mismatches(item, pairs.partner[first])


def _without_groups(aligned: AlignedStates, options: GeometryOptions) -> list[Map]:
    """CKA without each group of utterances in turn."""
    utterances = np.unique(aligned.items.utterance)
    drawn = np.random.default_rng(options.seed).permutation(len(utterances))
    group_of: Int[np.ndarray, " utterance"] = drawn % min(options.n_groups, len(utterances))
    of_item = group_of[np.searchsorted(utterances, aligned.items.utterance)]
    return [
        layer_cka(
            aligned.speech[:, of_item != g], aligned.text[:, of_item != g],
            estimator=options.estimator,
        ).numpy()
        for g in range(int(group_of.max()) + 1)
    ]  # fmt: skip


def _interval(estimate: Map, parts: Sequence[Map]) -> tuple[Map, Map]:
    if len(parts) < 2:
        nothing = np.full(estimate.shape, np.nan)
        return nothing, nothing
    left_out, n = np.stack(parts), len(parts)
    error = ((n - 1) / n * np.square(left_out - left_out.mean(0)).sum(0)) ** 0.5
    return estimate - _NORMAL * error, estimate + _NORMAL * error


def _best(layer: int, maps: dict[str, Map], parts: Sequence[Map], share: float) -> dict[str, Any]:
    row = {name: values[layer] for name, values in maps.items()}
    best, near = int(np.nanargmax(row["cka"])), int(row["cosine"].argmax())
    bests = [int(np.nanargmax(p[layer])) for p in parts]
    has_random = bool(np.isfinite(row["random"]).all())
    return {
        "speech_layer": layer,
        "best_text_layer": best,
        "lowest": min(bests) if bests else None,
        "highest": max(bests) if bests else None,
        **{name: _or_none(row[name][best]) for name in ("cka", "shuffled", "random")},
        "band_width": band_width(row["cka"], share),
        "random_best_text_layer": int(row["random"].argmax()) if has_random else None,
        "random_band_width": band_width(row["random"], share) if has_random else None,
        "best_by_cosine": near,
        **{n: _or_none(row[n][near]) for n in ("cosine", "cosine_shuffled", "cosine_random")},
    }


def _or_none(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None
