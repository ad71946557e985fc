"""Rows of the study's tables."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.features.autoencoder import SparseAutoencoder
from slm_lens.features.measures import ModalityTags, encode_all, reconstruction_errors
from slm_lens.features.words import (
    ROLES,
    Role,
    frequent_words,
    purest_words,
    shared_words,
    top_words,
    word_activations,
)
from slm_lens.phases.bootstrap import Curve, resample_weights
from slm_lens.sequence.word_span import MODALITIES, Modality
from slm_lens.studies.features.options import FeaturesOptions
from slm_lens.studies.features.reads import Reads

_TAGGED = ("speech", "text", "mixed")
_PLACES = {"all": ("speech", "text", "marker"), "speech": ("speech",), "text": ("text",),
           "marker": ("marker",)}  # fmt: skip


def constant(keys: Mapping[str, Any]) -> list[pl.Expr]:
    """Columns of one value each.

    Args:
        keys: values by name.

    Returns:
        The columns.
    """
    return [pl.lit(value).alias(name) for name, value in keys.items()]


def variance_rows(
    sae: SparseAutoencoder, reads: Reads, layer: int, options: FeaturesOptions
) -> list[dict[str, Any]]:
    """Explained variance and L0 on the held-out documents, by kind of position.

    Args:
        sae: the dictionary.
        reads: states of its model.
        layer: its layer.
        options: resamples and seed.

    Returns:
        Rows of the table ``variance``; intervals draw clips.
    """
    states = reads.held_out.at(layer)
    activations = encode_all(sae, states)
    rendered = sae.decode(activations)
    clip = reads.held_out.utterance % reads.n_clips
    weights = resample_weights(reads.n_clips, options.n_bootstrap, options.seed)
    rows = []
    for place, kinds in _PLACES.items():
        where = reads.held_out.of_kind(*kinds)
        if where.sum() < 2 or (states[where] == states[where][0]).all():
            continue  # markers of one context alone do not vary
        errors = reconstruction_errors(states[where], rendered[where])
        sums = np.zeros((2, reads.n_clips))
        for row, part in zip(sums, (errors.left, errors.total), strict=True):
            np.add.at(row, clip[where].numpy(), part.numpy())
        low, high = _percentiles(1 - (weights @ sums[0]) / (weights @ sums[1]))
        rows.append(
            {
                "positions": place,
                "explained": errors.explained,
                "low": low,
                "high": high,
                "l0": (activations[where] > 0).sum(1).double().mean().item(),
                "n_positions": int(where.sum()),
                "n_clips": len(clip[where].unique()),
            }
        )
    return rows


def _percentiles(resamples: Float[np.ndarray, " n"]) -> tuple[float | None, float | None]:
    if not len(resamples):
        return None, None
    low, high = np.quantile(resamples, (0.025, 0.975))
    return float(low), float(high)


def tag_rows(
    tags: ModalityTags, shuffled: Int[Tensor, "n_shuffles 3"], options: FeaturesOptions
) -> list[dict[str, Any]]:
    """Share of each tag beside that under shuffled labels.

    Args:
        tags: of a dictionary's features.
        shuffled: counts under shuffled labels, as `shuffled_tags` has them.
        options: resamples and seed.

    Returns:
        Rows of the table ``tags``; intervals draw features.
    """
    n = tags.n_tagged
    of_tagged = np.array([t for t in tags.tag if t in _TAGGED])
    weights = resample_weights(max(n, 1), options.n_bootstrap, options.seed)
    rows = []
    for i, tag in enumerate(_TAGGED):
        is_it = (of_tagged == tag).astype(float)[:, None]
        curve = Curve.of(is_it, np.arange(n), weights) if n else None
        low, high = (_known(x[0]) for x in curve.interval()) if curve else (None, None)
        rows.append(
            {
                "tag": tag,
                "share": tags.counts[tag] / n if n else None,
                "low": low,
                "high": high,
                "shuffled": shuffled[:, i].double().mean().item() / n if n else None,
                "n_features": tags.counts[tag],
                "n_tagged": n,
                "n_positions": tags.n_positions,
            }
        )
    return rows


def layer_row(
    tags: ModalityTags, of_tags: Sequence[Mapping[str, Any]], variance: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What the page tells of a dictionary.

    Args:
        tags: of its features.
        of_tags: its rows of the table ``tags``.
        variance: its rows of the table ``variance``.

    Returns:
        A row of the table ``layers``.
    """
    at = {row["positions"]: row for row in variance}
    row: dict[str, Any] = {}
    for place in MODALITIES:
        row[f"explained_{place}"] = at[place]["explained"]
        row |= {f"{place}_{end}": at[place][end] for end in ("low", "high")}
    row |= {"l0": at["all"]["l0"]} | {str(t["tag"]): t["share"] for t in of_tags}
    mixed = of_tags[_TAGGED.index("mixed")]
    row |= {"mixed_low": mixed["low"], "mixed_high": mixed["high"]}
    row |= {"mixed_shuffled": mixed["shuffled"], "n_tagged": tags.n_tagged}
    return row | {"n_rare": tags.counts["rare"], "n_dead": tags.counts["dead"]}


