"""Dictionaries of each layer, with their controls, and the rows of tables that tell of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from slm_lens.features.autoencoder import SparseAutoencoder, random_sae, stream_site
from slm_lens.features.dashboard import mean_active
from slm_lens.features.measures import (
    ModalityTags,
    encode_all,
    modality_tags,
    reconstruction_errors,
    shuffled_tags,
)
from slm_lens.features.settings import SAESettings
from slm_lens.features.states import PositionStates, balanced_positions, position_states
from slm_lens.features.train import train_sae
from slm_lens.features.words import (
    ROLES,
    Role,
    frequent_words,
    purest_words,
    shared_words,
    top_words,
    word_activations,
)
from slm_lens.model.hooked import HookedSLM
from slm_lens.phases.bootstrap import Curve, resample_weights
from slm_lens.sequence.word_span import MODALITIES, Modality
from slm_lens.studies.features.data import FeatureData
from slm_lens.studies.features.options import FeaturesOptions

Dictionary = Literal["batch_topk", "jumprelu", "random directions", "random weights"]
_TAGGED = ("speech", "text", "mixed")
_PLACES = {"all": ("speech", "text", "marker"), "speech": ("speech",), "text": ("text",),
           "marker": ("marker",)}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Reads:
    """States of one model: to train on, to tag on, to try on.

    Attributes:
        train: positions in the proportion of the training.
        tagging: all positions of the spoken and the written documents.
        held_out: all positions of the held-out documents.
        balanced: rows of `tagging` that tags go by: as many of speech as of text.
        n_clips: held-out clips, each in several documents; for resamples.
    """

    train: PositionStates
    tagging: PositionStates
    held_out: PositionStates
    balanced: Int[Tensor, " n_balanced"]
    n_clips: int


@dataclass(frozen=True, eq=False)
class Found:
    """A dictionary and what was found of it.

    Attributes:
        sae: the dictionary.
        tags: of its features.
        features: rows of the table ``features``.
        layer_row: row of the table ``layers``.
        of_tags: rows of the table ``tags``.
        variance: rows of the table ``variance``.
        purest: rows of the table ``feature_words``.
        words: rows of the table ``words``.
    """

    sae: SparseAutoencoder
    tags: ModalityTags
    features: pl.DataFrame
    layer_row: Mapping[str, Any]
    of_tags: Sequence[Mapping[str, Any]]
    variance: Sequence[Mapping[str, Any]]
    purest: pl.DataFrame
    words: Sequence[Mapping[str, Any]]


def read_all(
    model: HookedSLM, data: FeatureData, layers: Sequence[int], options: FeaturesOptions
) -> Reads:
    """All states of a model that the study needs.

    Args:
        model: the model.
        data: the utterances.
        layers: which layers.
        options: the proportion of speech, and the seed.

    Returns:
        The states.
    """
    chosen = balanced_positions(data.train, speech_share=options.speech_share, seed=options.seed)
    return Reads(
        train=position_states(model, data.train, layers, at=chosen),
        tagging=position_states(model, data.tagging.pure, layers),
        held_out=position_states(model, data.held_out.all, layers),
        balanced=balanced_positions(data.tagging.pure, seed=options.seed),
        n_clips=len(data.held_out.spoken),
    )


def dictionaries(
    model: HookedSLM,
    untrained: HookedSLM,
    reads: tuple[Reads, Reads],
    layer: int,
    options: FeaturesOptions,
    *,
    has_jump: bool,
) -> Iterator[tuple[Dictionary, Found]]:
    """Train the dictionaries of a layer, and the controls.

    Args:
        model: the model.
        untrained: the same with random weights.
        reads: states of both.
        layer: which layer.
        options: of the study.
        has_jump: whether a JumpReLU dictionary is trained, too.

    Yields:
        Name of the dictionary, and what was found.
    """
    d_sae = options.expansion * int(model.cfg.d_model)
    settings = SAESettings(d_sae=d_sae, k=options.k, n_steps=options.n_steps, seed=options.seed)
    own, other = reads
    states, site = own.train.at(layer), stream_site(model, layer)
    top = train_sae(states, settings, site=site)
    yield "batch_topk", look_at(top, "batch_topk", own, layer, options)
    if has_jump:
        jump = train_sae(states, replace(settings, architecture="jumprelu"), site=site)
        yield "jumprelu", look_at(jump, "jumprelu", own, layer, options)
    few = states[:: max(1, len(states) // 4096)]
    directions = random_sae(few, d_sae, k=options.k, seed=options.seed, site=site)
    yield "random directions", look_at(directions, "random directions", own, layer, options)
    site = stream_site(untrained, layer)
    of_other = train_sae(other.train.at(layer), settings, site=site)
    yield "random weights", look_at(of_other, "random weights", other, layer, options)


def look_at(
    sae: SparseAutoencoder, name: Dictionary, reads: Reads, layer: int, options: FeaturesOptions
) -> Found:
    """Measure a dictionary.

    Args:
        sae: the dictionary.
        name: what tables call it.
        reads: states of its model.
        layer: its layer.
        options: of the study.

    Returns:
        What was found.
    """
    keys = {"layer": layer, "dictionary": name}
    activations = encode_all(sae, reads.tagging.at(layer)[reads.balanced])
    is_speech = reads.tagging.of_kind("speech")[reads.balanced]
    tags = modality_tags(activations, is_speech, n_top=options.n_top)
    shuffled = shuffled_tags(
        activations, is_speech, n_top=options.n_top, n_shuffles=options.n_shuffles,
        seed=options.seed,
    )  # fmt: skip
    of_tags = _tag_rows(tags, shuffled, options)
    variance = [keys | row for row in _variance(sae, reads, layer, options)]
    purest, words, tops = _words(sae, reads, layer, options)
    numbers = pl.DataFrame(
        {
            "feature": np.arange(sae.d_sae),
            "tag": tags.tag,
            "speech_share": tags.speech_share.numpy(),
            "n_active": tags.n_active.numpy(),
            "density": (tags.n_active / len(is_speech)).numpy(),
            "mean_active": mean_active(activations).numpy(),
            **{f"top_{m}": tops[m] for m in MODALITIES},
        }
    ).with_columns(pl.col("speech_share").fill_nan(None))
    return Found(
        sae=sae,
        tags=tags,
        features=_with_words(numbers, purest).select(*_constant(keys), pl.all()),
        layer_row=keys | _layer_row(tags, of_tags, variance),
        of_tags=[keys | row for row in of_tags],
        variance=variance,
        purest=purest.select(*_constant(keys), pl.all()),
        words=[keys | row for row in words],
    )


def _constant(keys: Mapping[str, Any]) -> list[pl.Expr]:
    return [pl.lit(value).alias(name) for name, value in keys.items()]


def _variance(
    sae: SparseAutoencoder, reads: Reads, layer: int, options: FeaturesOptions
) -> list[dict[str, Any]]:
    """Explained variance and L0 on the held-out documents, by kind of position."""
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


def _tag_rows(
    tags: ModalityTags, shuffled: Int[Tensor, "n_shuffles 3"], options: FeaturesOptions
) -> list[dict[str, Any]]:
    """Share of each tag beside that under shuffled labels; intervals draw features."""
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


def _layer_row(
    tags: ModalityTags, of_tags: Sequence[Mapping[str, Any]], variance: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What the page tells of a dictionary."""
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


