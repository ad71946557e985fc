"""What one run of the grid gets right, item by item, so that runs can be compared in pairs.

The layer of a recall is chosen on other utterances than it is measured on: utterances are dealt
into two halves, and each half is read at the layer where the *other* half has its highest recall
above the control. So a model in which nothing is to be found is not given the best of its layers,
as a plain maximum would give it; and the control is read at the same layers. Control words come
from all utterances, those on which the layer was chosen among them, so that a model that names the
same few words everywhere lies a little *below* its control: the rule errs on the safe side.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from slm_lens.lens.word_lens import WordLens
from slm_lens.likelihood.trial_scores import TrialScores
from slm_lens.phases._words import Words

POOL_OF: Mapping[str, str] = {"current": "max", "next": "last"}
"""How a word's positions become one, as for the headlines of `Phases`."""


@dataclass(frozen=True, eq=False)
class Hits:
    """One measure of one run.

    Attributes:
        measure: such as ``"current_word_recall"``.
        values: ``[item]``: 1 for a hit, 0 for none, 0.5 for a tie.
        control: ``[item]``: the same for what there is nothing to find in: the mean over control
            words at the same place; for facts, the same answers after a prompt of another fact.
        cluster: ``[item]``: index of what is resampled (utterance, fact).
        n_clusters: how many there are.
        word: ``[item]``: index of the word, resampled as well: a model that maps each word to some
            other one at random is right about a few words wherever they occur. None for facts.
        layers: layers that were read, one for each half; empty for measures without layers.
    """

    measure: str
    values: np.ndarray
    control: np.ndarray
    cluster: np.ndarray
    n_clusters: int
    word: np.ndarray | None = None
    layers: tuple[int, ...] = ()

    @property
    def excess(self) -> np.ndarray:
        """``[item]``: what is above the control."""
        return self.values - self.control


def word_hits(word_lens: WordLens, target: str, *, k: int) -> Hits:
    """Recall of content words at layers chosen on the other half of the utterances.

    Args:
        word_lens: the word table, with control words.
        target: ``"current"`` or ``"next"``.
        k: rank among text rows that counts as a hit.

    Returns:
        One item for each content word that has a token and a control.

    Raises:
        ValueError: one half of the utterances has no such word, or there are no control words.

    Source:
        Ours; cross-fitting as in Chernozhukov et al. 2018, "Double/debiased machine learning".
    """
    words = Words.of(word_lens)
    pool = POOL_OF[target]
    ranks = words.numbers(f"rank_{target}_text_{pool}")
    control = words.hit_share(f"shuffled_{target}_text_{pool}", k) if word_lens.n_draws else None
    if control is None:
        raise ValueError(
            "word_hits: got a word table without control words, expected some. Read it with "
            "n_draws=20."
        )
    is_content = words.is_content if target == "current" else words.next_is_content
    counted = is_content & ~np.isnan(ranks).any(1) & ~np.isnan(control).any(1)
    hits, utterance = (ranks <= k)[counted].astype(np.float64), words.utterance[counted]
    layers = _layers_of_halves(hits - control[counted], utterance)
    chosen = np.array(layers)[utterance % 2]
    column = "word" if target == "current" else "next_word"
    names = words.frame.gather_every(words.n_layers)[column].str.to_lowercase().to_numpy()
    items = np.arange(len(hits))
    return Hits(
        f"{target}_word_recall",
        values=hits[items, chosen],
        control=control[counted][items, chosen],
        cluster=utterance,
        n_clusters=len(words.utterances),
        word=np.unique(names[counted], return_inverse=True)[1],
        layers=layers,
    )


def _layers_of_halves(excess: np.ndarray, utterance: np.ndarray) -> tuple[int, int]:
    """For even and for odd utterances, the layer where the others have their highest excess."""
    halves = [excess[utterance % 2 == half] for half in (1, 0)]
    if not all(map(len, halves)):
        raise ValueError(
            f"word_hits: got {len(halves[1])} and {len(halves[0])} content words in the two halves "
            "of the utterances, expected some in each: layers are chosen on one half for the "
            "other. Take more utterances."
        )
    first, second = (int(half.mean(0).argmax()) for half in halves)
    return first, second


def fact_hits(scores: TrialScores, control: TrialScores, measure: str) -> Hits:
    """Whether the right completion is likelier, trial by trial.

    Args:
        scores: of trials named ``fact|wrong answer``; those of one fact are resampled together.
        control: of trials of the same names, in which the same two completions follow a prompt
            that neither of them fits: what is left is a liking for one of them.
        measure: name of the measure.

    Returns:
        One item for each trial: mean log-likelihood a token over the completion.

    Raises:
        ValueError: the trials of the control are others.
    """
    outcomes, liking = _outcomes(scores), _outcomes(control)
    if outcomes["trial"].to_list() != liking["trial"].to_list():
        raise ValueError(
            f"fact_hits: got {len(outcomes)} trials and {len(liking)} of the control, expected the "
            "same names in the same order."
        )
    facts = outcomes["trial"].str.split("|").list.first().to_numpy()
    names, cluster = np.unique(facts, return_inverse=True)
    return Hits(
        measure,
        values=outcomes["outcome"].to_numpy(),
        control=liking["outcome"].to_numpy(),
        cluster=cluster,
        n_clusters=len(names),
    )


def _outcomes(scores: TrialScores) -> pl.DataFrame:
    """1 where the right completion is likelier, 0.5 for a tie."""
    margins = scores.margins(norm="mean", region="completion")
    sign = margins["margin"].sign()
    return margins.select("trial", outcome=0.5 + 0.5 * sign)
