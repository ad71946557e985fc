"""What is trained, on what, for how long: one object, so that a run can be repeated exactly."""

from dataclasses import dataclass, replace

from slm_lens.organism.documents import Mixture


@dataclass(frozen=True)
class Stage:
    """One part of the training.

    Attributes:
        name: shown beside the progress bar.
        n_steps: optimiser steps.
        mixture: which documents.
        peak_learning_rate: AdamW's learning rate after the warm-up; it falls to a tenth of this
            along a cosine.
        text_learning_ratio: what was learned from text (the body and the text rows of the
            embedding) moves at this share of the learning rate; new rows move at the full rate.
        extended: whether the vocabulary has the speech units by then.
        warmup_steps: steps of linear warm-up.
        transcription_layer: layer whose logit lens is trained to name the spoken word, at the
            later half of its positions; None for none. Supervised transcription at a known
            place: for the positive control only.
    """

    name: str
    n_steps: int
    mixture: Mixture
    peak_learning_rate: float
    text_learning_ratio: float = 1.0
    extended: bool = True
    warmup_steps: int = 100
    transcription_layer: int | None = None


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a trained organism.

    Attributes:
        stages: in order; all stages on text alone come first.
        n_stories: spoken training stories.
        frame_rate_hz: frames per second that units are made of.
        d_model: width of the residual stream.
        n_layers: transformer layers.
        n_heads: attention heads.
        n_key_value_heads: key and value heads (grouped-query attention).
        d_mlp: width of the MLPs.
        n_rows: rows of a batch.
        n_positions: tokens in a row.
        seed: seed of weights and documents.
        embedding_std: standard deviation of fresh embedding rows. Large beside the usual 0.02, so
            that a word stays readable in the residual stream behind its own position.
        final_norm_gain: first value of the final norm's weight; keeps the tied logits small.
        betas: AdamW's.
        weight_decay: AdamW's, for all but the embedding.
    """

    stages: tuple[Stage, ...]
    n_stories: int = 12_000
    frame_rate_hz: float = 25.0
    d_model: int = 128
    n_layers: int = 8
    n_heads: int = 4
    n_key_value_heads: int = 2
    d_mlp: int = 384
    n_rows: int = 8
    n_positions: int = 256
    seed: int = 0
    embedding_std: float = 0.15
    final_norm_gain: float = 0.2
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.05


_TEXT = Stage("text", 500, Mixture(), peak_learning_rate=3e-3, extended=False)
_SWITCHING = Stage(
    "switching",
    4000,
    Mixture(text=0.2, interleaved=0.7, speech=0.1, mean_span_words=1.0),
    peak_learning_rate=4e-3,
    text_learning_ratio=0.5,
)
_SETTLING = Stage(
    "settling",
    1200,
    Mixture(text=0.2, interleaved=0.55, speech=0.25, mean_span_words=2.0),
    peak_learning_rate=2e-3,
    text_learning_ratio=0.5,
)
_TRANSCRIPTION = Stage(
    "transcription",
    800,
    Mixture(text=0.2, interleaved=0.35, speech=0.2, transcribed=0.25, mean_span_words=2.0),
    peak_learning_rate=2e-3,
    text_learning_ratio=0.5,
    transcription_layer=3,
)

ORGANISM = Recipe((_TEXT, _SWITCHING, _SETTLING))
CONTROL = replace(ORGANISM, stages=(*ORGANISM.stages, _TRANSCRIPTION))
SMOKE = Recipe(
    tuple(replace(s, n_steps=2) for s in CONTROL.stages),
    n_stories=20,
    d_model=32,
    n_layers=4,
    d_mlp=64,
    n_rows=2,
    n_positions=64,
)
RECIPES: dict[str, Recipe] = {"organism": ORGANISM, "organism-control": CONTROL, "smoke": SMOKE}