def _words(
    sae: SparseAutoencoder, reads: Reads, layer: int, options: FeaturesOptions
) -> tuple[pl.DataFrame, list[dict[str, Any]], dict[str, list[str]]]:
    """Words of features, how many words have a feature of their own, and top words."""
    found = word_activations(sae, reads.tagging, layer)
    frames, rows = [], []
    current: dict[Modality, tuple[pl.DataFrame, list[str]]] = {}
    for modality in MODALITIES:
        for role in ROLES:
            of: _Of = {"modality": modality, "role": role}
            frame = purest_words(found, **of)
            control = purest_words(found, **of, shuffle_seed=options.seed)
            frames.append(frame.select(*_constant(of), pl.all()))
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


def _with_words(features: pl.DataFrame, purest: pl.DataFrame) -> pl.DataFrame:
    """Features with the word that each stands for in either modality."""
    for modality in MODALITIES:
        names = {c: f"{c}_{modality}" for c in ("word", "f1", "auroc")}
        names["n_words"] = f"n_{modality}"
        of = purest.filter(modality=modality, role="current").select("feature", *names)
        features = features.join(of.rename(names), on="feature", how="left", maintain_order="left")
    return features


def is_tagged(tags: ModalityTags) -> Bool[Tensor, " d_sae"]:
    """Features that are neither rare nor dead."""
    return torch.tensor([t not in ("rare", "dead") for t in tags.tag])
