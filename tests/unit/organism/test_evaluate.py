"""The model card's figures, on a model whose answers are known."""

import math

import numpy as np
import pytest
import torch
from tiny_organism import made_up_stories, tiny_recipe
from torch import nn

from slm_lens.organism.corpus import SpokenStory
from slm_lens.organism.evaluate import OrganismJudge, SpokenFact, speak_facts
from slm_lens.organism.language import facts
from slm_lens.organism.tokenizer import speech_text_tokenizer
from slm_lens.organism.train import Trainer
from slm_lens.speech.mfcc import MfccKMeans

TOKENIZER = speech_text_tokenizer(100)
IDS = TOKENIZER.get_vocab()


@pytest.fixture
def judge(tmp_path):
    run = Trainer(tiny_recipe(), tmp_path, made_up_stories(), device="cpu")
    run._extend()
    return OrganismJudge(run.model.eval(), TOKENIZER)


def always(judge, scores):
    """Make the model give the same scores everywhere: a constant state times a chosen embedding."""
    weight = torch.zeros(len(TOKENIZER), 16)
    for token, score in scores.items():
        weight[IDS[token], 0] = score
    judge.model.lm_head.weight = nn.Parameter(weight)
    # The norm of any state with one coordinate is 4 (the root of 16) times its weight.
    embedding = torch.zeros(len(TOKENIZER), 16)
    embedding[:, 0] = 1
    judge.model.model.embed_tokens.weight = nn.Parameter(embedding)
    for layer in judge.model.model.layers:
        nn.init.zeros_(layer.self_attn.o_proj.weight)
        nn.init.zeros_(layer.mlp.down_proj.weight)
    nn.init.constant_(judge.model.model.norm.weight, 0.25)
    return judge


def story(words, units_of_each):
    units, spans = [], []
    for us in units_of_each:
        spans.append((len(units), len(units) + len(us)))
        units += us
    return SpokenStory(tuple(words), np.array(units, dtype=np.int16), tuple(spans))


def spoken_fact(fact, right_units, wrong_units):
    prompt = story(fact.prompt.split(), [[1]] * len(fact.prompt.split()))

    def whole(word, units):
        return story([*prompt.words, word], [*([[1]] * len(prompt.words)), units])

    wrong = tuple(whole(w, u) for w, u in zip(fact.counterfactuals, wrong_units, strict=False))
    return SpokenFact(fact, prompt, whole(fact.answer, right_units), wrong)


def test_logits_are_the_constant_that_was_built(judge):
    scores = always(judge, {"<Un3>": 2.0}).logits([5, 6, 7])
    assert scores.shape == (3, len(TOKENIZER))
    assert scores[:, IDS["<Un3>"]].tolist() == pytest.approx([2.0] * 3, rel=1e-4)
    assert scores[:, IDS["<Un4>"]].tolist() == [0.0] * 3


def test_facts_by_hand(judge):
    """Unit 3 is likelier than the rest, and the text always says "savanna"."""
    always(judge, {"<Un3>": 2.0, " savanna": 1.0})
    home = next(f for f in facts() if f.relation == "home" and f.spoken and f.answer == "savanna")
    other = next(f for f in facts() if f.relation == "home" and f.spoken and f.answer != "savanna")
    secret = next(f for f in facts() if f.relation == "food" and not f.spoken)
    weather = next(f for f in facts() if f.relation == "weather")
    scores = judge.fact_scores(
        [
            spoken_fact(home, [3, 3], [[4, 4], [3, 4], [3, 3]]),  # above, above, tie
            spoken_fact(other, [4], [[3]]),  # below
            spoken_fact(secret, [4, 4], [[5, 6, 7]]),  # a tie: a mean, not a sum
            spoken_fact(weather, [3], [[4]]),  # not about an animal
        ]
    )
    assert scores == {
        "spoken_from_text": 0.5,
        "spoken_from_speech": 0.5,
        "spoken_pairs_in_speech": (1 + 1 + 0.5 + 0) / 4,
        "never_spoken_from_text": 0.0,
        "never_spoken_from_speech": 0.0,
        "never_spoken_pairs_in_speech": 0.5,
    }


def test_language_scores_by_hand(judge):
    always(judge, {"<Un3>": 2.0, " the": 1.0})
    scores = judge.language_scores([story(["zebra", "the", "zebra"], [[3], [3, 4], [5]])])
    total = len(TOKENIZER) - 2 + math.e**2 + math.e
    nats = math.log(total)
    expected = {
        "unit_cross_entropy_nats": nats - 4 / 4,  # units 3 3 4 5: two score 2, two score 0
        "next_unit_accuracy": 0.5,
        "text_cross_entropy_nats": nats - 1 / 3,
        "next_word_accuracy_after_text": 0.0,  # unit 3 is above every word
        "next_word_accuracy_after_speech": 0.5,  # among words " the": right once of two
    }
    assert scores == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_facts_are_spoken_with_their_wrong_answers_in_one_breath():
    units = MfccKMeans(torch.randn(100, 39, generator=torch.Generator().manual_seed(0)))
    spoken = speak_facts(units)
    assert [s.fact for s in spoken] == list(facts())
    for s in spoken:
        assert s.prompt.words == tuple(s.fact.prompt.split())
        assert s.right.words == (*s.prompt.words, s.fact.answer)
        assert s.prompt.units.tolist() == s.right.units[: len(s.prompt.units)].tolist()
        assert s.right.spans[:-1] == s.prompt.spans
        answers = [w.words[-1] for w in s.wrong]
        assert len(set(answers)) == 3
        assert set(answers) <= set(s.fact.counterfactuals)
        assert all(w.words[:-1] == s.prompt.words for w in s.wrong)
