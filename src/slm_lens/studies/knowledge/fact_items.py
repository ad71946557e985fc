"""`FactItem`: what the study asks of a model, whatever language it is in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from slm_lens.likelihood.trial import Trial
from slm_lens.model.hooked import HookedSLM
from slm_lens.organism.fact_trials import fact_trials
from slm_lens.sequence.utterance import Utterance
from slm_lens.sequence.word_span import Modality

Setting = Literal["S->S", "T->T", "S->T", "T->S"]
SETTINGS: tuple[Setting, ...] = get_args(Setting)
"""Modality of the prompt, then of the completion: speech or text."""

ORGANISM = "organism"
"""Name of the facts of the organism's own language."""

_SHORT: Mapping[Modality, str] = {"speech": "S", "text": "T"}


@dataclass(frozen=True, eq=False)
class FactItem:
    """A prompt with a right and a wrong completion, in some settings.

    Attributes:
        name: unique among the items.
        category: of the fact, such as "home".
        cluster: items with the same one are not independent, such as those about one subject.
        trials: by setting; every one knows where its completions begin.
        prompt: the spoken prompt by itself, with its words; items that share it share its name.
            None if nothing is spoken, so that nothing can be transcribed.
        subject: which of the prompt's words is the subject; None if that is not known.
        exposure: a label that tells facts apart by what the model was trained on; may be empty.

    Raises:
        ValueError: a subject that is no word of the prompt, or no trial.
    """

    name: str
    category: str
    cluster: str
    trials: Mapping[Setting, Trial]
    prompt: Utterance | None = None
    subject: int | None = None
    exposure: str = ""

    def __post_init__(self) -> None:
        n_words = 0 if self.prompt is None else len(self.prompt.sequence.words)
        if not self.trials or (self.subject is not None and not 0 <= self.subject < n_words):
            raise ValueError(
                f"FactItem {self.name!r}: got trials of {list(self.trials)} and subject="
                f"{self.subject} for a spoken prompt of {n_words} words, expected at least one "
                "setting, and the number of one of these words."
            )


def organism_items(model: HookedSLM, *, n_counterfactuals: int, seed: int) -> list[FactItem]:
    """Facts of the organism's language; a cluster is the facts about one subject.

    Args:
        model: an organism.
        n_counterfactuals: wrong words for each fact.
        seed: of voices and wrong words.

    Returns:
        The items.
    """
    return [
        FactItem(
            name=one.trials["speech", "speech"].name,
            category=one.fact.relation,
            cluster=one.fact.subject,
            trials={of_modalities(*m): trial for m, trial in one.trials.items()},
            prompt=one.prompt,
            subject=one.subject,
            exposure="spoken in training" if one.fact.spoken else "never spoken in training",
        )
        for one in fact_trials(model, n_counterfactuals=n_counterfactuals, seed=seed)
    ]


def of_modalities(prompt: Modality, completion: Modality) -> Setting:
    """Name of a setting.

    Args:
        prompt: modality of the prompt.
        completion: modality of the completion.

    Returns:
        Such as ``"S->T"``.
    """
    name = f"{_SHORT[prompt]}->{_SHORT[completion]}"
    return next(s for s in SETTINGS if s == name)
