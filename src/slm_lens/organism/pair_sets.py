"""Three sets of spoken pairs in the organism's language, in the manner of three benchmarks.

| set | right | wrong | in the manner of |
|---|---|---|---|
| ``words`` | "the elephant" | "the elephel": the first half of a word with the second of another | sWUGGY |
| ``word order`` | a sentence | the same with two neighbouring words exchanged | sBLIMP |
| ``story ending`` | a story | the same with the last sentence of another story | StoryCloze |

Both sides have one voice. Of the first set every half of a word sounds once in a right and once in a
wrong side, so that only their combination tells. The words of a sentence are the same on both sides.
Sentences and stories are the held-out ones, which are in no training story, and the wrong ending is
that of a story of the same plan, about other animals. Word order and stories are also written.

Source: ours; sWUGGY and sBLIMP, Nguyen et al. 2020, arXiv:2011.11588; spoken StoryCloze, Hassid et
al. 2023, arXiv:2305.13009.
"""  # noqa: E501 (rows of a table)

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from slm_lens.likelihood.joining import Joined, join_segments, join_speech
from slm_lens.likelihood.trial import Trial
from slm_lens.model.hooked import HookedSLM
from slm_lens.organism.corpus import (
    TRAINING_VOICES,
    draw_voice,
    held_out_stories,
    speak_sentences,
)
from slm_lens.organism.fact_trials import require_language
from slm_lens.organism.language import WORDS
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.word_span import Modality
from slm_lens.speech.synthesis import EspeakSynthesizer, Voice

WORDS_SET, ORDER_SET, ENDING_SET = "words", "word order", "story ending"

PSEUDO_WORDS: tuple[tuple[str, str, str, str], ...] = (
    ("elephant", "camel", "elephel", "camant"),
    ("crocodile", "penguin", "crocodin", "penguile"),
    ("kangaroo", "rabbit", "kangit", "rabbaroo"),
    ("octopus", "dolphin", "octophin", "dolpus"),
    ("buffalo", "walrus", "buffus", "walralo"),
    ("hedgehog", "peacock", "hedgehock", "peacog"),
    ("savanna", "garden", "saven", "gardanna"),
    ("village", "harbor", "vibor", "harllage"),
    ("carrot", "walnut", "calnut", "warrot"),
    ("pepper", "melon", "pelon", "mepper"),
    ("bicycle", "pillow", "bicyllow", "picle"),
    ("hammer", "trumpet", "hampet", "trummer"),
    ("ladder", "basket", "lasket", "badder"),
    ("candle", "whistle", "canstle", "whidle"),
)
"""Two words of one kind, then both exchanges of their second halves, spelled so that espeak-ng's
American voices say exactly the phonemes of the halves (a test asks it)."""

_WORD_VOICES = ("en-us", "en-us+f2")
_PAIR_SEED = 9
_N_ENDINGS = 2


@dataclass(frozen=True, eq=False)
class PairTrial:
    """A pair, and what it shares with others.

    Attributes:
        trial: the pair; its part is the name of its set.
        cluster: pairs with the same one are not independent.
        modality: of all of it.
    """

    trial: Trial
    cluster: str
    modality: Modality


def pair_trials(model: HookedSLM, *, seed: int = 0) -> tuple[PairTrial, ...]:
    """All pairs of the three sets.

    Args:
        model: an organism.
        seed: of voices, exchanged words and wrong endings.

    Returns:
        56 pairs of words, one for each held-out sentence and two for each held-out story; names
        differ within a set and modality.

    Raises:
        ValueError: the model does not know the language.
        ImportError: there is no espeak-ng.
    """  # noqa: DOC502 (raised by the functions it calls)
    require_language(model, "pair_trials")
    teller = _Teller(model)
    return (*_words(teller, seed), *_orders(teller, seed), *_endings(teller, seed))


