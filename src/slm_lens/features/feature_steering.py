"""What a feature does: its decoder row added to the stream, beside rows of other features.

``h' = h + strength * size * W_dec[feature]`` at the last position of a prompt, where ``size`` is
the mean activation of the feature where it is active: at strength 1 the stream has what the feature
usually brings. The log-probability of the word that it stands for is read from the last layer. The
same is done with rows of features drawn from the same dictionary, at the same length.

Source: adding multiples of a feature's usual activation, Koriagin et al. 2026, arXiv:2606.10029
(second hand; there the stream is replaced by what the changed activations decode to, at speech
positions); random features as the control are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.features.autoencoder import SparseAutoencoder
from slm_lens.interventions.metrics import Within, log_prob
from slm_lens.interventions.runs.measured_run import MeasuredRun, Meter, check_names, stream_at
from slm_lens.interventions.runs.patched_runs import Patch, PatchedRuns
from slm_lens.interventions.site import Site
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.model import LensModel
from slm_lens.sequence.utterance import Utterance


@dataclass(frozen=True)
class SteeredFeature:
    """A feature, how much of it is one dose, and what it ought to raise.

    Attributes:
        feature: its number.
        size: length of a dose: its mean activation where it is active.
        word: what it stands for, for tables.
        answer: token ids whose probability is read.
    """

    feature: int
    size: float
    word: str
    answer: tuple[int, ...]


def steer_features(
    model: LensModel,
    sae: SparseAutoencoder,
    features: Sequence[SteeredFeature],
    prompts: Sequence[Utterance],
    strengths: Sequence[float],
    *,
    others: Int[Tensor, "n_features n_draws"],
    within: Within = "full",
    memory_mb: float = 256.0,
) -> pl.DataFrame:
    """Log-probability of a feature's word by how much of the feature is added.

    Args:
        model: the model of the dictionary, in evaluation mode.
        sae: the dictionary, of a layer above the embedding.
        features: what is steered.
        prompts: what the model reads; steered at their last position.
        strengths: doses; negative ones take away.
        others: for each feature the numbers of other features, for the control.
        within: subset of the vocabulary that the softmax runs over.
        memory_mb: as in `PatchedRuns`.

    Returns:
        One row for each prompt, feature, strength and direction: ``direction`` is ``"feature"`` or
        ``"random"`` with its ``draw`` (null for the feature); ``value`` is the log-probability of
        the answer in nats, ``baseline`` that of the prompt as it is, ``effect`` the difference.

    Raises:
        ValueError: another model, no feature, prompt or strength, a prompt's name twice, a feature
            that the dictionary has not, no other features for each, or a dictionary of the
            embedding.
    """  # noqa: DOC502 (some raised by the checks)
    sae.require_model(model, "steer_features")
    check_names([MeasuredRun(p.name, p.sequence) for p in prompts], "steer_features")
    layer = _check(sae, features, strengths, others)
    site, lens = Site("resid_post", layer - 1), LogitLens(model)
    rows = []
    for prompt in prompts:
        engine = PatchedRuns(model, prompt.sequence.tokens, memory_mb=memory_mb)
        last = torch.tensor([len(prompt.sequence) - 1])
        state = stream_at(engine, site, last)
        for one, drawn in zip(features, others.tolist(), strict=True):
            run = MeasuredRun(prompt.name, prompt.sequence, answer=one.answer)
            meter = Meter(lens, run, {"log_prob": log_prob(within=within)}, engine.states[-1])
            doses = _doses(sae, one, drawn, strengths).to(state.device, state.dtype)
            cells = [[Patch(site, last, state + dose)] for dose in doses]
            values, baseline = meter.measure(engine, cells)[:, 0], meter.baseline[0].item()
            keys = [(s, d) for s in strengths for d in (None, *range(len(drawn)))]
            rows += [
                (prompt.name, one.feature, one.word, float(strength),
                 "feature" if draw is None else "random", draw, value, baseline, value - baseline)
                for (strength, draw), value in zip(keys, values.tolist(), strict=True)
            ]  # fmt: skip
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


_SCHEMA = {
    "prompt": pl.String,
    "feature": pl.Int64,
    "word": pl.String,
    "strength": pl.Float64,
    "direction": pl.String,
    "draw": pl.Int64,
    "value": pl.Float64,
    "baseline": pl.Float64,
    "effect": pl.Float64,
}


def _doses(
    sae: SparseAutoencoder, one: SteeredFeature, others: Sequence[int], strengths: Sequence[float]
) -> Float[Tensor, "n_cells 1 d_model"]:
    """What is added, by strength and then direction: the feature, then the others."""
    rows = sae.W_dec[[one.feature, *others]]
    rows = rows / rows.norm(dim=1, keepdim=True) * one.size
    scaled = torch.tensor(list(strengths)).float()[:, None, None] * rows
    return scaled.flatten(0, 1)[:, None]


def _check(
    sae: SparseAutoencoder,
    features: Sequence[SteeredFeature],
    strengths: Sequence[float],
    others: Int[Tensor, "n_features n_draws"],
) -> int:
    """The dictionary's layer.

    Raises:
        ValueError: what `steer_features` refuses.
    """
    if not sae.layer:
        raise ValueError(
            f"steer_features: got a dictionary of layer {sae.layer}, expected one of the output of "
            "a block, layer 1 or above."
        )
    numbers = [f.feature for f in features] + others.flatten().tolist()
    outside = [n for n in numbers if not 0 <= n < sae.d_sae]
    if not features or not len(strengths) or len(others) != len(features) or outside:
        raise ValueError(
            f"steer_features: got {len(features)} features, {len(strengths)} strengths, other "
            f"features of shape {tuple(others.shape)} and the numbers {outside[:4]}; expected at "
            "least one feature and strength, a row of other features for each, and numbers from 0 "
            f"to {sae.d_sae - 1}."
        )
    return sae.layer


def logit_effects(
    model: LensModel, directions: Float[Tensor, "n d_model"]
) -> Float[Tensor, "n d_vocab"]:
    """What directions of the last layer raise and lower directly.

    Args:
        model: the model.
        directions: such as rows of a decoder.

    Returns:
        For each token its logit along the direction, through the gain of the final norm and less
        the mean of all tokens; in units of the direction's length over the norm's scale. In lower
        layers it leaves out what later blocks make of the direction.

    Source:
        As in direct logit attribution, Elhage et al. 2021; the mean is taken out since a softmax
        does not see it.
    """
    from slm_lens.lens.final_norm import reading_directions

    rows = reading_directions(model, model.W_U.detach().T.float())
    effects = directions.to(rows.device).float() @ rows.T
    return (effects - effects.mean(1, keepdim=True)).cpu()
