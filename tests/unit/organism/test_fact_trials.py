"""Facts in four settings, and the three sets of pairs: what is said, cut and exchanged."""

import subprocess
import sys

import numpy as np
import pytest

import slm_lens
from slm_lens.organism.corpus import held_out_stories, training_story
from slm_lens.organism.documents import N_WRITTEN_STORIES
from slm_lens.organism.fact_trials import fact_trials
from slm_lens.organism.language import WORDS, facts
from slm_lens.organism.pair_sets import (
    PSEUDO_WORDS,
    exchanged,
    pair_trials,
    wrong_endings,
)
from slm_lens.organism.word_counts import training_word_counts

_ASK = """
import ctypes, sys, espeakng_loader
library = ctypes.CDLL(espeakng_loader.get_library_path())
library.espeak_Initialize(2, 0, espeakng_loader.get_data_path().encode(), 0x8000)
library.espeak_SetVoiceByName(b"en-us")
library.espeak_TextToPhonemes.restype = ctypes.c_char_p
for word in sys.argv[1:]:
    text = ctypes.c_char_p(word.encode())
    said = library.espeak_TextToPhonemes(ctypes.byref(text), 1, 0).decode()
    print(said.replace("'", "").replace(",", ""))
"""


@pytest.fixture(scope="module")
def organism():
    return slm_lens.load("organism")


@pytest.fixture(scope="module")
def weather(organism):
    return fact_trials(organism, relations=("weather",), n_counterfactuals=2)


def labels(organism, sequence):
    return [organism.vocab.label(i) for i in sequence.tokens.tolist()]


class TestFactTrials:
    def test_facts_and_wrong_words(self, weather):
        of_language = [f for f in facts() if f.relation == "weather"]
        assert [one.fact for one in weather] == [f for f in of_language for _ in range(2)]
        for one, two in zip(weather[::2], weather[1::2], strict=True):
            wrong = {one.counterfactual, two.counterfactual}
            assert len(wrong) == 2
            assert wrong < set(one.fact.counterfactuals)
            assert one.prompt is two.prompt

    def test_text_in_text_has_one_marker(self, organism, weather):
        one = weather[0]
        trial = one.trials["text", "text"]
        written = [f" {w}" for w in one.fact.prompt.split()]
        assert labels(organism, trial.right) == ["<text>", *written, f" {one.fact.answer}"]
        assert labels(organism, trial.wrong)[-1] == f" {one.counterfactual}"
        assert trial.right_start == trial.wrong_start == 1 + len(written)

    def test_the_spoken_prompt_does_not_depend_on_the_completion(self, organism, weather):
        """Both sides begin with the same tokens, which are those whose words are read."""
        for one in weather:
            trial = one.trials["speech", "text"]
            right, wrong = labels(organism, trial.right), labels(organism, trial.wrong)
            assert right[:-1] == wrong[:-1]
            assert (right[-2], right[-1]) == ("<text>", f" {one.fact.answer}")
            assert right[:-2] == labels(organism, one.prompt.sequence)
            assert trial.right_start == len(right) - 1
            words = [w.word for w in one.prompt.sequence.words]
            assert words == one.fact.prompt.split()
            assert words[one.subject] == one.fact.subject

    def test_a_spoken_completion_is_the_end_of_one_clip(self, organism, weather):
        for one in weather:
            spoken, mixed = one.trials["speech", "speech"], one.trials["text", "speech"]
            for side in ("right", "wrong"):
                (whole, start), (other, other_start) = spoken.of(side), mixed.of(side)
                units = labels(organism, whole)[start:]
                assert units == labels(organism, other)[other_start:]
                assert labels(organism, other)[other_start - 1] == "<speech>"
                assert len(units) > 3
                assert all(u.startswith("<Un") for u in labels(organism, whole))

    def test_a_seed_gives_other_words_or_voices(self, organism, weather):
        again = fact_trials(organism, relations=("weather",), n_counterfactuals=2)
        other = fact_trials(organism, relations=("weather",), n_counterfactuals=2, seed=1)
        tokens = [
            [one.trials["speech", "speech"].wrong.tokens.tolist() for one in found]
            for found in (weather, again, other)
        ]
        assert tokens[0] == tokens[1] != tokens[2]

    def test_refusals(self, organism, tiny_model):
        with pytest.raises(ValueError, match=r"n_counterfactuals=5, expected 1 to 4"):
            fact_trials(organism, relations=("weather",), n_counterfactuals=5)
        with pytest.raises(ValueError, match=r"relations=\('age',\), expected some of \('home'"):
            fact_trials(organism, relations=("age",))
        with pytest.raises(ValueError, match=r"fact_trials: .* has no tokens for .* an organism"):
            fact_trials(tiny_model)


