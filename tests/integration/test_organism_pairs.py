"""Pairs of facts on the embedded model: it tells the two runs apart, and their lengths differ.

Pairs are not selected by what the model knows, unless a test says so. Beside each bound stands
what was measured with seeds 0 and 1 on the model that ships.
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
    assert sum(right) / len(right) > 0.85  # 74 and 71 of 76
    both = spoken.table.filter("clean_known", "corrupted_known")["name"].to_list()
    assert all(r for r, p in zip(right, spoken.pairs, strict=True) if p.name in both)
    differ = [len(p.clean) != len(p.corrupted) for p in spoken.pairs]
    assert sum(differ) / len(differ) > 0.7  # 67 and 61 of 76


@pytest.mark.slow
def test_what_was_only_read_is_not_answered_from_speech(model):
    made = organism_pairs(
        model, clean="text", same_sentence=True, known="clean", which_facts="never_spoken"
    )
    odds = [log_odds(model, p) for p in made.pairs]
    assert len(odds) == 24  # all are answered from text
    assert sum(a > b for a, b in odds) / len(odds) > 0.8  # 24 and 23 of 24
    assert sum(made.table["corrupted_known"]) / len(odds) < 0.4  # 4 and 3 of 24


@pytest.mark.slow
def test_spoken_answers_that_are_kept_are_told_apart_by_their_first_unit(model):
    made = organism_pairs(model, continue_in="speech")
    odds = [log_odds(model, p) for p in made.pairs]
    assert all(a > 0 > b for a, b in odds)
    verdicts = made.table["verdict"].to_list()
    assert verdicts.count("ambiguous") / len(verdicts) > 0.5  # 60 of 76
