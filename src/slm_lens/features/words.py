"""Which words a feature stands for: spoken or written, the one that is read or the one to come.

Of every occurrence of a word, a feature has one number: its highest activation over the positions
of the word. A feature that is active at a word's occurrences and nowhere else has an F1 of 1. The
word of a feature is chosen in one half of the utterances, and its F1 and AUROC are measured in the
other half, for with many words and features the best of them fits by chance.

Source: ours; one feature as a classifier, Koriagin et al. 2026, arXiv:2606.10029 (second hand).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from slm_lens.features.autoencoder import SparseAutoencoder
from slm_lens.features.measures import encode_all
from slm_lens.features.states import PositionStates
from slm_lens.sequence.word_span import Modality

Role = Literal["current", "next"]
ROLES: tuple[Role, ...] = ("current", "next")


@dataclass(frozen=True, eq=False)
class WordActivations:
    """Highest activation of each feature at each occurrence of a word that has a position.

    Attributes:
        peak: highest activation over the occurrence's positions.
        word: the word of each occurrence.
        following: the word after it in its utterance; None after the last one.
        modality: whether it is spoken or written.
        utterance: number of its utterance.
    """

    peak: Float[Tensor, "n_words d_sae"]
    word: tuple[str, ...]
    following: tuple[str | None, ...]
    modality: tuple[Modality, ...]
    utterance: Int[Tensor, " n_words"]


def word_activations(sae: SparseAutoencoder, states: PositionStates, layer: int) -> WordActivations:
    """Activations by occurrence of words.

    Args:
        sae: the dictionary.
        states: utterances with words.
        layer: the layer of the dictionary, one of those of `states`.

    Returns:
        One row for each word that has at least one position.

    Raises:
        ValueError: the dictionary is of another layer, there is no word, or the states are not
            those of all positions.
    """
    if sae.layer not in (None, layer):
        raise ValueError(
            f"word_activations: got layer={layer} and a dictionary of layer {sae.layer}, expected "
            "the same."
        )
    lengths = torch.tensor([len(u.sequence) for u in states.utterances])
    if len(states) != lengths.sum():
        raise ValueError(
            f"word_activations: got states of {len(states)} of {int(lengths.sum())} positions, "
            "expected all: position_states without at."
        )
    activations = encode_all(sae, states.at(layer))
    starts = (lengths.cumsum(0) - lengths).tolist()
    peaks, rows = [], []
    for number, (one, start) in enumerate(zip(states.utterances, starts, strict=True)):
        words = one.sequence.words
        for w, after in zip(words, (*words[1:], None), strict=True):
            if w.start < w.end:
                peaks.append(activations[start + w.start : start + w.end].amax(0))
                rows.append((w.word, None if after is None else after.word, w.modality, number))
    if not rows:
        raise ValueError(
            f"word_activations: got {len(states.utterances)} utterances without words, expected "
            "word spans. Read clips with their alignments."
        )
    word, following, modality, utterance = zip(*rows, strict=True)
    return WordActivations(torch.stack(peaks), word, following, modality, torch.tensor(utterance))


def purest_words(
    found: WordActivations,
    *,
    modality: Modality,
    role: Role,
    n_least: int = 5,
    shuffle_seed: int | None = None,
) -> pl.DataFrame:
    """The word that each feature stands for best, and how well it does on other utterances.

    Args:
        found: activations by occurrence.
        modality: of the occurrences.
        role: ``"current"`` for the word that is read there, ``"next"`` for the one after it.
        n_least: occurrences that a word must have in either half of the utterances.
        shuffle_seed: for the control: words are shuffled among the occurrences first; None for the
            words as they are.

    Returns:
        One row for each feature: ``feature``, ``word`` (null for a feature that is never active in
        the first half), ``f1`` and ``auroc`` (null where it is never active in the second half),
        ``n_words`` (occurrences of the word in the second half) and ``n_others`` (the rest).

    Raises:
        ValueError: no word is frequent enough in both halves.

    Source:
        Ours.
    """
    rows, words = _labels(found, modality, role)
    if shuffle_seed is not None:
        words = np.random.default_rng(shuffle_seed).permutation(words)
    is_second = (found.utterance[rows] % 2 == 1).numpy()
    known = _frequent(words, is_second, n_least)
    if not known:
        raise ValueError(
            f"purest_words: got {len(rows)} {modality} occurrences of {len(set(words.tolist()))} "
            f"words, none with {n_least} in either half of the utterances, expected some. Read "
            "more utterances, or take a smaller n_least."
        )
    peak = found.peak[rows]
    of_word = torch.tensor(words[:, None] == np.array(known)[None])
    first, second = torch.tensor(~is_second), torch.tensor(is_second)
    best = _f1(peak[first] > 0, of_word[first]).max(0)
    return _scored(peak[second], of_word[second], best.indices, best.values > 0, known)


def frequent_words(
    found: WordActivations, *, modality: Modality, role: Role, n_least: int = 5
) -> list[str]:
    """Words that are frequent enough for a feature to stand for them.

    Args:
        found: activations by occurrence.
        modality: as in `purest_words`.
        role: likewise.
        n_least: likewise.

    Returns:
        The words, sorted.
    """
    rows, words = _labels(found, modality, role)
    return _frequent(words, (found.utterance[rows] % 2 == 1).numpy(), n_least)


def shared_words(
    spoken: pl.DataFrame, written: pl.DataFrame, known: Sequence[str], *, least_f1: float = 0.5
) -> tuple[list[str], float]:
    """Words for which one and the same feature stands, spoken and written.

    Args:
        spoken: what `purest_words` gave of spoken occurrences.
        written: the same of written ones.
        known: words that are frequent enough in either modality, at least two.
        least_f1: from which F1 on a feature stands for a word.

    Returns:
        The words; and the share of `known` that would be found by chance: that for which one
        feature stands for the word spoken and for another word written, averaged over all others.

    Raises:
        ValueError: fewer than two words.

    Source:
        Ours.
    """
    if len(known) < 2:
        raise ValueError(f"shared_words: got {len(known)} known words, expected at least two.")
    n_features = max(len(spoken), len(written))
    stands = np.zeros((2, n_features, len(known)), dtype=bool)
    column = {word: i for i, word in enumerate(known)}
    for of, frame in zip(stands, (spoken, written), strict=True):
        for feature, word in (
            frame.filter(pl.col("f1") >= least_f1).select("feature", "word").rows()
        ):
            if word in column:
                of[feature, column[word]] = True
    together = stands[0].T.astype(int) @ stands[1].astype(int) > 0  # spoken word, written word
    n = len(known)
    chance = (together.sum() - np.trace(together)) / (n * (n - 1))
    return [w for i, w in enumerate(known) if together[i, i]], float(chance)


def _labels(found: WordActivations, modality: Modality, role: Role) -> tuple[list[int], np.ndarray]:
    """Occurrences of a modality that have a label, and the labels."""
    labels = found.word if role == "current" else found.following
    each = enumerate(zip(found.modality, labels, strict=True))
    rows = [i for i, (m, w) in each if m == modality and w is not None]
    return rows, np.array([str(labels[i]) for i in rows], dtype=str)


def _frequent(words: np.ndarray, is_second: np.ndarray, n_least: int) -> list[str]:
    halves = [dict(zip(*np.unique(words[part], return_counts=True), strict=True))
              for part in (~is_second, is_second)]  # fmt: skip
    least = {str(w): min(n, halves[1].get(w, 0)) for w, n in halves[0].items()}
    return sorted(w for w, n in least.items() if n >= n_least)


def _scored(
    peak: Float[Tensor, "n_words d_sae"],
    of_word: Bool[Tensor, "n_words n_known"],
    chosen: Int[Tensor, " d_sae"],
    has_word: Bool[Tensor, " d_sae"],
    known: Sequence[str],
) -> pl.DataFrame:
    """F1 and AUROC of each feature for the word that was chosen for it."""
    each = torch.arange(peak.shape[1])
    f1 = _f1(peak > 0, of_word)[chosen, each]
    auroc = _auroc(peak, of_word)[chosen, each]
    counted = has_word & (peak > 0).any(0)
    n_of = of_word.sum(0)[chosen]

    def column(values: Tensor, where: Tensor) -> list[float | None]:
        return [x if w else None for x, w in zip(values.tolist(), where.tolist(), strict=True)]

    return pl.DataFrame(
        {
            "feature": each.numpy(),
            "word": [
                known[c] if h else None
                for c, h in zip(chosen.tolist(), has_word.tolist(), strict=True)
            ],
            "f1": column(f1, counted),
            "auroc": column(auroc, counted),
            "n_words": n_of.numpy(),
            "n_others": (len(peak) - n_of).numpy(),
        },
        schema_overrides={"word": pl.String, "f1": pl.Float64, "auroc": pl.Float64},
    )


def _f1(
    active: Bool[Tensor, "n_words d_sae"], of_word: Bool[Tensor, "n_words n_known"]
) -> Float[Tensor, "n_known d_sae"]:
    """F1 of "the feature is active" for "it is this word"; 0 where neither ever is."""
    hits = of_word.double().T @ active.double()
    either = of_word.sum(0)[:, None] + active.sum(0)[None]
    return torch.where(either > 0, 2 * hits / either.clamp(min=1), 0.0)


def _auroc(
    peak: Float[Tensor, "n_words d_sae"], of_word: Bool[Tensor, "n_words n_known"]
) -> Float[Tensor, "n_known d_sae"]:
    """Chance that an occurrence of the word has a higher activation than another; ties are half."""
    from scipy.stats import rankdata

    ranks = torch.from_numpy(rankdata(peak.numpy(), axis=0))
    n_of = of_word.sum(0).double()[:, None]
    above = of_word.double().T @ ranks - n_of * (n_of + 1) / 2
    return above / (n_of * (len(peak) - n_of))


def top_words(
    found: WordActivations, modality: Modality, *, n_words: int = 3, n_least: int = 3
) -> list[str]:
    """Words at whose occurrences each feature is most active on average.

    Args:
        found: activations by occurrence.
        modality: of the occurrences.
        n_words: how many words.
        n_least: occurrences that a word must have.

    Returns:
        For each feature its words with spaces between them, the highest first; empty where it is
        not active.
    """
    rows = [i for i, m in enumerate(found.modality) if m == modality]
    words = np.array([found.word[i] for i in rows])
    known = [w for w in sorted(set(words.tolist())) if (words == w).sum() >= n_least]
    if not known:
        return [""] * found.peak.shape[1]
    of_word = torch.tensor(words[:, None] == np.array(known)[None]).double()
    means = (of_word.T @ found.peak[rows].double()) / of_word.sum(0)[:, None]
    best = means.topk(min(n_words, len(known)), dim=0)
    return [
        " ".join(known[w] for w, x in zip(ids, xs, strict=True) if x > 0)
        for ids, xs in zip(best.indices.T.tolist(), best.values.T.tolist(), strict=True)
    ]