class TestPairSets:
    def test_pseudo_words_exchange_phonemes_exactly(self):
        """Asked of espeak-ng itself: one cut for each word gives both pseudo-words; no stress."""
        asked = [w for row in PSEUDO_WORDS for w in row]
        # In a process of its own: a library that stays loaded here would keep espeak-ng's noise
        # going from clip to clip, which the synthesizer unloads it to avoid.
        run = subprocess.run(
            [sys.executable, "-c", _ASK, *asked], capture_output=True, text=True, check=True
        )
        phonemes = dict(zip(asked, run.stdout.splitlines(), strict=True))

        known = {w for words in WORDS.values() for w in words}
        for first, second, *wrong in PSEUDO_WORDS:
            a, b = phonemes[first], phonemes[second]
            cuts = {
                (a[:i] + b[j:], b[:j] + a[i:]) for i in range(1, len(a)) for j in range(1, len(b))
            }
            assert tuple(phonemes[w] for w in wrong) in cuts, (first, second)
            assert not set(wrong) & known
        assert len(set(asked)) == len(asked)

    def test_neighbours_are_exchanged(self):
        sentence = "the zebra finds a ladder near the river"
        found = {exchanged(sentence, np.random.default_rng(s)) for s in range(60)}
        assert sentence not in found
        assert all(sorted(f.split()) == sorted(sentence.split()) for f in found)
        assert "zebra the finds a ladder near the river" in found
        assert "the finds zebra a ladder near the river" not in found  # both are content words
        assert len(found) == 5

    def test_wrong_endings_are_of_other_animals(self):
        stories = held_out_stories()
        for i, story in enumerate(stories):
            animals = set(" ".join(story).split()) & set(WORDS["animal"])
            endings = wrong_endings(stories, i)
            assert len(endings) >= 2
            assert not any(animals & set(e.split()) for e in endings)
            assert {len(e.split()) for e in endings} == {len(story[-1].split())}

    @pytest.mark.slow
    @pytest.mark.usefixtures("untyped")
    def test_all_pairs(self, organism):
        pairs = pair_trials(organism)
        stories = held_out_stories()
        n_sentences = sum(len(dict.fromkeys(s)) for s in stories)
        counts: dict[tuple[str, str], int] = {}
        for p in pairs:
            counts[p.trial.part, p.modality] = counts.get((p.trial.part, p.modality), 0) + 1
        assert counts == {
            ("words", "speech"): 4 * len(PSEUDO_WORDS),
            ("word order", "speech"): n_sentences,
            ("word order", "text"): n_sentences,
            ("story ending", "speech"): 2 * len(stories),
            ("story ending", "text"): 2 * len(stories),
        }
        for p in pairs:
            trial = p.trial
            assert trial.right.tokens.tolist() != trial.wrong.tokens.tolist()
            assert set(trial.right.kinds) - {"marker"} == {p.modality}
            if p.modality == "text" and trial.part == "word order":
                ids = [sorted(s.tokens.tolist()) for s in (trial.right, trial.wrong)]
                assert ids[0] == ids[1]
            if p.modality == "text" and trial.part == "story ending":
                number = int(p.cluster.removeprefix("story "))
                (told, start), (wrong, _) = trial.of("right"), trial.of("wrong")
                end = [f" {w}" for w in stories[number][-1].split()]
                assert labels(organism, told)[start:] == end
                assert told.tokens[:start].equal(wrong.tokens[:start])


def test_word_counts_are_those_of_the_stories_written_out():
    counts = training_word_counts()
    some = (0, N_WRITTEN_STORIES - 1)
    for index in some:
        for word in " ".join(training_story(index, spoken=False)).split():
            assert counts[word] > 0
    listed = (" ".join(training_story(i, spoken=False)) for i in range(N_WRITTEN_STORIES))
    assert counts["zebra"] == sum(f" {s} ".count(" zebra ") for s in listed)