class _Teller:
    """Sentences as a model reads them."""

    def __init__(self, model: HookedSLM) -> None:
        self.model = model
        self._synthesizer = EspeakSynthesizer()

    def said(self, sentences: Sequence[str], voice: Voice) -> SpeechTextSequence:
        tokenizer = self.model.unit_tokenizer
        clip = speak_sentences(self._synthesizer, sentences, voice, tokenizer.sample_rate_hz)
        return self.model.sequence_from_units(tokenizer.encode(clip.waveform), clip.alignment)

    def told(self, beginning: Sequence[str], ending: str, voice: Voice) -> Joined:
        """A story in one clip; its completion is the last sentence."""
        tokenizer = self.model.unit_tokenizer
        clip = speak_sentences(
            self._synthesizer, [*beginning, ending], voice, tokenizer.sample_rate_hz
        )
        first = clip.alignment.words[len(" ".join(beginning).split())]
        return join_speech(self.model, tokenizer.encode(clip.waveform), prompt_s=first.start_s)

    def written(self, sentence: str) -> SpeechTextSequence:
        return self.model.sequence_from_text(sentence)


def _words(teller: _Teller, seed: int) -> Iterator[PairTrial]:
    for number, (first, second, first_wrong, second_wrong) in enumerate(PSEUDO_WORDS):
        for name in _WORD_VOICES:
            generator = np.random.default_rng([_PAIR_SEED, 0, seed, number])
            voice = draw_voice(generator, (name,))
            for word, wrong in ((first, first_wrong), (second, second_wrong)):
                right, other = (teller.said([f"the {w}"], voice) for w in (word, wrong))
                trial = Trial(f"{word} or {wrong}, {name}", WORDS_SET, right, other)
                yield PairTrial(trial, f"{first}, {second}", "speech")


def _orders(teller: _Teller, seed: int) -> Iterator[PairTrial]:
    for number, story in enumerate(held_out_stories()):
        generator = np.random.default_rng([_PAIR_SEED, 1, seed, number])
        voice = draw_voice(generator, TRAINING_VOICES)
        for i, sentence in enumerate(dict.fromkeys(story)):
            wrong = exchanged(sentence, generator)
            name = f"story {number}, sentence {i}: {wrong}"
            right, other = (teller.said([s], voice) for s in (sentence, wrong))
            yield PairTrial(Trial(name, ORDER_SET, right, other), f"story {number}", "speech")
            right, other = map(teller.written, (sentence, wrong))
            yield PairTrial(Trial(name, ORDER_SET, right, other), f"story {number}", "text")


def exchanged(sentence: str, generator: np.random.Generator) -> str:
    """A sentence with two neighbours exchanged, of which one is a function word.

    Args:
        sentence: of the language.
        generator: draws which.

    Returns:
        The sentence, with the same words in another order.
    """
    words, function = sentence.split(), set(WORDS["function"])
    places = [
        i for i, (a, b) in enumerate(pairwise(words))
        if (a in function) != (b in function)
    ]  # fmt: skip
    i = places[int(generator.integers(len(places)))]
    words[i], words[i + 1] = words[i + 1], words[i]
    return " ".join(words)


def _endings(teller: _Teller, seed: int) -> Iterator[PairTrial]:
    stories = held_out_stories()
    for number, (*beginning, ending) in enumerate(stories):
        generator = np.random.default_rng([_PAIR_SEED, 2, seed, number])
        voice = draw_voice(generator, TRAINING_VOICES)
        others = wrong_endings(stories, number)
        drawn = generator.permutation(len(others))[:_N_ENDINGS].tolist()
        for wrong in (others[i] for i in drawn):
            name = f"story {number}: {wrong}"
            for modality in ("speech", "text"):
                right, other = (
                    teller.told(beginning, e, voice)
                    if modality == "speech"
                    else join_segments(teller.model, " ".join(beginning), e)
                    for e in (ending, wrong)
                )
                trial = Trial(
                    name, ENDING_SET, right.sequence, other.sequence, right.start, other.start
                )
                yield PairTrial(trial, f"story {number}", modality)


def wrong_endings(stories: Sequence[Sequence[str]], number: int) -> list[str]:
    """Last sentences of other stories of the same plan, that share no animal with a story.

    Args:
        stories: sentences of each story.
        number: the story.

    Returns:
        The sentences, each once.
    """
    story = stories[number]
    animals = set(" ".join(story).split()) & set(WORDS["animal"])
    return list(
        dict.fromkeys(
            other[-1]
            for other in stories
            if _plan(other) == _plan(story) and not animals & set(other[-1].split())
        )
    )


def _plan(story: Sequence[str]) -> tuple[int, int]:
    """Sentences, and words of the last one."""
    return len(story), len(story[-1].split())
