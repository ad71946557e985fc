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
from slm_lens.studies.geometry.mismatched import mismatches
from slm_lens.studies.geometry.options import GeometryOptions

_NORMAL = 1.959963984540054
"""Half the width of a 95 % interval in standard errors."""

_CKA = {
    "model": pl.String, "align": pl.String, "estimator": pl.String, "speech_layer": pl.Int32,
    "text_layer": pl.Int32, "cka": pl.Float64, "low": pl.Float64, "high": pl.Float64,
    "shuffled": pl.Float64, "random": pl.Float64, "cosine": pl.Float64, "n_states": pl.Int32,
    "n_utterances": pl.Int32, "n_random": pl.Int32,
}  # fmt: skip
_ROWS = {
    "model": pl.String, "align": pl.String, "speech_layer": pl.Int32,
    "best_text_layer": pl.Int32, "lowest": pl.Int32, "highest": pl.Int32, "cka": pl.Float64,
    "shuffled": pl.Float64, "random": pl.Float64, "band_width": pl.Int32,
    "random_best_text_layer": pl.Int32, "random_band_width": pl.Int32,
    "best_by_cosine": pl.Int32, "cosine": pl.Float64, "n_states": pl.Int32,
    "n_utterances": pl.Int32,
}  # fmt: skip

Map = Float[np.ndarray, "speech_layer text_layer"]


def cka_tables(
    model: str,
    aligned: AlignedStates,
    random: Sequence[AlignedStates],
    others: Sequence[Sequence[int]],
    options: GeometryOptions,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """CKA of all layers with all layers, and the best text layer of each speech layer.

    Args:
        model: its name.
        aligned: its states; utterances beyond `max_states` items are left out.
        random: of copies with random weights.
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
    maps = {
        "cka": layer_cka(kept.speech, kept.text, estimator=options.estimator).numpy(),
        "shuffled": _shuffled(kept, others, options),
        "random": _random(random, options),
        "cosine": layer_cosine(kept.speech, kept.text).numpy(),
    }
    parts = _without_groups(kept, options) if options.n_bootstrap else []
    low, high = _interval(maps["cka"], parts)
    keys = {"model": model, "align": options.align}
    cells = {**maps, "low": low, "high": high}
    rows = [
        {
            **keys, **counts, "estimator": options.estimator, "n_random": len(random),
            "speech_layer": i, "text_layer": j,
            **{name: _or_none(values[i, j]) for name, values in cells.items()},
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
) -> Float[Tensor, "speech_layer text_layer"]:
    """Mean cosine of the same items across layers, less the mean of each layer.

    Args:
        speech: states.
        text: states of the same items.

    Returns:
        For each two layers.
    """
    x = directions(centred(speech), "study 'geometry'")
    y = directions(centred(text), "study 'geometry'")
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


def _shuffled(
    aligned: AlignedStates, others: Sequence[Sequence[int]], options: GeometryOptions
) -> Map:
    """CKA of each item's speech with the text of the first of its partners."""
    pairs = mismatches(aligned.items, others)
    item, first = np.unique(pairs.item, return_index=True)
    if len(item) < 4:
        return np.full((len(aligned.speech), len(aligned.text)), np.nan)
    speech, text = aligned.speech[:, item], aligned.text[:, pairs.partner[first]]
    return layer_cka(speech, text, estimator=options.estimator).numpy()


def _random(random: Sequence[AlignedStates], options: GeometryOptions) -> Map | None:
    """Mean CKA of models with random weights."""
    kept = [_within(a, options.max_states) for a in random]
    maps = [layer_cka(a.speech, a.text, estimator=options.estimator).numpy() for a in kept]
    return np.mean(maps, axis=0) if maps else None


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


def _best(
    layer: int, maps: dict[str, Map | None], parts: Sequence[Map], share: float
) -> dict[str, Any]:
    cka, cosine, random = maps["cka"], maps["cosine"], maps["random"]
    shuffled = maps["shuffled"]
    assert cka is not None
    assert cosine is not None
    assert shuffled is not None
    best = int(np.nanargmax(cka[layer]))
    near = int(cosine[layer].argmax())
    bests = [int(np.nanargmax(p[layer])) for p in parts]
    return {
        "speech_layer": layer,
        "best_text_layer": best,
        "lowest": min(bests) if bests else None,
        "highest": max(bests) if bests else None,
        "cka": float(cka[layer, best]),
        "shuffled": _or_none(shuffled[layer, best]),
        "random": None if random is None else _or_none(random[layer, best]),
        "band_width": band_width(cka[layer], share),
        "random_best_text_layer": None if random is None else int(random[layer].argmax()),
        "random_band_width": None if random is None else band_width(random[layer], share),
        "best_by_cosine": near,
        "cosine": float(cosine[layer, near]),
    }


def _or_none(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None
