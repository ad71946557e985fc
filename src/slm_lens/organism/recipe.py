"""What is trained, on what, for how long: one object, so that a run can be repeated exactly."""

from dataclasses import dataclass, field

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
    """

    name: str
    n_steps: int
    mixture: Mixture
    peak_learning_rate: float
    text_learning_ratio: float = 1.0
    extended: bool = True
    warmup_steps: int = 100


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a trained organism.

    Attributes:
        stages: in order; all stages on text alone come first.
        n_stories: spoken training stories.
        d_model: width of the residual stream.
        n_layers: transformer layers.
        n_heads: attention heads.
        n_key_value_heads: key and value heads (grouped-query attention).
        d_mlp: width of the MLPs.
        n_rows: rows of a batch.
        n_positions: tokens in a row.
        seed: seed of weights and documents.
    """

    stages: tuple[Stage, ...]
    n_stories: int = 12_000
    d_model: int = 128
    n_layers: int = 8
    n_heads: int = 4
    n_key_value_heads: int = 2
    d_mlp: int = 384
    n_rows: int = 16
    n_positions: int = 256
    seed: int = 0
    betas: tuple[float, float] = field(default=(0.9, 0.95))
    weight_decay: float = 0.05


_TEXT = Stage("text", 800, Mixture(), peak_learning_rate=2e-3)
