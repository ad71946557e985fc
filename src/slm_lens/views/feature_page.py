"""Features of a dictionary on one offline page: numbers, histogram, examples that can be heard.

One feature is shown at a time, chosen from a list that can be ordered and narrowed. Its examples
are the utterances with its highest activations: words and units in the colour of the activation,
with the sound of the whole clip or of what is around the peak.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float
from torch import Tensor

from slm_lens.features.dashboard import FeatureDashboard
from slm_lens.views.page import Page, PageText, View
from slm_lens.views.sound import OPUS_RATES_HZ, Codec, encoded_sound, sound_data

_TOLD = (
    "tag",
    "speech_share",
    "density",
    "n_active",
    "mean_active",
    "top_speech",
    "top_text",
    "word_speech",
    "f1_speech",
    "auroc_speech",
    "n_speech",
    "word_text",
    "f1_text",
    "auroc_text",
    "n_text",
)
"""Columns that the page shows where a dashboard has them."""

_EXPLAINED = (
    "Features of a sparse autoencoder of the residual stream. The tag says at which positions a "
    "feature is most active: speech, text, or both (mixed).\n\n"
    "The histogram counts positions by activation, those without activity left out. Promoted and "
    "suppressed tokens are what the feature's direction raises and lowers in the logits directly, "
    "without what later blocks make of it. F1 and AUROC are those of the feature as a detector of "
    "a word, on other utterances than those that the word was chosen on.\n\n"
    "Examples are the held-out utterances with the highest activations; a click on a spoken word "
    "plays it."
)


def feature_page(
    dashboard: FeatureDashboard,
    clips: Mapping[str, tuple[Float[Tensor, " _"], int]],
    *,
    title: str = "Features",
) -> Page:
    """A page of features.

    Args:
        dashboard: what `slm_lens.feature_dashboard` gathered, or the study ``features`` wrote.
        clips: samples and sample rate in Hz of the spoken examples, by the name of the utterance;
            those without are silent.
        title: name of the page.

    Returns:
        The page.

    Raises:
        ValueError: there is no feature.
    """
    if dashboard.features.is_empty():
        raise ValueError("feature_page: got no feature, expected at least one.")
    view = feature_view(dashboard, clips)
    return Page([PageText("What is shown", _EXPLAINED), view], title=title)


def feature_view(
    dashboard: FeatureDashboard, clips: Mapping[str, tuple[Float[Tensor, " _"], int]]
) -> View:
    """The features as one view.

    Args:
        dashboard: as in `feature_page`.
        clips: likewise.

    Returns:
        The view.
    """
    names = dashboard.positions["utterance"].unique(maintain_order=True).to_list()
    heard = [name for name in names if name in clips]
    features = [_feature(row, dashboard, names) for row in dashboard.features.to_dicts()]
    n_examples = sum(len(f["examples"]) for f in features)
    return View(
        kind="features",
        data={
            "features": features,
            "utterances": [_utterance(name, dashboard, heard) for name in names],
            "sounds": [_sound(*clips[name]) for name in heard],
        },
        title="Features and what they are active at",
        description=(
            f"{len(features)} features with {n_examples} examples from {len(names)} utterances. "
            "Choose a feature; the darker a word or unit, the more active the feature is there."
        ),
        scripts=("player",),
    )


def _feature(
    row: Mapping[str, Any], dashboard: FeatureDashboard, names: list[str]
) -> dict[str, Any]:
    of = dashboard.activations.filter(feature=row["feature"])
    examples = [
        {
            "utterance": names.index(str(name)),
            "positions": rows["position"].to_numpy().astype(np.int32),
            "activations": rows["activation"].to_numpy().astype(np.float32),
        }
        for (name,), rows in of.group_by("utterance", maintain_order=True)
    ]
    return {
        "number": row["feature"],
        "peak": row["peak"],
        **{name: row[name] for name in _TOLD if name in row},
        "histogram": {kind: row[f"histogram_{kind}"] for kind in ("speech", "text")},
        **{
            name: [
                {"label": label, "logit": size}
                for label, size in zip(row[name], row[f"{name}_logit"], strict=True)
            ]
            for name in ("promoted", "suppressed")
        },
        "examples": examples,
    }


def _utterance(name: str, dashboard: FeatureDashboard, heard: list[str]) -> dict[str, Any]:
    positions = dashboard.positions.filter(utterance=name)
    words = dashboard.words.filter(utterance=name)
    spoken = (words["modality"] == "speech").any()
    return {
        "name": name,
        "modality": "speech" if spoken else "text",
        "sound": heard.index(name) if name in heard else None,
        "positions": positions.select("kind", "label", "unit", "word").to_dicts(),
        "words": words.select(
            pl.col("written"), pl.col("modality"), pl.col("start_s"), pl.col("end_s")
        ).to_dicts(),
    }


def _sound(waveform: Tensor, sample_rate_hz: int) -> dict[str, Any]:
    codec: Codec = "opus" if sample_rate_hz in OPUS_RATES_HZ else "flac"
    return sound_data(encoded_sound(waveform, sample_rate_hz, codec), codec)
