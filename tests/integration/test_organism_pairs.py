"""Pairs of facts on the embedded model: it tells the two runs apart, and their lengths differ.

Measured with seed 0 on all 76 pairs of facts that are spoken in training, none selected by what
the model knows: see the shares beside each bound. The bounds leave room for another voice.
"""

import pytest
import torch

import slm_lens
from slm_lens.organism.pairs import organism_pairs


@pytest.fixture(scope="module")
def model():
    return slm_lens.load("organism")


def log_odds(model, pair):
    """Of the answer against the foil, after each run, from the bare logits."""
    odds = []
    for run in (pair.clean, pair.corrupted):
        with torch.no_grad():
            logits = model(run.tokens[None])[0, -1]
        answer, foil = logits[list(pair.answer)], logits[list(pair.foil)]
        odds.append(float(answer.logsumexp(0) - foil.logsumexp(0)))
    return odds


@pytest.fixture(scope="module")
def spoken(model):
    return organism_pairs(model, known="any")


@pytest.mark.slow
def test_spoken_pairs_are_told_apart_and_differ_in_length(model, spoken):
    assert len(spoken.pairs) == 76
    right = [a > 0 > b for a, b in (log_odds(model, p) for p in spoken.pairs)]
    print("told apart", sum(right), len(right))
    assert sum(right) / len(right) > 0.9
    both = spoken.table.filter("clean_known", "corrupted_known")["name"].to_list()
    assert all(r for r, p in zip(right, spoken.pairs, strict=True) if p.name in both)
    differ = [len(p.clean) != len(p.corrupted) for p in spoken.pairs]
    print("lengths differ", sum(differ))
    assert sum(differ) / len(differ) > 0.75


@pytest.mark.slow
def test_what_was_only_read_is_not_answered_from_speech(model):
    made = organism_pairs(
        model, clean="text", same_sentence=True, known="clean", which_facts="never_spoken"
    )
    odds = [log_odds(model, p) for p in made.pairs]
    print(
        len(odds),
        sum(a > 0 for a, _ in odds),
        sum(b > 0 for _, b in odds),
        sum(a > b for a, b in odds),
    )
    assert len(odds) == 24  # all are answered from text
    assert sum(a > b for a, b in odds) / len(odds) > 0.9
    assert made.table["corrupted_known"].mean() < 0.5


@pytest.mark.slow
def test_spoken_answers_that_are_kept_are_told_apart_by_their_first_unit(model):
    made = organism_pairs(model, continue_in="speech", n_partners=2)
    odds = [log_odds(model, p) for p in made.pairs]
    print(made.summary(), sum(a > 0 > b for a, b in odds))
    assert all(a > 0 > b for a, b in odds)
    verdicts = made.table["verdict"].to_list()
    assert verdicts.count("ambiguous") / len(verdicts) > 0.5  # so most are, and are counted
