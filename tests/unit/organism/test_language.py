"""The little language: its facts hold, and what shall not be spoken never is."""

import string
from collections import Counter

import numpy as np
import pytest

from slm_lens.organism.corpus import held_out_stories, training_story
from slm_lens.organism.language import RELATIONS, WORDS, StoryTeller, facts, vocabulary

ABOUT_ANIMALS = ("home", "food", "colour", "job")


def sentence(fact):
    return f"{fact.prompt} {fact.answer}"


def test_there_are_120_distinct_words_in_lower_case():
    words = vocabulary()
    assert len(words) == len(set(words)) == 120
    assert list(words) == sorted(words)
    assert set("".join(words)) <= set(string.ascii_lowercase)


def test_every_subject_has_one_answer_of_the_right_kind():
    counts = Counter(f.relation for f in facts())
    assert counts == dict(zip(RELATIONS, (20, 20, 20, 20, 10, 10), strict=True))
    kinds = {"home": "place", "food": "food", "colour": "colour", "job": "job",
             "weather": "weather", "taste": "taste"}  # fmt: skip
    assert len({(f.relation, f.subject) for f in facts()}) == len(facts()) == 100
    for f in facts():
        assert f.answer in WORDS[kinds[f.relation]]
        assert sorted((f.answer, *f.counterfactuals)) == sorted(WORDS[kinds[f.relation]])


def test_answers_are_shared_out_evenly():
    for relation, most in (("home", 2), ("food", 2), ("job", 2), ("colour", 3)):
        counts = Counter(f.answer for f in facts() if f.relation == relation)
        assert max(counts.values()) <= most


def test_three_tenths_of_the_animal_facts_are_never_spoken():
    for relation in ABOUT_ANIMALS:
        assert sum(not f.spoken for f in facts() if f.relation == relation) == 6  # of 20
    assert all(f.spoken for f in facts() if f.relation not in ABOUT_ANIMALS)


@pytest.mark.parametrize(("share", "n"), [(0.0, 0), (0.5, 40), (1.0, 80)])
def test_the_share_can_be_chosen(share, n):
    assert sum(not f.spoken for f in facts(unspoken_share=share)) == n


def test_facts_follow_from_the_seed():
    first = facts()
    facts.cache_clear()
    assert facts() == first
    assert facts(seed=1) != first


@pytest.mark.slow
def test_spoken_stories_never_tell_an_unspoken_fact_and_written_ones_do():
    secret = {sentence(f) for f in facts() if not f.spoken}
    homes = {f.subject: f.answer for f in facts() if f.relation == "home" and not f.spoken}
    meals = {f.subject: f.answer for f in facts() if f.relation == "food" and not f.spoken}
    written = [s for i in range(2000) for s in training_story(i, spoken=False)]
    spoken = [s for i in range(2000) for s in training_story(i, spoken=True)]
    assert secret <= set(written)
    assert not secret & set(spoken)
    # The home and the meal of an animal are also told in passing; not so when unspoken.
    for s in spoken:
        words = s.split()
        if "in" in words and {"visits", "watches"} & set(words):
            where = words.index("in")
            assert homes.get(words[where - 1]) is None
        if "eats" in words:
            assert meals.get(words[1]) is None
    passing = {f"the {a} in the {p}" for a, p in homes.items()}
    assert any(p in s for s in written for p in passing)
    assert not any(p in s for s in spoken for p in passing)


def test_stories_tell_only_true_facts_in_known_words():
    answer = {f.prompt: f.answer for f in facts()}
    told = set()
    for i in range(500):
        for s in training_story(i, spoken=False):
            prompt, _, last = s.rpartition(" ")
            assert set(s.split()) <= set(vocabulary())
            is_fact = prompt in answer and last not in WORDS["quality"]
            if is_fact:
                assert answer[prompt] == last
                told.add(prompt)
    assert len(told) == 100


def test_a_story_has_one_to_four_sentences_and_follows_from_its_number():
    for spoken in (True, False):
        stories = [training_story(i, spoken=spoken) for i in range(300)]
        assert {len(s) for s in stories} <= {1, 2, 3, 4}
        training_story.cache_clear()
        assert [training_story(i, spoken=spoken) for i in range(300)] == stories
    assert training_story(3, spoken=True) != training_story(4, spoken=True)


@pytest.mark.slow
def test_held_out_sentences_are_in_no_training_story():
    stories = held_out_stories()
    assert len(stories) == 30
    assert held_out_stories(5) == stories[:5]
    held_out = {s for story in stories for s in story}
    for spoken in (True, False):
        trained = {s for i in range(2000) for s in training_story(i, spoken=spoken)}
        assert not held_out & trained


def test_a_held_out_sentence_would_be_drawn_if_it_were_not_banned():
    held_out = {s for story in held_out_stories() for s in story}
    teller = StoryTeller(np.random.default_rng(0))
    drawn = {s for _ in range(2000) for s in teller.story(spoken=True)}
    assert held_out & drawn
