"""Steering with the features that stand best for a word to come, beside other features."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch

from slm_lens.features.autoencoder import SparseAutoencoder
from slm_lens.features.feature_steering import SteeredFeature, steer_features
from slm_lens.interventions.metrics import Within
from slm_lens.model.hooked import HookedSLM
from slm_lens.phases.bootstrap import Curve, resample_weights
from slm_lens.sequence.utterance import Utterance
from slm_lens.studies.features.data import FeatureData, first_units, halves
from slm_lens.studies.features.dictionaries import Found, is_tagged
from slm_lens.studies.features.options import FeaturesOptions


def choose_layer(words: pl.DataFrame, n_layers: int, options: FeaturesOptions) -> int:
    """The layer whose features are steered.

    Args:
        words: the table ``words``.
        n_layers: blocks of the model.
        options: a layer, if one was asked for.

    Returns:
        That one, or the one between embedding and last layer where most words have a feature of
        their own for the written word that comes next; of equal ones the lowest.

    Raises:
        ValueError: no dictionary was trained there.
    """
    next_words = words.filter(dictionary="batch_topk", modality="text", role="next")
    layers = [layer for layer in next_words["layer"].to_list() if 0 < layer <= n_layers]
    if options.steer_layer is not None:
        if options.steer_layer not in layers:
            raise ValueError(
                f"study features: got steer_layer={options.steer_layer}, expected one of {layers}, "
                "where there are dictionaries, above the embedding."
            )
        return options.steer_layer
    between = [layer for layer in layers if layer < n_layers] or layers
    if not between:
        raise ValueError(
            f"study features: got dictionaries of no layer from 1 to {n_layers}, expected one to "
            "steer at. Give layers=[...] with one above the embedding."
        )
    best = next_words.filter(pl.col("layer").is_in(between))
    return int(best.sort(["share", "layer"], descending=[True, False])["layer"][0])


def choose_features(
    model: HookedSLM, found: Found, data: FeatureData, n_steered: int
) -> list[tuple[SteeredFeature, int]]:
    """Features that stand best for the written word that comes next, each for another word.

    Args:
        model: knows the tokens of words.
        found: the dictionary.
        data: for the first units of words.
        n_steered: how many.

    Returns:
        The features with their dose and the word's tokens, and the word's most frequent first
        unit; those of highest F1 first.
    """
    unit_of = first_units(data.tagging)
    candidates = found.purest.filter(modality="text", role="next").drop_nulls("f1")
    sizes = found.features["mean_active"]
    tagged = is_tagged(found.tags)
    chosen: list[tuple[SteeredFeature, int]] = []
    for row in candidates.sort(["f1", "feature"], descending=[True, False]).iter_rows(named=True):
        feature, word = row["feature"], row["word"]
        tokens = model.vocab.word_tokens(word, model.word_policy)
        is_new = word not in {f.word for f, _ in chosen}
        if is_new and tokens and tagged[feature] and word in unit_of and row["f1"] > 0:
            chosen.append((SteeredFeature(feature, sizes[feature], word, tokens), unit_of[word]))
        if len(chosen) == n_steered:
            break
    return chosen


def steering_table(
    model: HookedSLM, found: Found, data: FeatureData, layer: int, options: FeaturesOptions
) -> pl.DataFrame:
    """All measurements under steering.

    Args:
        model: the model.
        found: the dictionary.
        data: held-out clips whose halves are prompts.
        layer: of the dictionary.
        options: prompts, doses and draws.

    Returns:
        Rows of `steer_features` with a column ``reading`` and the ``layer``; none where no feature
        stands for a word.
    """
    chosen = choose_features(model, found, data, options.n_steered)
    if not chosen:
        return pl.DataFrame()
    spoken, written = halves(data.held_out, options.n_prompts)
    features = [f for f, _ in chosen]
    by_unit = [SteeredFeature(f.feature, f.size, f.word, (unit,)) for f, unit in chosen]
    others = _others(found.sae, found, features, options)
    frames = []
    readings: list[tuple[str, list[Utterance], list[SteeredFeature], Within]] = [
        ("written", written, features, "full"),
        ("heard", spoken, features, "text"),
        ("spoken", spoken, by_unit, "full"),
    ]
    for reading, prompts, steered, within in readings:
        frame = steer_features(
            model, found.sae, steered, prompts, options.strengths, others=others, within=within
        )
        frames.append(frame.select(pl.lit(layer).alias("layer"), pl.lit(reading).alias("reading"),
                                   pl.all()))  # fmt: skip
    return pl.concat(frames)


def _others(
    sae: SparseAutoencoder,
    found: Found,
    features: Sequence[SteeredFeature],
    options: FeaturesOptions,
) -> torch.Tensor:
    """For each feature others at random: neither rare nor dead, and steered themselves by none."""
    pool = is_tagged(found.tags)
    pool[[f.feature for f in features]] = False
    numbers = pool.nonzero()[:, 0].numpy()
    if len(numbers) < options.n_draws:
        raise ValueError(
            f"study features: got {len(numbers)} other features of {sae.d_sae} for "
            f"n_draws={options.n_draws}, expected at least as many. Train for longer."
        )
    rng = np.random.default_rng(options.seed)
    drawn = [rng.choice(numbers, options.n_draws, replace=False) for _ in features]
    return torch.from_numpy(np.stack(drawn))


def dose_curves(steering: pl.DataFrame, options: FeaturesOptions) -> pl.DataFrame:
    """Mean effects by dose; intervals draw prompts.

    Args:
        steering: the table of all measurements.
        options: resamples and seed.

    Returns:
        One row for each reading and strength: ``effect`` with ``low`` and ``high`` of the features,
        ``control`` with ``control_low`` and ``control_high`` of the others, ``difference`` with
        ``difference_low`` and ``difference_high``, and counts.
    """
    per_prompt = steering.group_by(
        "layer", "reading", "strength", "prompt", "direction", maintain_order=True
    ).agg(pl.col("effect").mean())
    rows = []
    keys = ("layer", "reading", "strength")
    for (layer, reading, strength), of in per_prompt.group_by(*keys, maintain_order=True):
        wide = of.pivot("direction", index="prompt", values="effect")
        values = wide.select("feature", "random").to_numpy()
        both = np.column_stack([values, values[:, 0] - values[:, 1]])
        weights = resample_weights(len(both), options.n_bootstrap, options.seed)
        curve = Curve.of(both, np.arange(len(both)), weights)
        low, high = curve.interval()
        row = {"layer": layer, "reading": reading, "strength": strength}
        for i, name in enumerate(("effect", "control", "difference")):
            ends = ("low", "high") if i == 0 else (f"{name}_low", f"{name}_high")
            row[name] = float(curve.estimate[i])
            row |= {end: None if np.isnan(x[i]) else float(x[i])
                    for end, x in zip(ends, (low, high), strict=True)}  # fmt: skip
        rows.append(row | {"n_prompts": len(both), "n_features": steering["feature"].n_unique()})
    return pl.DataFrame(rows)
