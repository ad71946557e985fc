"""The organism's spoken facts as trials, beside the judge of its model card and the plain model."""

import numpy as np
import pytest
import torch
from embedded_hf import log_likelihood, organism

import slm_lens
from slm_lens import Trial
from slm_lens.organism.evaluate import OrganismJudge, SpokenFact, speak_facts
from slm_lens.organism.language import Fact
from slm_lens.sequence.sequence import SpeechTextSequence

pytestmark = pytest.mark.slow  # all facts are spoken


@pytest.fixture(scope="module")
def model():
    return slm_lens.load("organism")


@pytest.fixture(scope="module")
def hf_model():
    return organism()


@pytest.fixture(scope="module")
def spoken(model):
    """Facts about animals, as the judge counts them."""
    all_of_them = speak_facts(model.unit_tokenizer)
    return [s for s in all_of_them if s.fact.relation not in ("weather", "taste")]


def heard(model, story):
    """A story as the judge writes it, and the first position of its last word."""
    ids = torch.tensor(story.units.astype(np.int64))
    units = slm_lens.Units(ids, torch.ones_like(ids), 25.0)
    sequence = SpeechTextSequence.from_speech(units, None, model.vocab, marker=True)
    return sequence, 1 + story.spans[-1][0]


def part_of(fact: Fact) -> str:
    return "spoken" if fact.spoken else "never_spoken"


def trials_of(model, number: int, item: SpokenFact) -> list[Trial]:
    right, right_start = heard(model, item.right)
    wrong = [heard(model, w) for w in item.wrong]
    return [
        Trial(f"{number}.{i}", part_of(item.fact), right, sequence, right_start, start)
        for i, (sequence, start) in enumerate(wrong)
    ]


@pytest.fixture(scope="module")
def trials(model, spoken):
    return [t for i, item in enumerate(spoken) for t in trials_of(model, i, item)]


@pytest.fixture(scope="module")
def scores(model, trials):
    return slm_lens.score_trials(model, trials, batch_size=16)


def test_the_accuracies_are_those_of_the_model_card(model, hf_model, spoken, scores):
    expected = OrganismJudge(hf_model, model.tokenizer).fact_scores(spoken)
    table = scores.accuracy(norm="mean", region="completion")
    found = dict(zip(table["part"], table["estimate"], strict=True))
    assert found == pytest.approx(
        {part: expected[f"{part}_pairs_in_speech"] for part in ("spoken", "never_spoken")},
        abs=1e-12,
    )
    assert table["n_trials"].to_list() == [168, 72]
    assert 0.7 < found["spoken"] < 0.9  # so that the agreement is not one of chance levels
    low = table.filter(part="spoken")["low"][0]
    assert low > 0.7


def test_the_sums_are_the_plain_models(hf_model, trials, scores):
    """The largest difference of means that was measured is 1.5e-6."""
    rows = {(r["trial"], r["side"], r["region"]): r for r in scores.to_frame().to_dicts()}
    for trial in trials[::12]:
        for side in ("right", "wrong"):
            sequence, start = trial.of(side)
            for region, first in (("all", 1), ("completion", start)):
                row = rows[trial.name, side, region]
                mean = log_likelihood(hf_model, sequence.tokens, first, len(sequence))
                assert row["n_tokens"] == len(sequence) - first
                assert row["mean_log_prob"] == pytest.approx(mean, abs=1e-5)


def test_tokens_are_the_plain_models_in_float64(model, trials):
    """The largest difference that was measured is 1.2e-5, of log-probabilities down to -17."""
    sequences = [s for t in trials[::16] for s in (t.right, t.wrong)]
    read = slm_lens.sequence_log_probs(model, sequences)
    exact = organism().double()
    for sequence, values in zip(sequences, read.values, strict=True):
        with torch.no_grad():
            logits = exact(sequence.tokens[None]).logits[0, :-1]
        expected = logits.log_softmax(-1).gather(1, sequence.tokens[1:, None])[:, 0]
        assert (values - expected).abs().max() < 5e-5


def test_random_weights_do_not_know_the_facts(model, trials):
    """The control: chance lies in the interval of both parts."""
    random = slm_lens.random_weights(model, seed=0)
    table = slm_lens.score_trials(random, trials, batch_size=16).accuracy(region="completion")
    assert table["part"].to_list() == ["spoken", "never_spoken"]
    assert all(low < 0.5 < high for low, high in zip(table["low"], table["high"], strict=True))
