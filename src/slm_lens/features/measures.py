"""What a dictionary explains, how sparse it is, and which of its features are speech, text or both.

| quantity | is |
|---|---|
| explained variance | ``1 - sum |x - x'|^2 / sum |x - mean x|^2``, over the positions that count |
| L0 | active features of a position, on average |
| dead | never active at any of the positions |
| speech share | of a feature: share of speech among its ``n_top`` positions of highest activation |
| tag | speech from a share of 0.8 on, text up to 0.2, mixed between |
| rare | active at fewer than ``n_top`` positions: without a tag |

What a tag is worth shows in a balanced sample, in which a feature that does not care has a share of
a half, beside the tags of the same features under shuffled labels of modality.

Source: tags, Koriagin et al. 2026, arXiv:2606.10029 (second hand); balanced sample, rare features
and shuffled labels are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from slm_lens.features.autoencoder import SparseAutoencoder

Tag = Literal["speech", "text", "mixed", "rare", "dead"]
TAGS: tuple[Tag, ...] = get_args(Tag)

SPEECH_FROM, TEXT_UP_TO, N_TOP = 0.8, 0.2, 20
_CHUNK = 8192


def encode_all(
    sae: SparseAutoencoder, states: Float[Tensor, "n d_model"]
) -> Float[Tensor, "n d_sae"]:
    """Activations at many positions, a few thousand at a time.

    Args:
        sae: the dictionary.
        states: residual stream.

    Returns:
        Activations; ``4 * n * d_sae`` bytes.
    """
    return torch.cat([sae.encode(chunk) for chunk in states.split(_CHUNK)])


@dataclass(frozen=True, eq=False)
class Errors:
    """What is left over at each position, and what there was.

    Attributes:
        left: squared distance of the state and its rendering.
        total: squared distance of the state and the mean of the states.
    """

    left: Float[Tensor, " n"]
    total: Float[Tensor, " n"]

    @property
    def explained(self) -> float:
        """Explained variance: 1 for states rendered exactly, 0 for their mean instead of each."""
        return 1 - (self.left.sum() / self.total.sum()).item()


def reconstruction_errors(
    states: Float[Tensor, "n d_model"], rendered: Float[Tensor, "n d_model"]
) -> Errors:
    """How far renderings are from states, beside how far states are from their mean.

    Args:
        states: residual stream at the positions that count.
        rendered: what a dictionary makes of them.

    Returns:
        Squared distances, float64.

    Raises:
        ValueError: fewer than two states, or all the same: there is no variance.
    """
    if len(states) < 2 or (states == states[0]).all():
        raise ValueError(
            f"reconstruction_errors: got {len(states)} states that do not differ, expected at "
            "least two that do: there is no variance to explain."
        )
    given = states.double()
    left = (given - rendered.double()).pow(2).sum(1)
    return Errors(left, (given - given.mean(0)).pow(2).sum(1))


@dataclass(frozen=True, eq=False)
class ModalityTags:
    """Of what modality each feature is.

    Attributes:
        speech_share: share of speech among the top positions; NaN for rare and dead features.
        n_active: positions at which a feature is active.
        tag: of each feature.
        n_top: how many positions a tag goes by.
        n_positions: positions of the sample.
        n_speech: speech among them.
    """

    speech_share: Float[Tensor, " d_sae"]
    n_active: Int[Tensor, " d_sae"]
    tag: tuple[Tag, ...]
    n_top: int
    n_positions: int
    n_speech: int

    @property
    def counts(self) -> Mapping[Tag, int]:
        """How many features have each tag."""
        return {tag: self.tag.count(tag) for tag in TAGS}

    @property
    def n_tagged(self) -> int:
        """Features that are neither rare nor dead."""
        return sum(self.counts[tag] for tag in ("speech", "text", "mixed"))


def modality_tags(
    activations: Float[Tensor, "n d_sae"], is_speech: Bool[Tensor, " n"], *, n_top: int = N_TOP
) -> ModalityTags:
    """Tag features by the modality of the positions at which they are most active.

    Args:
        activations: of all features, at positions of speech and of text: best as many of either
            (`balanced_positions`).
        is_speech: True for speech, False for text.
        n_top: how many positions a tag goes by.

    Returns:
        The tags.

    Raises:
        ValueError: positions of one modality alone, or `n_top` is out of range.

    Source:
        Koriagin et al. 2026, arXiv:2606.10029 (second hand).
    """
    n, n_speech = len(is_speech), int(is_speech.sum())
    if not 0 < n_speech < n or not 1 <= n_top <= n:
        raise ValueError(
            f"modality_tags: got {n_speech} positions of speech among {n} and n_top={n_top}, "
            f"expected some of either modality, and n_top from 1 to {n}."
        )
    top = activations.topk(n_top, dim=0).indices
    n_active = (activations > 0).sum(0)
    share = is_speech[top].double().mean(0)
    share[n_active < n_top] = torch.nan
    tags: tuple[Tag, ...] = tuple(
        "dead" if active == 0 else "rare" if active < n_top else _tag(x)
        for active, x in zip(n_active.tolist(), share.tolist(), strict=True)
    )
    return ModalityTags(share.float(), n_active, tags, n_top, n, n_speech)


def shuffled_tags(
    activations: Float[Tensor, "n d_sae"],
    is_speech: Bool[Tensor, " n"],
    *,
    n_top: int = N_TOP,
    n_shuffles: int = 100,
    seed: int,
) -> Int[Tensor, "n_shuffles 3"]:
    """What tags the same features get where the labels of modality mean nothing.

    Args:
        activations: as in `modality_tags`.
        is_speech: likewise; shuffled among the positions.
        n_top: likewise.
        n_shuffles: how often labels are shuffled.
        seed: of the shuffles.

    Returns:
        How many features are tagged speech, text and mixed, in each shuffle.

    Raises:
        ValueError: as in `modality_tags`, or no shuffle.
    """
    if n_shuffles < 1:
        raise ValueError(f"shuffled_tags: got n_shuffles={n_shuffles}, expected at least 1.")
    tags = modality_tags(activations, is_speech, n_top=n_top)
    kept = tags.n_active >= n_top
    top = activations[:, kept].topk(n_top, dim=0).indices
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(n_shuffles):
        labels = is_speech[torch.randperm(len(is_speech), generator=generator)]
        n_speech = labels[top].sum(0)
        speech = int((n_speech >= SPEECH_FROM * n_top - 1e-9).sum())
        text = int((n_speech <= TEXT_UP_TO * n_top + 1e-9).sum())
        rows.append([speech, text, int(kept.sum()) - speech - text])
    return torch.tensor(rows)


def chance_of_tag(n_positions: int, n_speech: int, *, n_top: int = N_TOP) -> tuple[float, float]:
    """How likely a feature that does not care about modality is tagged speech, or text.

    Its top positions are then a draw without replacement from the sample.

    Args:
        n_positions: positions of the sample.
        n_speech: speech among them.
        n_top: how many positions a tag goes by.

    Returns:
        Probability of the tag speech, and of the tag text: hypergeometric tails.

    Raises:
        ValueError: counts that do not fit.
    """
    from scipy.stats import hypergeom

    if not 0 <= n_speech <= n_positions or not 1 <= n_top <= n_positions:
        raise ValueError(
            f"chance_of_tag: got {n_speech} of {n_positions} positions and n_top={n_top}, expected "
            "0 <= n_speech <= n_positions and 1 <= n_top <= n_positions."
        )
    of_tag: dict[Tag, float] = dict.fromkeys(TAGS, 0.0)
    for drawn in range(n_top + 1):
        of_tag[_tag(drawn / n_top)] += float(hypergeom.pmf(drawn, n_positions, n_speech, n_top))
    return of_tag["speech"], of_tag["text"]


def _tag(share: float) -> Tag:
    """The tag of a share; 1e-9 is for the rounding of shares such as 4/20."""
    if share >= SPEECH_FROM - 1e-9:
        return "speech"
    return "text" if share <= TEXT_UP_TO + 1e-9 else "mixed"
