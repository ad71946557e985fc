"""Dictionaries of each layer, with their controls, and what is found of each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool
from torch import Tensor

from slm_lens.features.autoencoder import SparseAutoencoder, random_sae, stream_site
from slm_lens.features.dashboard import mean_active
from slm_lens.features.measures import ModalityTags, encode_all, modality_tags, shuffled_tags
from slm_lens.features.settings import SAESettings
from slm_lens.features.train import train_sae
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.word_span import MODALITIES
from slm_lens.studies.features.options import FeaturesOptions
from slm_lens.studies.features.reads import Reads
from slm_lens.studies.features.rows import (
    constant,
    layer_row,
    tag_rows,
    variance_rows,
    with_words,
    word_rows,
)

Dictionary = Literal["batch_topk", "jumprelu", "random directions", "random weights"]


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
    of_tags = tag_rows(tags, shuffled, options)
    variance = [keys | row for row in variance_rows(sae, reads, layer, options)]
    purest, words, tops = word_rows(sae, reads, layer, options)
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
        features=with_words(numbers, purest).select(*constant(keys), pl.all()),
        layer_row=keys | layer_row(tags, of_tags, variance),
        of_tags=[keys | row for row in of_tags],
        variance=variance,
        purest=purest.select(*constant(keys), pl.all()),
        words=[keys | row for row in words],
    )


def is_tagged(tags: ModalityTags) -> Bool[Tensor, " d_sae"]:
    """Features that are neither rare nor dead."""
    return torch.tensor([t not in ("rare", "dead") for t in tags.tag])
