"""Facts of the organism's language in the shape of Common-Sense Facts Audio, in four settings.

A fact is a prompt with its right completion and, as counterfactual, another word of its kind.
Prompt and completion may each be spoken or written:

* spoken, spoken: prompt and completion are spoken in one breath, once for each side, and encoded
  as one clip;
* spoken, written: the prompt is spoken in one breath with a *third* word of the kind, and cut
  before it, so that it carries no trace of either completion (see `slm_lens.organism.fact_runs`);
* written, written: one text, in which no marker announces the completion: the organism never read
  ``<text>`` after text;
* written, spoken: the completion is cut from the clip of the first setting.

The spoken prompt whose words are read is that of the second setting.

Source: ours; facts after Sternberg et al. 2026, arXiv:2606.22473.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slm_lens.lens.model import require_vocabulary
from slm_lens.likelihood.joining import Joined, join_segments, join_speech
from slm_lens.likelihood.trial import Trial
from slm_lens.model.hooked import HookedSLM
from slm_lens.organism.corpus import TRAINING_VOICES, draw_voice, speak_sentences
from slm_lens.organism.fact_runs import without_last_word
from slm_lens.organism.language import RELATIONS, Fact, facts
from slm_lens.sequence.spans import word_unit_spans
from slm_lens.sequence.utterance import Utterance
from slm_lens.sequence.word_span import Modality
from slm_lens.speech.alignment import Alignment
from slm_lens.speech.synthesis import EspeakSynthesizer, Voice
from slm_lens.speech.units import Units

_TRIAL_SEED = 8


@dataclass(frozen=True, eq=False)
class FactTrials:
    """A fact and a counterfactual of it.

    Attributes:
        fact: the fact.
        counterfactual: the wrong word.
        prompt: the prompt, spoken, with its words; the same for all counterfactuals of a fact.
        subject: which of its words is the subject.
        trials: by modality of the prompt and of the completion.
    """

    fact: Fact
    counterfactual: str
    prompt: Utterance
    subject: int
    trials: Mapping[tuple[Modality, Modality], Trial]


def fact_trials(
    model: HookedSLM,
    *,
    relations: Sequence[str] = RELATIONS,
    n_counterfactuals: int = 3,
    seed: int = 0,
) -> tuple[FactTrials, ...]:
    """Facts of the language, spoken and written for one model.

    Args:
        model: an organism.
        relations: relations to take facts of; those that are never spoken in the training are
            among them.
        n_counterfactuals: wrong words for each fact, drawn without repetition.
        seed: of voices and wrong words.

    Returns:
        One entry for each fact and wrong word, fact by fact.

    Raises:
        ValueError: the model does not know the language, an unknown relation, or a fact has fewer
            wrong words (one of its kind is spoken after the prompt).
        TypeError: the model knows no vocabulary.
        ImportError: there is no espeak-ng.
    """  # noqa: DOC502 (some raised by the functions it calls)
    require_vocabulary(model, "fact_trials")
    require_language(model, "fact_trials")
    chosen = [f for f in facts() if f.relation in relations]
    if not chosen or set(relations) - set(RELATIONS):
        raise ValueError(
            f"fact_trials: got relations={tuple(relations)}, expected some of {RELATIONS}."
        )
    most = min(len(f.counterfactuals) for f in chosen) - 1
    if not 1 <= n_counterfactuals <= most:
        raise ValueError(
            f"fact_trials: got n_counterfactuals={n_counterfactuals}, expected 1 to {most}: so "
            "many words of a kind are neither the answer nor the one that ends the spoken prompt."
        )
    speaker, found = _Speaker(model), list[FactTrials]()
    for fact in chosen:
        generator = np.random.default_rng([_TRIAL_SEED, seed, facts().index(fact)])
        voice = draw_voice(generator, TRAINING_VOICES)
        following, *wrong = generator.permutation(fact.counterfactuals).tolist()
        found += _of_fact(speaker, fact, voice, following, wrong[:n_counterfactuals])
    return tuple(found)


def require_language(model: HookedSLM, caller: str) -> None:
    """Refuse a model that has no tokens for the words of the language.

    Args:
        model: the model.
        caller: the public function, to begin messages with.

    Raises:
        ValueError: it lacks some.
    """
    words = sorted({f.answer for f in facts()} | {f.subject for f in facts()})
    unknown = [w for w in words if not model.vocab.word_tokens(w, model.word_policy)]
    if unknown:
        raise ValueError(
            f"{caller}: {model.provenance.model_and_family} has no tokens for {unknown[:4]}, "
            "expected an organism, which knows these words. Give other models data of their own."
        )


class _Speaker:
    """Speaks sentences once each."""

    def __init__(self, model: HookedSLM) -> None:
        self.model = model
        self._synthesizer = EspeakSynthesizer()
        self._said: dict[tuple[str, Voice], tuple[Units, Alignment]] = {}

    def say(self, sentence: str, voice: Voice) -> tuple[Units, Alignment]:
        key = sentence, voice
        if key not in self._said:
            tokenizer = self.model.unit_tokenizer
            clip = speak_sentences(self._synthesizer, [sentence], voice, tokenizer.sample_rate_hz)
            units = tokenizer.encode(clip.waveform)
            assert isinstance(units, Units)
            self._said[key] = units, clip.alignment
        return self._said[key]


def _of_fact(
    speaker: _Speaker, fact: Fact, voice: Voice, following: str, wrong: Sequence[str]
) -> list[FactTrials]:
    model, name = speaker.model, f"{fact.relation}: {fact.subject}"
    units, alignment = speaker.say(f"{fact.prompt} {following}", voice)
    heard = Utterance(name, without_last_word(model.sequence_from_units(units, alignment)))
    _, end = word_unit_spans(units.ends_s.tolist(), alignment)[-2]
    prompt = units_between(units, 0, end)

    def joined(word: str) -> dict[tuple[Modality, Modality], Joined]:
        whole, words = speaker.say(f"{fact.prompt} {word}", voice)
        start_s = words.words[-1].start_s
        n_of_prompt = int((whole.starts_s < start_s - 1e-6).sum())
        spoken = units_between(whole, n_of_prompt, len(whole))
        return {
            ("speech", "speech"): join_speech(model, whole, prompt_s=start_s),
            ("text", "text"): join_segments(model, fact.prompt, word),
            ("speech", "text"): join_segments(model, prompt, word),
            ("text", "speech"): join_segments(model, fact.prompt, spoken),
        }

    right, found = joined(fact.answer), []
    for word in wrong:
        other = joined(word)
        of_item = f"{name}, {fact.answer} or {word}"
        trials = {
            setting: Trial(of_item, fact.relation, r.sequence, w.sequence, r.start, w.start)
            for setting, r in right.items()
            for w in [other[setting]]
        }
        subject = fact.prompt.split().index(fact.subject)
        found.append(FactTrials(fact, word, heard, subject, trials))
    return found


def units_between(units: Units, start: int, end: int) -> Units:
    """A part of a clip's units.

    Args:
        units: of the whole clip.
        start: first unit.
        end: one past the last unit.

    Returns:
        The units with their durations.
    """
    return Units(units.ids[start:end], units.durations_frames[start:end], units.frame_rate_hz)