def _known(x: float) -> float | None:
    return None if np.isnan(x) else float(x)


def word_rows(
    sae: SparseAutoencoder, reads: Reads, layer: int, options: FeaturesOptions
) -> tuple[pl.DataFrame, list[dict[str, Any]], dict[str, list[str]]]:
    """Words of features, how many words have a feature of their own, and top words.

    Args:
        sae: the dictionary.
        reads: states of its model.
        layer: its layer.
        options: the least F1, resamples and seed.

    Returns:
        Rows of the table ``feature_words``, rows of the table ``words``, and by modality the words
        at which each feature is most active.
    """
    found = word_activations(sae, reads.tagging, layer)
    frames, rows = [], []
    current: dict[Modality, tuple[pl.DataFrame, list[str]]] = {}
    for modality in MODALITIES:
        for role in ROLES:
            of: _Of = {"modality": modality, "role": role}
            frame = purest_words(found, **of)
            control = purest_words(found, **of, shuffle_seed=options.seed)
            frames.append(frame.select(*constant(of), pl.all()))
            own, by_chance = (_own(f, options.least_f1) for f in (frame, control))
            words = frequent_words(found, **of)
            chance = len({w for _, w in by_chance}) / len(words)
            row = _word_row({w for _, w in own}, words, chance, len(own), options)
            rows.append({**of, **row})
            if role == "current":
                current[modality] = frame, words
    (heard, of_heard), (read, of_read) = (current[m] for m in MODALITIES)
    words = sorted(set(of_heard) & set(of_read))
    shared, chance = shared_words(heard, read, words, least_f1=options.least_f1)
    n_features = len(_own(heard, options.least_f1) & _own(read, options.least_f1))
    both = _word_row(set(shared), words, chance, n_features, options)
    rows.append({"modality": "both", "role": "current"} | both)
    return pl.concat(frames), rows, {m: top_words(found, m) for m in MODALITIES}


class _Of(TypedDict):
    """Which occurrences, and which of their words."""

    modality: Modality
    role: Role


def _own(frame: pl.DataFrame, least_f1: float) -> set[tuple[int, str]]:
    """Features that stand for a word, with the word."""
    return set(frame.filter(pl.col("f1") >= least_f1).select("feature", "word").iter_rows())


def _word_row(
    found: set[str], words: Sequence[str], chance: float, n_features: int, options: FeaturesOptions
) -> dict[str, Any]:
    """Share of words with a feature of their own, beside chance; intervals draw words."""
    is_found = np.array([w in found for w in words], dtype=float)[:, None]
    weights = resample_weights(len(words), options.n_bootstrap, options.seed)
    curve = Curve.of(is_found, np.arange(len(words)), weights)
    low, high = (_known(x[0]) for x in curve.interval())
    return {
        "share": float(curve.estimate[0]),
        "low": low,
        "high": high,
        "chance": chance,
        "n_words": len(words),
        "n_features": n_features,
    }


def with_words(features: pl.DataFrame, purest: pl.DataFrame) -> pl.DataFrame:
    """Features with the word that each stands for in either modality.

    Args:
        features: one row for each.
        purest: rows of the table ``feature_words`` of the same dictionary.

    Returns:
        The features with further columns.
    """
    for modality in MODALITIES:
        names = {c: f"{c}_{modality}" for c in ("word", "f1", "auroc")}
        names["n_words"] = f"n_{modality}"
        of = purest.filter(modality=modality, role="current").select("feature", *names)
        features = features.join(of.rename(names), on="feature", how="left", maintain_order="left")
    return features
