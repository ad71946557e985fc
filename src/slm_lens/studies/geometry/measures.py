"""Cosines, distances and alignment of one model's states, by layer, for true and mismatched pairs.

| measure | of |
|---|---|
| ``cosine`` | means over all positions of the clip, and of its text |
| ``l2``, ``l2_relative`` | the same: Euclidean distance; divided by the mean of both norms |
| ``norm_speech``, ``norm_text`` | the same: Euclidean norms |
| ``word_cosine`` | means over the positions of each word |
| ``aps`` | speech positions by text tokens: Alignment Path Score |
| ``spearman`` | the same: order of the matches; 0 if all tokens match one position |

``..._centred``: less the mean of each modality, over utterances, words, or all positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.geometry.alignment_path import alignment_path
from slm_lens.geometry.paired import PairedStates, mean_of_spans
from slm_lens.geometry.similarity import centred, directions
from slm_lens.studies.geometry.mismatched import Items, Mismatches, mismatches

NORMS = ("norm_speech", "norm_text")
DISTANCES = ("l2", "l2_relative")
SIMILARITIES = (
    "cosine", "cosine_centred", "word_cosine", "word_cosine_centred", "aps", "aps_centred",
    "spearman", "spearman_centred",
)  # fmt: skip
MEASURES = (*SIMILARITIES, *DISTANCES, *NORMS)


@dataclass(frozen=True, eq=False)
class Measured:
    """One measure of one model.

    Attributes:
        matched: of clips, or words, with their own text, by layer.
        mismatched: mean over the texts of others; None where a measure is of one modality.
        utterance: index of the utterance of each row.
        word_type: number of the spelling of each row; None if rows are no words.
    """

    matched: Float[np.ndarray, "item layer"]
    mismatched: Float[np.ndarray, "item layer"] | None
    utterance: Int[np.ndarray, " item"]
    word_type: Int[np.ndarray, " item"] | None = None


def word_items(states: Sequence[PairedStates]) -> Items:
    """The words that have a position both spoken and written.

    Args:
        states: of all utterances.

    Returns:
        The words in order.
    """
    kept = [(u, k) for u, s in enumerate(states) for k, has in enumerate(s.has_positions) if has]
    table = np.array(kept, dtype=np.int64).reshape(-1, 2)
    return Items(table[:, 0], table[:, 1], tuple(states[u].words[k] for u, k in kept))


def word_states(
    states: Sequence[PairedStates],
) -> tuple[Float[Tensor, "layer item d_model"], Float[Tensor, "layer item d_model"]]:
    """Mean states of the words of `word_items`, spoken and written.

    Args:
        states: of all utterances.

    Returns:
        Both, in float64.
    """
    kept = [torch.tensor(s.has_positions) for s in states]
    speech = [mean_of_spans(s.speech, s.speech_spans[k]) for s, k in zip(states, kept, strict=True)]
    text = [mean_of_spans(s.text, s.text_spans[k]) for s, k in zip(states, kept, strict=True)]
    return torch.cat(speech, 1), torch.cat(text, 1)


def measure(
    states: Sequence[PairedStates], others: Sequence[Sequence[int]]
) -> Mapping[str, Measured]:
    """Every measure of one model.

    Args:
        states: of all utterances.
        others: the utterances whose texts are the control of each.

    Returns:
        By name, see above.
    """
    pairs = [(i, j) for i, of in enumerate(others) for j in of]
    by_utterance = Mismatches(np.array([i for i, _ in pairs]), np.array([j for _, j in pairs]))
    return {
        **_of_means(states, by_utterance),
        **_of_words(states, others),
        **_of_paths(states, by_utterance),
    }


def _of_means(states: Sequence[PairedStates], wrong: Mismatches) -> dict[str, Measured]:
    speech = torch.stack([s.speech.double().mean(1) for s in states], 1)
    text = torch.stack([s.text.double().mean(1) for s in states], 1)
    utterance = np.arange(len(states))
    own = Mismatches(utterance, utterance)
    norms = speech.norm(dim=-1), text.norm(dim=-1)

    def l2(pairs: Mismatches) -> Tensor:
        return (speech[:, pairs.item] - text[:, pairs.partner]).norm(dim=-1)

    def relative(pairs: Mismatches) -> Tensor:
        return l2(pairs) / (0.5 * (norms[0][:, pairs.item] + norms[1][:, pairs.partner]))

    found = {
        name: Measured(of(own).T.numpy(), _mean_by(of(wrong), wrong, len(states)), utterance)
        for name, of in (("l2", l2), ("l2_relative", relative))
    }
    for name, norm in zip(NORMS, norms, strict=True):
        found[name] = Measured(norm.T.numpy(), None, utterance)
    for name, x, y in (
        ("cosine", speech, text),
        ("cosine_centred", centred(speech), centred(text)),
    ):
        found[name] = _cosines(x, y, wrong, utterance)
    return found


def _of_words(
    states: Sequence[PairedStates], others: Sequence[Sequence[int]]
) -> dict[str, Measured]:
    """Cosines of words. Only words that have a partner count, for both kinds of pairs."""
    items = word_items(states)
    speech, text = word_states(states)
    wrong = mismatches(items, others)
    _, types = np.unique([w.casefold() for w in items.label], return_inverse=True)
    word_type = types[np.unique(wrong.item)]
    found = {}
    for name, x, y in (
        ("word_cosine", speech, text),
        ("word_cosine_centred", centred(speech), centred(text)),
    ):
        found[name] = replace(_cosines(x, y, wrong, items.utterance), word_type=word_type)
    return found


def _cosines(
    speech: Float[Tensor, "layer item d_model"],
    text: Float[Tensor, "layer item d_model"],
    wrong: Mismatches,
    utterance: Int[np.ndarray, " item"],
) -> Measured:
    x, y = directions(speech, "study 'geometry'"), directions(text, "study 'geometry'")
    kept = np.unique(wrong.item)
    apart = (x[:, wrong.item] * y[:, wrong.partner]).sum(-1)
    mismatched = _mean_by(apart, wrong, x.shape[1])[kept]
    return Measured((x * y).sum(-1).T.numpy()[kept], mismatched, utterance[kept])


def _mean_by(
    values: Float[Tensor, "layer pair"], pairs: Mismatches, n_items: int
) -> Float[np.ndarray, "item layer"]:
    """Mean over the partners of each item; NaN without any."""
    sums = np.zeros((n_items, len(values)))
    np.add.at(sums, pairs.item, values.T.numpy())
    counts = np.bincount(pairs.item, minlength=n_items)[:, None]
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def _of_paths(states: Sequence[PairedStates], wrong: Mismatches) -> dict[str, Measured]:
    utterance = np.arange(len(states))
    pairs = [*zip(utterance.tolist(), utterance.tolist(), strict=True)]
    pairs += zip(wrong.item.tolist(), wrong.partner.tolist(), strict=True)
    found = {}
    for ending, is_centred in (("", False), ("_centred", True)):
        values = np.stack(
            [_paths_of_layer(states, pairs, i, is_centred) for i in range(len(states[0].speech))]
        )  # [layer, pair, (score, order)]
        for column, name in enumerate(("aps", "spearman")):
            own, apart = values[:, : len(states), column], values[:, len(states) :, column]
            mismatched = _mean_by(torch.from_numpy(apart), wrong, len(states))
            found[name + ending] = Measured(own.T, mismatched, utterance)
    return found


def _paths_of_layer(
    states: Sequence[PairedStates], pairs: Sequence[tuple[int, int]], layer: int, is_centred: bool
) -> Float[np.ndarray, "pair 2"]:
    speech = layer_directions([s.speech[layer] for s in states], is_centred)
    text = layer_directions([s.text[layer] for s in states], is_centred)
    paths = [alignment_path(speech[i] @ text[j].T) for i, j in pairs]
    return np.array([[p.score, np.nan_to_num(p.monotonicity)] for p in paths])


def layer_directions(
    states: Sequence[Float[Tensor, "_ d_model"]], is_centred: bool
) -> list[Float[Tensor, "_ d_model"]]:
    """Directions of the states of one layer and modality.

    Args:
        states: of each utterance.
        is_centred: less their mean over all positions.

    Returns:
        Unit vectors of each utterance, in float64.
    """
    wide = torch.cat(list(states)).double()
    if is_centred:
        wide = wide - wide.mean(0)
    return list(directions(wide, "study 'geometry'").split([len(s) for s in states]))
