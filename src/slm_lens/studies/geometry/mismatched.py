"""The control of every comparison: the text of another clip of about as many words.

A clip and its text share more than meaning: both are long or both are short, and every word has
the same number in both. So each clip is compared with the texts that are nearest to its own in
number of words, and each word with the word of the same number there, if that is another word.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True, eq=False)
class Items:
    """Things that are paired over clip and text, such as words or text tokens.

    Attributes:
        utterance: index of the utterance of each item.
        number: place of each item in its utterance.
        label: what it says; items of one label are no control for each other.
    """

    utterance: Int[np.ndarray, " item"]
    number: Int[np.ndarray, " item"]
    label: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Mismatches:
    """Items put together with items of other utterances.

    Attributes:
        item: index of the item, rising; one that has several partners occurs several times.
        partner: index of another utterance's item of the same number, with another label.
    """

    item: Int[np.ndarray, " pair"]
    partner: Int[np.ndarray, " pair"]


def nearest_others(
    words: Sequence[tuple[str, ...]], n_mismatched: int, seed: int
) -> tuple[tuple[int, ...], ...]:
    """For each utterance, others of about as many words that say something else.

    Args:
        words: the words of each utterance.
        n_mismatched: how many others, at most.
        seed: decides among those equally near.

    Returns:
        Indices of others, the nearest first.

    Raises:
        ValueError: an utterance has no other that says something else.
    """
    generator = np.random.default_rng(seed)
    lengths = np.array([len(w) for w in words])
    said = [tuple(word.casefold() for word in w) for w in words]
    found = []
    for i, own in enumerate(said):
        order = generator.permutation(len(said))
        order = order[np.abs(lengths[order] - lengths[i]).argsort(kind="stable")]
        others = [int(j) for j in order if said[j] != own][:n_mismatched]
        if not others:
            raise ValueError(
                f"study 'geometry': got {len(said)} utterances, of which none says anything else "
                f"than number {i}, expected others as a control. Give clips of several sentences."
            )
        found.append(tuple(others))
    return tuple(found)


def mismatches(items: Items, others: Sequence[Sequence[int]]) -> Mismatches:
    """Items of the same number in other utterances.

    Args:
        items: words or tokens.
        others: as `nearest_others` gives them.

    Returns:
        The pairs; items without a partner do not occur.
    """
    places = list(zip(items.utterance.tolist(), items.number.tolist(), strict=True))
    at = {place: i for i, place in enumerate(places)}
    pairs = [
        (i, partner)
        for i, (u, k) in enumerate(places)
        for other in others[u]
        if (partner := at.get((other, k))) is not None
        and items.label[partner].casefold() != items.label[i].casefold()
    ]
    table = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return Mismatches(table[:, 0], table[:, 1])
