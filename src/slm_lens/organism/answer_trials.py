"""The organism's facts as trials in speech alone: right and wrong answers, each in one breath."""

from dataclasses import dataclass

import numpy as np
import torch

from slm_lens.likelihood.trial import Trial
from slm_lens.model.hooked import HookedSLM
from slm_lens.organism.corpus import (
    TRAINING_VOICES,
    SpokenStory,
    draw_voice,
    speak_sentences,
    to_spoken_story,
)
from slm_lens.organism.language import Fact, facts
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.speech.mfcc import MfccKMeans
from slm_lens.speech.synthesis import EspeakSynthesizer

_SEED = 6
_PLACES_AND_FOOD = ("weather", "taste")


@dataclass(frozen=True, eq=False)
class AnswerTrials:
    """Trials of one kind of fact, and what they are compared with.

    Attributes:
        trials: the right answer and a wrong one after the fact's own prompt.
        control: the same names and answers after the prompt of a fact of the same relation that
            neither answer fits. A model that knows nothing of the fact is right as often here.
    """

    trials: tuple[Trial, ...]
    control: tuple[Trial, ...]


def answer_trials(model: HookedSLM, *, n_wrong: int = 3) -> dict[str, AnswerTrials]:
    """Facts about animals with wrong answers, spoken.

    Args:
        model: an organism with its unit tokenizer.
        n_wrong: wrong answers for each fact.

    Returns:
        ``"spoken"`` and ``"never_spoken"`` (in training) facts. Trials are named ``relation:
        subject|wrong answer``; the completion begins with the answer's first unit.

    Raises:
        ValueError: the model has not the organism's kind of units.
    """
    units = model.unit_tokenizer
    if not isinstance(units, MfccKMeans):
        raise ValueError(
            f"answer_trials: {model.provenance.model_and_family} has "
            f"{type(units).__name__} as unit tokenizer, expected an organism's MfccKMeans."
        )
    synthesizer = EspeakSynthesizer()
    made: dict[str, tuple[list[Trial], list[Trial]]] = {}
    about_animals = [f for f in facts() if f.relation not in _PLACES_AND_FOOD]
    for i, fact in enumerate(about_animals):
        generator = np.random.default_rng([_SEED, i])
        voice = draw_voice(generator, TRAINING_VOICES)
        wrong = generator.permutation(fact.counterfactuals)[:n_wrong].tolist()
        prompts = (fact.prompt, _other_prompt(fact, wrong, about_animals, generator))
        for prompt, into in zip(prompts, made.setdefault(_kind(fact), ([], [])), strict=True):

            def say(answer: str, prompt: str = prompt, voice=voice) -> SpokenStory:
                clip = speak_sentences(
                    synthesizer, [f"{prompt} {answer}"], voice, units.sample_rate_hz
                )
                return to_spoken_story(clip, units)

            right = say(fact.answer)
            name = f"{fact.relation}: {fact.subject}"
            into += [_trial(model, f"{name}|{w}", _kind(fact), right, say(w)) for w in wrong]
    return {kind: AnswerTrials(tuple(own), tuple(other)) for kind, (own, other) in made.items()}


def _kind(fact: Fact) -> str:
    return "spoken" if fact.spoken else "never_spoken"


def _other_prompt(
    fact: Fact, wrong: list[str], among: list[Fact], generator: np.random.Generator
) -> str:
    """Prompt of a fact of the same relation that is completed by another word than all of these."""
    fitting = [
        f.prompt
        for f in among
        if f.relation == fact.relation and f.answer not in (fact.answer, *wrong)
    ]
    return fitting[int(generator.integers(len(fitting)))]


def _trial(model: HookedSLM, name: str, part: str, right: SpokenStory, wrong: SpokenStory) -> Trial:
    return Trial(
        name=name,
        part=part,
        right=_sequence(model, right),
        wrong=_sequence(model, wrong),
        right_start=1 + right.spans[-1][0],
        wrong_start=1 + wrong.spans[-1][0],
    )


def _sequence(model: HookedSLM, story: SpokenStory) -> SpeechTextSequence:
    """``<speech>`` and the units of a story."""
    units = torch.from_numpy(story.units.astype(np.int64))
    marker = torch.tensor([model.vocab.markers["speech"]])
    tokens = torch.cat([marker, model.vocab.unit_to_token(units)])
    kinds = ("marker",) + ("speech",) * len(story.units)
    return SpeechTextSequence(tokens, kinds, ())
